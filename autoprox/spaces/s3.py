"""S3, also called AutoFormerV2: four stages of shifted windows, with widths of stages and choices of their own for blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

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
    read_choices,
    read_fields,
    read_list,
)

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["S3Architecture", "S3Block", "S3Choices", "S3Space", "S3Stage"]

PATCH = 4
HEAD_DIM = 32
FIELDS = ("num_heads", "mlp_ratio", "window_size")


@dataclass(frozen=True)
class S3Block:
    """Heads, MLP ratio, and the side of a window in tokens."""

    num_heads: int
    mlp_ratio: float
    window_size: int


@dataclass(frozen=True)
class S3Stage:
    """Width of a stage and its blocks."""

    embed_dim: int
    blocks: tuple[S3Block, ...]


@dataclass(frozen=True)
class S3Architecture:
    """The stages, from the first with the most tokens."""

    stages: tuple[S3Stage, ...]


@dataclass(frozen=True)
class S3Choices:
    """What one stage is drawn from; the windows must tile its map of tokens."""

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    windows: tuple[int, ...]

    def of(self, field: str) -> tuple[float, ...]:
        """Values of a field of a block."""
        return {"num_heads": self.heads, "mlp_ratio": self.mlp_ratios, "window_size": self.windows}[field]

    def block(self, rng: np.random.Generator) -> S3Block:
        """A block with every choice drawn uniformly."""
        return S3Block(pick(rng, self.heads), pick(rng, self.mlp_ratios), pick(rng, self.windows))

    def extreme(self, choose: Callable[[Iterable[float]], Any]) -> S3Stage:
        """The stage with the largest (or smallest) of every choice."""
        block = S3Block(choose(self.heads), choose(self.mlp_ratios), choose(self.windows))
        return S3Stage(choose(self.embed_dims), (block,) * choose(self.depths))


@dataclass(frozen=True)
class S3Space(Space):
    """S3 (Chen et al., NeurIPS 2021, arXiv 2111.14725) around its released models.

    What can be chosen follows their configurations: a width and a depth for every stage, and heads, MLP ratio and window
    for every block. The released code has no search; the lists of choices are not known and were set here. Head dimension
    32 as in the code, so that queries, keys and values are 32 num_heads wide. The code runs only where that is the width
    of the stage; the paper lets the two differ, and so does this space.
    """

    name: str
    description: str
    stages: tuple[S3Choices, ...]
    image_size: int = IMAGE_SIZE
    classes: int = 1000
    embedding_std: float = EMBEDDING_STD
    linear_init: LinearInit = "trunc-normal"

    def parse(self, record: Mapping[str, object], /) -> S3Architecture:
        dims, depths, *lists = read_fields(self.name, record, ("embed_dim", "depth", *FIELDS))
        widths = read_choices(self.name, "embed_dim", dims, [stage.embed_dims for stage in self.stages])
        counts = read_choices(self.name, "depth", depths, [stage.depths for stage in self.stages])
        heads, ratios, windows = (
            self._read_blocks(field, value, counts) for field, value in zip(FIELDS, lists, strict=True)
        )
        each = zip(widths, heads, ratios, windows, strict=True)
        return S3Architecture(
            tuple(
                S3Stage(width, tuple(S3Block(*values) for values in zip(*columns, strict=True)))
                for width, *columns in each
            )
        )

    def to_json(self, architecture: S3Architecture) -> dict[str, Any]:
        return {
            "embed_dim": [stage.embed_dim for stage in architecture.stages],
            "depth": [len(stage.blocks) for stage in architecture.stages],
            **{f: [[getattr(block, f) for block in stage.blocks] for stage in architecture.stages] for f in FIELDS},
        }

    def sample(self, rng: np.random.Generator) -> S3Architecture:
        """Everything is drawn uniformly and independently, so that depths are equally likely."""
        return S3Architecture(
            tuple(
                S3Stage(
                    pick(rng, choices.embed_dims), tuple(choices.block(rng) for _ in range(pick(rng, choices.depths)))
                )
                for choices in self.stages
            )
        )

    def mutate(self, architecture: S3Architecture, rng: np.random.Generator) -> S3Architecture:
        """Change a stage's width, its depth (cut at the end, or extended by sampled blocks), or one field of one block.

        The kind of change is uniform over the five fields, the stage over those that have a choice there.
        """
        field = pick(rng, ("embed_dim", "depth", *FIELDS))
        if field in FIELDS:
            place = pick(rng, [i for i, choices in enumerate(self.stages) if len(choices.of(field)) > 1])
        else:
            place = int(rng.integers(len(self.stages)))
        stage, choices = architecture.stages[place], self.stages[place]
        if field == "embed_dim":
            changed = replace(stage, embed_dim=pick_other(rng, choices.embed_dims, stage.embed_dim))
        elif field == "depth":
            depth = pick_other(rng, choices.depths, len(stage.blocks))
            more = tuple(choices.block(rng) for _ in range(depth - len(stage.blocks)))
            changed = replace(stage, blocks=stage.blocks[:depth] + more)
        else:
            blocks = list(stage.blocks)
            which = int(rng.integers(len(blocks)))
            value = pick_other(rng, choices.of(field), getattr(blocks[which], field))
            blocks[which] = replace(blocks[which], **{field: value})
            changed = replace(stage, blocks=tuple(blocks))
        return S3Architecture((*architecture.stages[:place], changed, *architecture.stages[place + 1 :]))

    def crossover(self, a: S3Architecture, b: S3Architecture, rng: np.random.Generator) -> S3Architecture:
        """Width, depth and every field of every block come each from one parent; only the one with the deeper stage has
        its last blocks."""
        return S3Architecture(
            tuple(_cross_stages(first, second, rng) for first, second in zip(a.stages, b.stages, strict=True))
        )

    def positions(self, architecture: S3Architecture) -> tuple[int, ...]:
        """Stages, each with its width and all its blocks."""
        return tuple(len(stage.blocks) for stage in architecture.stages)

    def params(self, architecture: S3Architecture, classes: int | None = None) -> int:
        dims, classes = [stage.embed_dim for stage in architecture.stages], self.outputs(classes)
        blocks = sum(
            block_params(stage.embed_dim, int(stage.embed_dim * block.mlp_ratio), HEAD_DIM * block.num_heads)
            + (2 * min(block.window_size, side) - 1) ** 2 * block.num_heads
            for stage, side in zip(architecture.stages, self._sides(), strict=True)
            for block in stage.blocks
        )
        embedding = (3 * PATCH**2 + 1) * dims[0] + 2 * dims[0]
        merging = sum(4 * narrow * wide + 8 * narrow for narrow, wide in pairwise(dims))
        return embedding + blocks + merging + 2 * dims[-1] + dims[-1] * classes + classes

    def flops(self, architecture: S3Architecture, classes: int | None = None) -> int:
        dims, sides = [stage.embed_dim for stage in architecture.stages], self._sides()
        blocks = sum(
            block_macs(
                stage.embed_dim,
                int(stage.embed_dim * block.mlp_ratio),
                side**2,
                HEAD_DIM * block.num_heads,
                min(block.window_size, side) ** 2,
            )
            for stage, side in zip(architecture.stages, sides, strict=True)
            for block in stage.blocks
        )
        embedding = sides[0] ** 2 * 3 * PATCH**2 * dims[0]
        merging = sum(
            side**2 * 4 * narrow * wide for side, (narrow, wide) in zip(sides[1:], pairwise(dims), strict=True)
        )
        return embedding + blocks + merging + dims[-1] * self.outputs(classes)

    def depth(self, architecture: S3Architecture) -> int:
        return sum(len(stage.blocks) for stage in architecture.stages)

    def width(self, architecture: S3Architecture) -> float:
        return sum(len(stage.blocks) * stage.embed_dim for stage in architecture.stages) / self.depth(architecture)

    def largest(self) -> S3Architecture:
        return S3Architecture(tuple(choices.extreme(max) for choices in self.stages))

    def smallest(self, count: Literal["params", "flops"] = "params") -> S3Architecture:
        return S3Architecture(tuple(choices.extreme(min) for choices in self.stages))

    def choices(self) -> dict[str, str]:
        return {
            "embed_dim": f"{self._each(lambda stage: stage.embed_dims)} per stage",
            "depth": f"{self._each(lambda stage: stage.depths)} per stage",
            "num_heads": f"{self._each(lambda stage: stage.heads)} per block",
            "mlp_ratio": f"{self._each(lambda stage: stage.mlp_ratios)} per block",
            "window_size": f"{self._each(lambda stage: stage.windows)} tokens a side, per block",
        }

    def size(self) -> int:
        return math.prod(
            len(choices.embed_dims)
            * sum((len(choices.heads) * len(choices.mlp_ratios) * len(choices.windows)) ** d for d in choices.depths)
            for choices in self.stages
        )

    def _assemble(self, architecture: S3Architecture, classes: int) -> torch.nn.Module:
        from autoprox.spaces import networks

        return networks.S3(
            [stage.embed_dim for stage in architecture.stages],
            [
                [(block.num_heads, int(stage.embed_dim * block.mlp_ratio), block.window_size) for block in stage.blocks]
                for stage in architecture.stages
            ],
            classes,
            patch=PATCH,
            image_size=self.image_size,
        )

    def _sides(self) -> list[int]:
        """Side of the token map in each stage: 56, 28, 14, 7 at 224 px."""
        return [self.image_size // PATCH >> stage for stage in range(len(self.stages))]

    def _each(self, values: Callable[[S3Choices], Sequence[float]]) -> str:
        texts = [comma(values(choices)) for choices in self.stages]
        return texts[0] if len(set(texts)) == 1 else " | ".join(texts)

    def _read_blocks(self, field: str, lists: object, depths: Sequence[int]) -> list[tuple[Any, ...]]:
        """One list of values for every stage, one value for each of its blocks."""
        each = zip(read_list(self.name, field, lists, len(depths)), depths, self.stages, strict=True)
        return [
            read_choices(self.name, f"{field}[{i}]", values, [choices.of(field)] * depth)
            for i, (values, depth, choices) in enumerate(each)
        ]


def _cross_stages(a: S3Stage, b: S3Stage, rng: np.random.Generator) -> S3Stage:
    depth = pick(rng, (len(a.blocks), len(b.blocks)))
    owners = [[parent.blocks[i] for parent in (a, b) if len(parent.blocks) > i] for i in range(depth)]
    blocks = (S3Block(pick(rng, own).num_heads, pick(rng, own).mlp_ratio, pick(rng, own).window_size) for own in owners)
    return S3Stage(pick(rng, (a, b)).embed_dim, tuple(blocks))
