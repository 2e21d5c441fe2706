"""What every family of architectures offers, and what the families share: checked fields, forms of the block."""

from __future__ import annotations

import json
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from autoprox.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["EMBEDDING_STD", "IMAGE_SIZE", "Architecture", "Init", "LinearInit", "Space"]

Architecture: TypeAlias = Any
"""One frozen record of choices. Each family has its own dataclass; only the space that made one can read it."""

Init: TypeAlias = Literal["shared", "fresh"]
LinearInit: TypeAlias = Literal["trunc-normal", "default"]

IMAGE_SIZE = 224
"""Side of the square input image in pixels, unless a space has its own."""

EMBEDDING_STD = 0.02
"""Standard deviation of initial tokens and positions, unless a space has its own."""

T = TypeVar("T")


class Space(ABC):
    """A family of architectures with its choices. Concrete spaces are frozen dataclasses, so they can be cache keys."""

    name: str
    description: str
    image_size: int
    """Side of the square input image in pixels."""
    classes: int
    """Outputs of the classifier unless a number is given."""
    linear_init: LinearInit
    """How the family initialises its Linear layers; the other layers follow one rule (`initialisation.rules`)."""
    embedding_std: float
    """Standard deviation of the initial tokens and positions."""

    @abstractmethod
    def parse(self, record: Mapping[str, object], /) -> Architecture:
        """The architecture that a JSON object describes. InputError names the field, what was expected, what found."""

    @abstractmethod
    def to_json(self, architecture: Architecture) -> dict[str, Any]:
        """The JSON object that `parse` reads back as the same architecture."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Architecture:
        """An architecture with every choice drawn uniformly."""

    @abstractmethod
    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A valid architecture that differs from the given one in one choice."""

    @abstractmethod
    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """A valid architecture with every choice taken from one of the two parents."""

    @abstractmethod
    def params(self, architecture: Architecture, classes: int | None = None) -> int:
        """Number of trainable parameters, in closed form."""

    @abstractmethod
    def flops(self, architecture: Architecture, classes: int | None = None) -> int:
        """Multiply-accumulates of one image, which the field calls FLOPs: matrix products (attention's two
        among them) and convolutions, without biases, norms, softmax and activations."""

    @abstractmethod
    def depth(self, architecture: Architecture) -> int:
        """Number of transformer blocks."""

    @abstractmethod
    def width(self, architecture: Architecture) -> float:
        """Mean embedding width over the blocks."""

    @abstractmethod
    def largest(self) -> Architecture:
        """The elementwise largest architecture, which has the most parameters."""

    @abstractmethod
    def smallest(self, count: Literal["params", "flops"] = "params") -> Architecture:
        """An architecture with the fewest parameters, or FLOPs, of all that `sample` can return."""

    @abstractmethod
    def choices(self) -> dict[str, str]:
        """Rows of a table for people: field -> its values."""

    @abstractmethod
    def size(self) -> int:
        """Number of architectures that `sample` can return."""

    @abstractmethod
    def _assemble(self, architecture: Architecture, classes: int) -> torch.nn.Module:
        """The family's module on torch's current default device, its values unspecified."""

    def covering(self) -> tuple[Architecture, ...]:
        """Architectures whose tensors bound those of every network, side by side, by the largest of them."""
        return (self.largest(),)

    def positions(self, architecture: Architecture) -> tuple[int, ...]:
        """The number of blocks at each position, in order, where a position is what `exchange` can exchange: one block
        unless the family chooses for whole stages."""
        return (1,) * self.depth(architecture)

    def exchange(self, a: Architecture, b: Architecture, positions: Collection[int]) -> Architecture | None:
        """`a` with what `b` has at some positions, which both have; None where `sample` can return no such architecture.

        Every list in the JSON object of an architecture has one entry a position; a family where that is not so has its
        own method.
        """
        record, other = self.to_json(a), self.to_json(b)
        for field, values in record.items():
            if isinstance(values, list):
                record[field] = [other[field][i] if i in positions else value for i, value in enumerate(values)]
        return self.parse(record)

    def key(self, architecture: Architecture) -> str:
        """Canonical text of an architecture: compact JSON with sorted keys; equal if and only if they are."""
        return json.dumps(self.to_json(architecture), sort_keys=True, separators=(",", ":"))

    def skeleton(self, architecture: Architecture, classes: int | None = None) -> torch.nn.Module:
        """The network on torch's meta device: all shapes, no memory and no values."""
        import torch

        classes = self.outputs(classes)
        if classes < 1:
            raise InputError(f"{self.name}: the number of classes must be at least 1, but is {classes}")
        with torch.device("meta"):
            return self._assemble(architecture, classes)

    def network(
        self,
        architecture: Architecture,
        classes: int | None,
        seed: int,
        init: Init = "shared",
        only: tuple[str, ...] | None = None,
    ) -> torch.nn.Module:
        """An initialised network in evaluation mode, on the CPU, in float32: images (B, 3, side, side) -> (B, classes).

        With `init="shared"` all networks of the space and seed take slices of one noise; with `"fresh"` each
        architecture has its own. The values depend on the arguments alone, never on torch's global generator.

        With `only`, parameters whose names end otherwise may stay without values, on the meta device: for who reads
        weights and runs nothing.
        """
        from autoprox.spaces import initialisation

        if init not in ("shared", "fresh"):
            raise InputError(f"{self.name}: init must be 'shared' or 'fresh', but is {init!r}")
        noise: initialisation.Noise
        if init == "shared":
            noise = initialisation.shared_noise(self, seed, max(self.outputs(classes), initialisation.LARGEST_HEAD))
        else:
            noise = initialisation.FreshNoise(seed, self.name, self.key(architecture))
        model = self.skeleton(architecture, classes)
        if only is None or init == "fresh":  # fresh noise is drawn in the order of all parameters
            model.to_empty(device="cpu")
        else:
            initialisation.materialise(model, only)
        initialisation.initialise(model, self, noise)
        return model.eval()

    def outputs(self, classes: int | None) -> int:
        """The number of classes that is meant: the space's own for None."""
        return self.classes if classes is None else classes

    def build(self, architecture: Architecture, classes: int | None = None) -> torch.nn.Module:
        """The network in training mode, with its family's published initialisation (`network`, fresh, seed 0)."""
        return self.network(architecture, classes, seed=0, init="fresh").train()


def read_fields(space: str, record: object, names: Sequence[str]) -> list[object]:
    """The values of exactly the named fields of a JSON object, in that order."""
    wanted = ", ".join(names)
    if not isinstance(record, Mapping):
        raise InputError(f"{space} architecture: expected an object with {wanted}, found {reprlib.repr(record)}")
    missing = [name for name in names if name not in record]
    unknown = [str(name) for name in record if name not in names]
    if missing or unknown:
        found = "; ".join(
            f"{what} {', '.join(which)}" for what, which in (("missing:", missing), ("unknown:", unknown)) if which
        )
        raise InputError(f"{space} architecture: expected the fields {wanted}, found {found}")
    return [record[name] for name in names]


def read_choice(space: str, field: str, value: object, choices: Sequence[T]) -> T:
    """The choice that equals the value, so that 4 and 4.0 give one architecture. True is not 1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        for choice in choices:
            if choice == value:
                return choice
    raise InputError(f"{space} architecture: {field} must be one of {comma(choices)}, found {reprlib.repr(value)}")


def read_list(space: str, field: str, values: object, length: int) -> Sequence[object]:
    """A list of that length, its values as they are."""
    if not isinstance(values, list | tuple) or len(values) != length:
        found = f"{len(values)} values" if isinstance(values, list | tuple) else reprlib.repr(values)
        raise InputError(f"{space} architecture: {field} must be a list of {length} values, found {found}")
    return values


def read_choices(space: str, field: str, values: object, choices: Sequence[Sequence[T]]) -> tuple[T, ...]:
    """A list with one value for each of the given choices."""
    found = read_list(space, field, values, len(choices))
    return tuple(read_choice(space, f"{field}[{i}]", value, choices[i]) for i, value in enumerate(found))


def comma(values: Sequence[object]) -> str:
    """Values for people: `192, 216, 240`."""
    return ", ".join(str(value) for value in values)


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of the choices, uniformly."""
    return choices[int(rng.integers(len(choices)))]


def pick_other(rng: np.random.Generator, choices: Sequence[T], current: T) -> T:
    """One of the choices that is not the current value, uniformly."""
    return pick(rng, [choice for choice in choices if choice != current])


def block_params(dim: int, hidden: int, width: int | None = None) -> int:
    """Parameters of one pre-norm block: two LayerNorms, fused qkv and proj, fc1 and fc2, all with biases.

    `width` is that of all heads together: of the queries, of the keys and of the values (None: dim).
    """
    width = dim if width is None else width
    norms, attention = 4 * dim, 3 * width * (dim + 1) + dim * (width + 1)
    return norms + attention + 2 * dim * hidden + hidden + dim


def block_macs(dim: int, hidden: int, tokens: int, width: int | None = None, keys: int | None = None) -> int:
    """Multiply-accumulates of one block on one image; the number of heads changes them through the width alone.

    `keys` is the number of tokens that each token attends to (None: all).
    """
    width, keys = dim if width is None else width, tokens if keys is None else keys
    return tokens * (4 * dim * width + 2 * dim * hidden + 2 * keys * width)
