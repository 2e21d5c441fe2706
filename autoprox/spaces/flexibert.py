"""FlexiBERT-like spaces: BERT encoders with an operation, heads and feed-forward layers of their own for every layer."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from autoprox.errors import InputError
from autoprox.spaces._space import EMBEDDING_STD, LinearInit, Space, comma, pick, pick_other, read_choice, read_fields

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = [
    "EMBEDDING",
    "LENGTH",
    "POSITIONS",
    "TYPES",
    "VOCABULARY",
    "EncoderLayer",
    "FlexiBertArchitecture",
    "FlexiBertSpace",
]

EMBEDDING = 128
"""Width of the embeddings, as in ELECTRA-small; other hidden sizes read them through a Linear layer."""

POSITIONS = 512
TYPES = 2

VOCABULARY = 30522
"""Tokens of BERT's and ELECTRA's uncased vocabulary."""

LENGTH = 128
"""Tokens of a sequence: ELECTRA-small's pretraining length."""

Kind: TypeAlias = tuple[str, str | int]
"""Operation type and parameter: SA (SDP, WMA), LT (DFT, DCT) or DSC (kernel size)."""


@dataclass(frozen=True)
class EncoderLayer:
    """One layer, with the fields of the benchmark's JSON."""

    operation_type: str
    operation_parameter: str | int
    num_operation_heads: int
    feed_forward_dimension: int
    num_feed_forward: int

    @property
    def kind(self) -> Kind:
        return self.operation_type, self.operation_parameter

    def with_kind(self, kind: Kind) -> EncoderLayer:
        return replace(self, operation_type=kind[0], operation_parameter=kind[1])


@dataclass(frozen=True)
class FlexiBertArchitecture:
    """Width, and the encoder layers."""

    hidden_size: int
    encoder_layers: tuple[EncoderLayer, ...]


@dataclass(frozen=True)
class FlexiBertSpace(Space):
    """FlexiBERT (Tuli et al., JAIR 2023, arXiv 2205.11656), the subset of NAS-Bench-BERT (Serianni and Kalita, ACL 2023).

    Embeddings are ELECTRA-small's: 128 wide, 512 positions, two types; layers are post-norm; the classifier reads the
    first token. The released training code (TensorFlow) gives every operation an output projection and a residual, and
    its PyTorch copy does not for transforms; here all have them. Feed-forward layers have the dimension that the
    architecture names, which the released codes ignore in part. Parameter counts include the whole vocabulary.
    """

    name: str
    description: str
    hidden_sizes: tuple[int, ...]
    depths: tuple[int, ...]
    operations: tuple[Kind, ...]
    heads: tuple[int, ...]
    feed_forwards: tuple[int, ...]
    stacks: tuple[int, ...]
    vocabulary: int = VOCABULARY
    length: int = LENGTH
    image_size: int = 0  # reads token ids, no images
    classes: int = 2
    embedding_std: float = EMBEDDING_STD
    linear_init: LinearInit = "trunc-normal"

    def parse(self, record: Mapping[str, object], /) -> FlexiBertArchitecture:
        hidden, layers = read_fields(self.name, record, ("hidden_size", "encoder_layers"))
        if not isinstance(layers, list | tuple) or len(layers) not in self.depths:
            found = f"{len(layers)} layers" if isinstance(layers, list | tuple) else reprlib.repr(layers)
            raise InputError(
                f"{self.name} architecture: encoder_layers must be a list of {comma(self.depths)} layers, found {found}"
            )
        return FlexiBertArchitecture(
            read_choice(self.name, "hidden_size", hidden, self.hidden_sizes),
            tuple(self._read_layer(f"encoder_layers[{index}]", layer) for index, layer in enumerate(layers)),
        )

    def _read_layer(self, where: str, record: object) -> EncoderLayer:
        names = [field.name for field in fields(EncoderLayer)]
        kind, parameter, *numbers = read_fields(f"{self.name} {where}", record, names)
        known = [
            choice
            for choice in self.operations
            if choice == (kind, parameter) and not isinstance(parameter, bool | float)
        ]
        if not known:
            choices = comma([f"{type_} with {value}" for type_, value in self.operations])
            found = f"{reprlib.repr(kind)} with {reprlib.repr(parameter)}"
            raise InputError(f"{self.name} architecture: the operation of {where} must be {choices}, found {found}")
        heads, dimension, stack = (
            read_choice(self.name, f"{where}.{name}", value, choices)
            for name, value, choices in zip(names[2:], numbers, self._numbers, strict=True)
        )
        return EncoderLayer(*known[0], heads, dimension, stack)

    def to_json(self, architecture: FlexiBertArchitecture) -> dict[str, Any]:
        return {
            "hidden_size": architecture.hidden_size,
            "encoder_layers": [asdict(layer) for layer in architecture.encoder_layers],
        }

    def sample(self, rng: np.random.Generator) -> FlexiBertArchitecture:
        """Width, depth and every field of a layer are drawn uniformly and independently, operations out of all kinds."""
        start = FlexiBertArchitecture(pick(rng, self.hidden_sizes), ())
        return self._with_depth(start, pick(rng, self.depths), rng)

    def mutate(self, architecture: FlexiBertArchitecture, rng: np.random.Generator) -> FlexiBertArchitecture:
        """Change the width, the depth (cut at the end, or extended by sampled layers), or one field of one layer.

        The kind of change is uniform over width, depth, operation, heads, feed-forward dimension and stack, as far as
        they have more than one choice.
        """
        layers = list(architecture.encoder_layers)
        choices = (self.hidden_sizes, self.depths, self.operations, *self._numbers)
        field = pick(rng, [index for index, values in enumerate(choices) if len(values) > 1])
        if field == 0:
            return replace(architecture, hidden_size=pick_other(rng, self.hidden_sizes, architecture.hidden_size))
        if field == 1:
            return self._with_depth(architecture, pick_other(rng, self.depths, len(layers)), rng)
        index = int(rng.integers(len(layers)))
        layers[index] = self._mutated(layers[index], field, rng)
        return replace(architecture, encoder_layers=tuple(layers))

    def _mutated(self, layer: EncoderLayer, field: int, rng: np.random.Generator) -> EncoderLayer:
        if field == 2:
            return layer.with_kind(pick_other(rng, self.operations, layer.kind))
        if field == 3:
            return replace(layer, num_operation_heads=pick_other(rng, self.heads, layer.num_operation_heads))
        if field == 4:
            other = pick_other(rng, self.feed_forwards, layer.feed_forward_dimension)
            return replace(layer, feed_forward_dimension=other)
        return replace(layer, num_feed_forward=pick_other(rng, self.stacks, layer.num_feed_forward))

    def crossover(
        self, a: FlexiBertArchitecture, b: FlexiBertArchitecture, rng: np.random.Generator
    ) -> FlexiBertArchitecture:
        """Width, depth, and every layer's operation, heads, dimension and stack come each from one parent; only the
        deeper parent has the last layers."""
        depth = len(pick(rng, (a, b)).encoder_layers)
        hidden = pick(rng, (a, b)).hidden_size
        layers = []
        for index in range(depth):
            owners = [parent.encoder_layers[index] for parent in (a, b) if len(parent.encoder_layers) > index]
            layers.append(
                EncoderLayer(
                    *pick(rng, owners).kind,
                    pick(rng, owners).num_operation_heads,
                    pick(rng, owners).feed_forward_dimension,
                    pick(rng, owners).num_feed_forward,
                )
            )
        return FlexiBertArchitecture(hidden, tuple(layers))

    def params(self, architecture: FlexiBertArchitecture, classes: int | None = None) -> int:
        dim = architecture.hidden_size
        embedding = (self.vocabulary + POSITIONS + TYPES + 2) * EMBEDDING  # with LayerNorm
        projection = (EMBEDDING + 1) * dim if dim != EMBEDDING else 0
        layers = sum(layer_params(layer, dim) for layer in architecture.encoder_layers)
        return embedding + projection + layers + (dim + 1) * self.outputs(classes)

    def flops(self, architecture: FlexiBertArchitecture, classes: int | None = None) -> int:
        """Multiply-accumulates of one sequence of `length` tokens; the fast transforms themselves are not counted."""
        dim = architecture.hidden_size
        projection = self.length * EMBEDDING * dim if dim != EMBEDDING else 0
        layers = sum(layer_macs(layer, dim, self.length) for layer in architecture.encoder_layers)
        return projection + layers + dim * self.outputs(classes)

    def depth(self, architecture: FlexiBertArchitecture) -> int:
        return len(architecture.encoder_layers)

    def width(self, architecture: FlexiBertArchitecture) -> float:
        return float(architecture.hidden_size)

    def largest(self) -> FlexiBertArchitecture:
        return max(self.covering(), key=self.params)

    def covering(self) -> tuple[FlexiBertArchitecture, ...]:
        """Every operation has tensors of its own, so there is one network of each, the largest else."""
        return self._uniform(max)

    def smallest(self, count: Literal["params", "flops"] = "params") -> FlexiBertArchitecture:
        return min(self._uniform(min), key=self.params if count == "params" else self.flops)

    def choices(self) -> dict[str, str]:
        return {
            "hidden_size": comma(self.hidden_sizes),
            "encoder_layers": f"{comma(self.depths)} layers",
            "operation": f"{comma([f'{kind} {parameter}' for kind, parameter in self.operations])} per layer",
            "num_operation_heads": f"{comma(self.heads)} per layer",
            "feed_forward_dimension": f"{comma(self.feed_forwards)} per layer",
            "num_feed_forward": f"{comma(self.stacks)} per layer",
            "vocabulary": f"{self.vocabulary} tokens, {self.length} in a sequence",
        }

    def size(self) -> int:
        per_layer = len(self.operations) * len(self.heads) * len(self.feed_forwards) * len(self.stacks)
        variants: int = sum(per_layer**depth for depth in self.depths)
        return len(self.hidden_sizes) * variants

    def _assemble(self, architecture: FlexiBertArchitecture, classes: int) -> torch.nn.Module:
        from autoprox.spaces import networks_flexibert as networks

        dim = architecture.hidden_size
        blocks = [
            networks.EncoderBlock(
                dim,
                networks.operation(dim, layer.num_operation_heads, layer.operation_type, layer.operation_parameter),
                networks.FeedForward(dim, layer.feed_forward_dimension, layer.num_feed_forward),
            )
            for layer in architecture.encoder_layers
        ]
        return networks.FlexiBert(dim, blocks, classes, vocabulary=self.vocabulary)

    @property
    def _numbers(self) -> tuple[tuple[int, ...], ...]:
        """Choices of a layer's three numbers, in the order of its fields."""
        return self.heads, self.feed_forwards, self.stacks

    def _uniform(self, choose: Callable[[Iterable[int]], int]) -> tuple[FlexiBertArchitecture, ...]:
        """The largest (or smallest) of every choice, with each operation."""
        return tuple(
            FlexiBertArchitecture(
                choose(self.hidden_sizes),
                (EncoderLayer(*kind, *(choose(numbers) for numbers in self._numbers)),) * choose(self.depths),
            )
            for kind in self.operations
        )

    def _with_depth(
        self, architecture: FlexiBertArchitecture, depth: int, rng: np.random.Generator
    ) -> FlexiBertArchitecture:
        kept = architecture.encoder_layers[:depth]
        drawn = (
            EncoderLayer(*pick(rng, self.operations), *(pick(rng, numbers) for numbers in self._numbers))
            for _ in range(depth - len(kept))
        )
        return replace(architecture, encoder_layers=(*kept, *drawn))


def layer_params(layer: EncoderLayer, dim: int) -> int:
    """Parameters of one layer: the operation with its output Linear, the feed-forward layers, two LayerNorms."""
    hidden, half = layer.feed_forward_dimension, dim // 2
    if layer.operation_type == "SA":
        operation = 3 * dim * (dim + 1) + (dim * dim if layer.operation_parameter == "WMA" else 0)
    elif layer.operation_type == "LT":
        operation = dim * (dim + 1)
    else:
        kernel = int(layer.operation_parameter)
        kernels = layer.num_operation_heads // 2 * kernel
        operation = 5 * half * (dim + 1) + dim * kernel + kernels * (half + 1)
    stack = (layer.num_feed_forward - 1) * hidden * (hidden + 1)
    return operation + dim * (dim + 1) + hidden * (dim + 1) + stack + dim * (hidden + 1) + 4 * dim


def layer_macs(layer: EncoderLayer, dim: int, tokens: int) -> int:
    """Multiply-accumulates of one layer on one sequence."""
    hidden, half = layer.feed_forward_dimension, dim // 2
    if layer.operation_type == "SA":
        per_token = (4 if layer.operation_parameter == "WMA" else 3) * dim * dim + 2 * tokens * dim
    elif layer.operation_type == "LT":
        per_token = dim * dim
    else:
        kernel = int(layer.operation_parameter)
        kernels = layer.num_operation_heads // 2 * kernel
        per_token = 5 * half * dim + dim * kernel + kernels * half + 2 * tokens * half + half * kernel
    stack = (layer.num_feed_forward - 1) * hidden * hidden
    return tokens * (per_token + dim * dim + 2 * dim * hidden + stack)
