"""Pooling-based vision transformers: three stages, with a depth and a number of heads of its own for every stage."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from autoprox.errors import InputError
from autoprox.spaces._space import (
    EMBEDDING_STD,
    IMAGE_SIZE,
    LinearInit,
    Space,
    block_macs,
    block_params,
    comma,
    pick,
    pick_other,
    read_choice,
    read_choices,
    read_fields,
)

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["PiTArchitecture", "PiTSpace"]

Triple: TypeAlias = tuple[int, int, int]

STRIDE = 8


@dataclass(frozen=True)
class PiTArchitecture:
    """Width of one head, MLP ratio, per stage the numbers of heads and of blocks, and the pixels between two patches."""

    base_dim: int
    mlp_ratio: int
    num_heads: Triple
    depth: Triple
    stride: int = STRIDE

    @property
    def patch(self) -> int:
        """Side of a patch in pixels: neighbours overlap by half."""
        return 2 * self.stride

    @property
    def dims(self) -> Triple:
        """Embedding width of each stage."""
        first, second, third = self.num_heads
        return self.base_dim * first, self.base_dim * second, self.base_dim * third


@dataclass(frozen=True)
class PiTSpace(Space):
    """PiT (Heo et al., ICCV 2021) with the choices of Auto-Prox and TF-TAS.

    `parse` accepts every combination of the stages' choices in which the heads do not decrease: a pooling
    convolution has one group per input channel, so its output must be at least as wide. `sample` and `mutate` draw
    depths whose sum lies in `total_depths` only. For pit-tiny these are ViT-Bench-101's 10 triples (sums 12 to 14),
    the only ones with ground truth, so that `size` is the benchmark's 1,600; TF-TAS-PiT-T (2, 4, 4) still parses.
    Where there is one stride, architectures do not name it.
    """

    name: str
    description: str
    base_dims: tuple[int, ...]
    mlp_ratios: tuple[int, ...]
    heads: tuple[int, ...]
    depths: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    total_depths: tuple[int, ...]
    strides: tuple[int, ...] = (STRIDE,)
    image_size: int = IMAGE_SIZE
    classes: int = 100
    embedding_std: float = EMBEDDING_STD
    linear_init: LinearInit = "default"

    @property
    def head_triples(self) -> tuple[Triple, ...]:
        """Numbers of heads per stage that `sample` draws from."""
        return tuple(combinations_with_replacement(sorted(self.heads), 3))

    @property
    def depth_triples(self) -> tuple[Triple, ...]:
        """Depths per stage that `sample` draws from."""
        return tuple(triple for triple in product(*self.depths) if sum(triple) in self.total_depths)

    def parse(self, record: Mapping[str, object], /) -> PiTArchitecture:
        names = ("base_dim", "mlp_ratio", "num_heads", "depth", *self._stride_field)
        base_dim, ratio, heads, depth, *stride = read_fields(self.name, record, names)
        h1, h2, h3 = read_choices(self.name, "num_heads", heads, [self.heads] * 3)
        if not h1 <= h2 <= h3:
            raise InputError(
                f"{self.name} architecture: num_heads must not decrease from stage to stage, found {h1}, {h2}, {h3}"
            )
        d1, d2, d3 = read_choices(self.name, "depth", depth, self.depths)
        return PiTArchitecture(
            read_choice(self.name, "base_dim", base_dim, self.base_dims),
            read_choice(self.name, "mlp_ratio", ratio, self.mlp_ratios),
            (h1, h2, h3),
            (d1, d2, d3),
            read_choice(self.name, "stride", stride[0], self.strides) if stride else self.strides[0],
        )

    def to_json(self, architecture: PiTArchitecture) -> dict[str, Any]:
        return {
            "base_dim": architecture.base_dim,
            "mlp_ratio": architecture.mlp_ratio,
            "num_heads": list(architecture.num_heads),
            "depth": list(architecture.depth),
            **dict.fromkeys(self._stride_field, architecture.stride),
        }

    def sample(self, rng: np.random.Generator) -> PiTArchitecture:
        return PiTArchitecture(
            pick(rng, self.base_dims),
            pick(rng, self.mlp_ratios),
            pick(rng, self.head_triples),
            pick(rng, self.depth_triples),
            pick(rng, self.strides) if self._stride_field else self.strides[0],
        )

    def mutate(self, architecture: PiTArchitecture, rng: np.random.Generator) -> PiTArchitecture:
        """Draw another value for one of the fields; triples come from those that `sample` draws from."""
        fields = {
            "base_dim": self.base_dims,
            "mlp_ratio": self.mlp_ratios,
            "num_heads": self.head_triples,
            "depth": self.depth_triples,
            "stride": self.strides,
        }
        field = pick(rng, [name for name, choices in fields.items() if len(choices) > 1])
        if field == "base_dim":
            return replace(architecture, base_dim=pick_other(rng, self.base_dims, architecture.base_dim))
        if field == "mlp_ratio":
            return replace(architecture, mlp_ratio=pick_other(rng, self.mlp_ratios, architecture.mlp_ratio))
        if field == "num_heads":
            return replace(architecture, num_heads=pick_other(rng, self.head_triples, architecture.num_heads))
        if field == "stride":
            return replace(architecture, stride=pick_other(rng, self.strides, architecture.stride))
        return replace(architecture, depth=pick_other(rng, self.depth_triples, architecture.depth))

    def crossover(self, a: PiTArchitecture, b: PiTArchitecture, rng: np.random.Generator) -> PiTArchitecture:
        """Every field comes from one parent; triples stay whole, so that they stay among the parents' triples."""
        return PiTArchitecture(
            pick(rng, (a, b)).base_dim,
            pick(rng, (a, b)).mlp_ratio,
            pick(rng, (a, b)).num_heads,
            pick(rng, (a, b)).depth,
            pick(rng, (a, b)).stride if self._stride_field else a.stride,
        )

    def positions(self, architecture: PiTArchitecture) -> tuple[int, ...]:
        """Stages."""
        return architecture.depth

    def exchange(self, a: PiTArchitecture, b: PiTArchitecture, positions: Collection[int]) -> PiTArchitecture | None:
        """A stage brings its heads and its depth; None where heads would decrease, or the depths are never drawn."""
        owners = [b if stage in positions else a for stage in range(3)]
        h1, h2, h3 = (owner.num_heads[stage] for stage, owner in enumerate(owners))
        d1, d2, d3 = (owner.depth[stage] for stage, owner in enumerate(owners))
        if not h1 <= h2 <= h3 or d1 + d2 + d3 not in self.total_depths:
            return None
        return replace(a, num_heads=(h1, h2, h3), depth=(d1, d2, d3))

    def params(self, architecture: PiTArchitecture, classes: int | None = None) -> int:
        (d1, d2, d3), classes = architecture.dims, self.outputs(classes)
        first = self._sides(architecture)[0] ** 2
        embedding = (3 * architecture.patch**2 + 1) * d1 + first * d1 + d1  # patch convolution, position map, CLS
        blocks = sum(
            depth * block_params(dim, dim * architecture.mlp_ratio)
            for depth, dim in zip(architecture.depth, architecture.dims, strict=True)
        )
        pooling = sum(10 * wide + narrow * wide + wide for narrow, wide in ((d1, d2), (d2, d3)))
        return embedding + blocks + pooling + 2 * d3 + d3 * classes + classes

    def flops(self, architecture: PiTArchitecture, classes: int | None = None) -> int:
        (d1, d2, d3), sides = architecture.dims, self._sides(architecture)
        blocks = sum(
            depth * block_macs(dim, dim * architecture.mlp_ratio, side * side + 1)
            for depth, dim, side in zip(architecture.depth, architecture.dims, sides, strict=True)
        )
        pooling = sum(
            9 * wide * side * side + narrow * wide for narrow, wide, side in ((d1, d2, sides[1]), (d2, d3, sides[2]))
        )
        embedding = sides[0] ** 2 * 3 * architecture.patch**2 * d1
        return embedding + blocks + pooling + d3 * self.outputs(classes)

    def depth(self, architecture: PiTArchitecture) -> int:
        return sum(architecture.depth)

    def width(self, architecture: PiTArchitecture) -> float:
        blocks = zip(architecture.depth, architecture.dims, strict=True)
        return sum(depth * dim for depth, dim in blocks) / sum(architecture.depth)

    def largest(self) -> PiTArchitecture:
        """The largest that `parse` accepts; its depths may lie outside the triples that `sample` draws from."""
        return max(self.covering(), key=self.params)

    def covering(self) -> tuple[PiTArchitecture, ...]:
        """Large strides have the larger convolution, small ones the larger position map."""
        heads = max(self.heads)
        d1, d2, d3 = (max(choices) for choices in self.depths)
        widest = PiTArchitecture(max(self.base_dims), max(self.mlp_ratios), (heads, heads, heads), (d1, d2, d3))
        return tuple(replace(widest, stride=stride) for stride in self.strides)

    def smallest(self, count: Literal["params", "flops"] = "params") -> PiTArchitecture:
        """Where the blocks are matters: a block of the first stage is cheap in parameters and expensive in FLOPs."""
        heads = min(self.heads)
        candidates = [
            PiTArchitecture(min(self.base_dims), min(self.mlp_ratios), (heads, heads, heads), depth, stride)
            for depth in self.depth_triples
            for stride in self.strides
        ]
        return min(candidates, key=self.params if count == "params" else self.flops)

    def choices(self) -> dict[str, str]:
        return {
            "base_dim": comma(self.base_dims),
            "mlp_ratio": comma(self.mlp_ratios),
            "num_heads": f"{comma(self.heads)} per stage, not decreasing",
            "depth": f"{' | '.join(comma(choices) for choices in self.depths)} per stage; "
            f"sampled with {min(self.total_depths)} to {max(self.total_depths)} blocks in all",
            **{field: f"{comma(self.strides)} px of {self.image_size}" for field in self._stride_field},
        }

    def size(self) -> int:
        fields = (self.base_dims, self.mlp_ratios, self.head_triples, self.depth_triples, self.strides)
        return math.prod(map(len, fields))

    def _assemble(self, architecture: PiTArchitecture, classes: int) -> torch.nn.Module:
        from autoprox.spaces import networks

        return networks.PiT(
            architecture.dims,
            architecture.num_heads,
            architecture.depth,
            architecture.mlp_ratio,
            classes,
            patch=architecture.patch,
            stride=architecture.stride,
            image_size=self.image_size,
        )

    @property
    def _stride_field(self) -> tuple[str, ...]:
        return ("stride",) if len(self.strides) > 1 else ()

    def _sides(self, architecture: PiTArchitecture) -> Triple:
        """Side of the token map in each stage: 27, 14, 7 at 224 px and stride 8."""
        first = (self.image_size - architecture.patch) // architecture.stride + 1
        return first, (first + 1) // 2, (first + 3) // 4
