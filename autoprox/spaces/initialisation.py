"""Seeded initial values: which distribution each parameter follows, and where its noise comes from.

Shared noise belongs to a space: one tensor of standard noise per parameter name, in the shape it has in the space's
largest architecture. A network takes the leading slice and scales it by its own rule, so that two networks differ by
their architectures and not by luck, and the second network of a space costs copies only.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from autoprox.spaces._space import EMBEDDING_STD, LinearInit, Space

__all__ = [
    "LARGEST_HEAD",
    "FreshNoise",
    "Noise",
    "Rule",
    "SharedNoise",
    "initialise",
    "materialise",
    "rules",
    "shared_noise",
]

LARGEST_HEAD = 1000
"""Classes of the head that shared noise is drawn for; smaller heads are slices of it."""

LINEAR_STD = 0.02

_TOGETHER = 16  # torch draws normal numbers by so many, and the last so many of a tensor anew


@dataclass(frozen=True)
class Rule:
    """A parameter's distribution: `normal` with standard deviation scale, `uniform` on ±scale, or a constant."""

    kind: Literal["normal", "uniform", "zeros", "ones"]
    scale: float = 1.0


class Noise(Protocol):
    """A source of standard noise: normal with deviation 1, or uniform on ±1."""

    def __call__(self, name: str, shape: torch.Size, kind: str) -> Tensor: ...


class SharedNoise:
    """Slices of one seeded tensor per name, whose leading rows are drawn as networks ask for them and then kept: at most
    twice the rows that any took, since those of the largest can be many times as many."""

    def __init__(self, seed: int, space: str, largest: dict[str, torch.Size]) -> None:
        self._seed, self._space, self._largest = seed, space, largest
        self._drawn: dict[str, Tensor] = {}

    def __call__(self, name: str, shape: torch.Size, kind: str) -> Tensor:
        kept = len(self._drawn[name]) if name in self._drawn else 0
        if kept < shape[0]:
            self._drawn[name] = self._leading(name, min(self._largest[name][0], max(shape[0], 2 * kept)), kind)
        return self._drawn[name][tuple(slice(length) for length in shape)]

    def _leading(self, name: str, rows: int, kind: str) -> Tensor:
        """The first rows of a tensor, the same bits as if all of it were drawn."""
        shape = self._largest[name]
        wanted = rows * shape[1:].numel()
        count = -(-wanted // _TOGETHER) * _TOGETHER
        if count > shape.numel() - _TOGETHER:
            count = shape.numel()
        drawn = _draw(torch.Size([count]), kind, _generator(self._seed, self._space, name))
        return drawn[:wanted].view(rows, *shape[1:])


class FreshNoise:
    """Noise of one architecture, drawn in the order of its parameters."""

    def __init__(self, seed: int, space: str, key: str) -> None:
        self._generator = _generator(seed, space, key)

    def __call__(self, name: str, shape: torch.Size, kind: str) -> Tensor:
        return _draw(shape, kind, self._generator)


@lru_cache(maxsize=4)  # a space's largest network keeps less than 400 MB, but 1 GB in pit-small: few at a time
def shared_noise(space: Space, seed: int, classes: int) -> SharedNoise:
    """The space's noise for one seed; heads have up to `classes` rows."""
    shapes: dict[str, torch.Size] = {}
    for architecture in space.covering():
        for name, parameter in space.skeleton(architecture, classes).named_parameters():
            sides = zip(parameter.shape, shapes.get(name, parameter.shape), strict=True)
            shapes[name] = torch.Size(max(pair) for pair in sides)
    return SharedNoise(seed, space.name, shapes)


def rules(model: nn.Module, linear: LinearInit, embedding_std: float = EMBEDDING_STD) -> dict[str, Rule]:
    """The rule of every parameter, by name, from the type of the module that holds it.

    LayerNorm is 1 and 0. Convolutions, and Linear layers with `linear="default"`, follow PyTorch: weight and bias
    uniform on ±1/sqrt(fan in). With `linear="trunc-normal"` Linear weights are normal .02 and their biases 0. Tokens
    and positions, absolute and relative, which the families' own modules hold, are normal with the space's deviation.
    """
    found: dict[str, Rule] = {}
    for prefix, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            bias = name == "bias"
            if isinstance(module, nn.LayerNorm):
                rule = Rule("zeros" if bias else "ones")
            elif isinstance(module, nn.Linear) and linear == "trunc-normal":
                rule = Rule("zeros") if bias else Rule("normal", LINEAR_STD)
            elif isinstance(module, nn.Linear | nn.Conv2d):
                rule = Rule("uniform", 1.0 / math.sqrt(module.weight[0].numel()))
            elif type(module).__module__.startswith("torch."):
                raise TypeError(f"no initialisation rule for {type(module).__name__} ({prefix}): add one to `rules`")
            else:
                rule = Rule("normal", embedding_std)
            found[f"{prefix}.{name}" if prefix else name] = rule
    return found


def materialise(model: nn.Module, endings: tuple[str, ...]) -> None:
    """Give the parameters whose names end so memory on the CPU, without values; the others stay where they are."""
    for prefix, module in model.named_modules():
        for own, parameter in list(module.named_parameters(recurse=False)):
            if f"{prefix}.{own}".endswith(endings):
                module.register_parameter(own, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype)))


def initialise(model: nn.Module, space: Space, noise: Noise) -> None:
    """Overwrite every parameter of a model of the space (CPU, float32; those on the meta device stay) by its rule.

    The published truncated normal has standard deviation .02 and cuts at ±2, a hundred deviations out: no draw ever
    reaches that, so it is drawn as a normal.
    """
    by_name = rules(model, space.linear_init, space.embedding_std)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.is_meta:
                continue
            rule = by_name[name]
            if rule.kind == "zeros":
                parameter.zero_()
            elif rule.kind == "ones":
                parameter.fill_(1.0)
            else:
                torch.mul(noise(name, parameter.shape, rule.kind), rule.scale, out=parameter)


def _draw(shape: torch.Size, kind: str, generator: torch.Generator) -> Tensor:
    empty = torch.empty(shape, device="cpu", dtype=torch.float32)
    return empty.normal_(generator=generator) if kind == "normal" else empty.uniform_(-1.0, 1.0, generator=generator)


def _generator(seed: int, *names: str) -> torch.Generator:
    digest = hashlib.sha256("\n".join((str(seed), *names)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
