"""AutoFormer-like spaces: one width, and a number of heads and an MLP ratio of its own for every block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from autoprox.spaces._space import (
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

__all__ = ["AutoFormerArchitecture", "AutoFormerSubSpace"]

PATCH = 16
PATCHES = (IMAGE_SIZE // PATCH) ** 2


@dataclass(frozen=True)
class AutoFormerArchitecture:
    """Embedding width, and per block the number of heads and the MLP ratio."""

    embed_dim: int
    num_heads: tuple[int, ...]
    mlp_ratio: tuple[float, ...]

    @property
    def depth(self) -> int:
        return len(self.num_heads)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Hidden width of each block's MLP."""
        return tuple(int(self.embed_dim * ratio) for ratio in self.mlp_ratio)


@dataclass(frozen=True)
class AutoFormerSubSpace(Space):
    """ViT-Bench-101's variant of AutoFormer: head dimension embed_dim / num_heads, no relative position.

    Heads therefore change neither parameters nor FLOPs. Source: Auto-Prox (AAAI 2024), its released builder;
    choices of AutoFormer-Ti (Chen et al., ICCV 2021, table 1).
    """

    name: str
    description: str
    embed_dims: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    depths: tuple[int, ...]
    linear_init: LinearInit = "trunc-normal"

    def parse(self, record: Mapping[str, object], /) -> AutoFormerArchitecture:
        embed_dim, depth, heads, ratios = read_fields(
            self.name, record, ("embed_dim", "depth", "num_heads", "mlp_ratio")
        )
        blocks = read_choice(self.name, "depth", depth, self.depths)
        return AutoFormerArchitecture(
            read_choice(self.name, "embed_dim", embed_dim, self.embed_dims),
            read_choices(self.name, "num_heads", heads, [self.heads] * blocks),
            read_choices(self.name, "mlp_ratio", ratios, [self.mlp_ratios] * blocks),
        )

    def to_json(self, architecture: AutoFormerArchitecture) -> dict[str, Any]:
        return {
            "embed_dim": architecture.embed_dim,
            "depth": architecture.depth,
            "num_heads": list(architecture.num_heads),
            "mlp_ratio": list(architecture.mlp_ratio),
        }

    def sample(self, rng: np.random.Generator) -> AutoFormerArchitecture:
        """Width, depth, heads and ratios are drawn uniformly and independently, so depths are equally likely."""
        return self._with_depth(AutoFormerArchitecture(pick(rng, self.embed_dims), (), ()), pick(rng, self.depths), rng)

    def mutate(self, architecture: AutoFormerArchitecture, rng: np.random.Generator) -> AutoFormerArchitecture:
        """Change the width, the depth (cut at the end, or extended by sampled blocks), or one block's heads or ratio.

        The kind of change is uniform over the fields that have more than one choice.
        """
        fields = {
            "embed_dim": self.embed_dims,
            "depth": self.depths,
            "num_heads": self.heads,
            "mlp_ratio": self.mlp_ratios,
        }
        field = pick(rng, [name for name, choices in fields.items() if len(choices) > 1])
        if field == "embed_dim":
            return replace(architecture, embed_dim=pick_other(rng, self.embed_dims, architecture.embed_dim))
        if field == "depth":
            return self._with_depth(architecture, pick_other(rng, self.depths, architecture.depth), rng)
        block = int(rng.integers(architecture.depth))
        if field == "num_heads":
            heads = list(architecture.num_heads)
            heads[block] = pick_other(rng, self.heads, heads[block])
            return replace(architecture, num_heads=tuple(heads))
        ratios = list(architecture.mlp_ratio)
        ratios[block] = pick_other(rng, self.mlp_ratios, ratios[block])
        return replace(architecture, mlp_ratio=tuple(ratios))

    def crossover(
        self, a: AutoFormerArchitecture, b: AutoFormerArchitecture, rng: np.random.Generator
    ) -> AutoFormerArchitecture:
        """Width, depth and every block's heads and ratio come each from one parent; only the deeper parent has the
        last blocks."""
        depth = pick(rng, (a.depth, b.depth))
        owners = [[parent for parent in (a, b) if parent.depth > block] for block in range(depth)]
        return AutoFormerArchitecture(
            pick(rng, (a.embed_dim, b.embed_dim)),
            tuple(pick(rng, owners[block]).num_heads[block] for block in range(depth)),
            tuple(pick(rng, owners[block]).mlp_ratio[block] for block in range(depth)),
        )

    def params(self, architecture: AutoFormerArchitecture, classes: int = 100) -> int:
        dim = architecture.embed_dim
        embedding = (3 * PATCH**2 + 1) * dim + (PATCHES + 1) * dim + dim  # patch convolution, position, CLS
        blocks = sum(block_params(dim, hidden) for hidden in architecture.hidden)
        return embedding + blocks + 2 * dim + dim * classes + classes

    def flops(self, architecture: AutoFormerArchitecture, classes: int = 100) -> int:
        dim = architecture.embed_dim
        blocks = sum(block_macs(dim, hidden, PATCHES + 1) for hidden in architecture.hidden)
        return PATCHES * 3 * PATCH**2 * dim + blocks + dim * classes

    def depth(self, architecture: AutoFormerArchitecture) -> int:
        return architecture.depth

    def width(self, architecture: AutoFormerArchitecture) -> float:
        return float(architecture.embed_dim)

    def largest(self) -> AutoFormerArchitecture:
        depth = max(self.depths)
        return AutoFormerArchitecture(max(self.embed_dims), (max(self.heads),) * depth, (max(self.mlp_ratios),) * depth)

    def smallest(self, count: Literal["params", "flops"] = "params") -> AutoFormerArchitecture:
        depth = min(self.depths)
        return AutoFormerArchitecture(min(self.embed_dims), (min(self.heads),) * depth, (min(self.mlp_ratios),) * depth)

    def choices(self) -> dict[str, str]:
        return {
            "embed_dim": comma(self.embed_dims),
            "depth": comma(self.depths),
            "num_heads": f"{comma(self.heads)} per block",
            "mlp_ratio": f"{comma(self.mlp_ratios)} per block",
        }

    def size(self) -> int:
        per_block = len(self.heads) * len(self.mlp_ratios)
        variants: int = sum(per_block**depth for depth in self.depths)
        return len(self.embed_dims) * variants

    def _assemble(self, architecture: AutoFormerArchitecture, classes: int) -> torch.nn.Module:
        from autoprox.spaces import networks

        return networks.AutoFormerSub(
            architecture.embed_dim, architecture.num_heads, architecture.hidden, classes, patch=PATCH
        )

    def _with_depth(
        self, architecture: AutoFormerArchitecture, depth: int, rng: np.random.Generator
    ) -> AutoFormerArchitecture:
        extra = max(0, depth - architecture.depth)
        return replace(
            architecture,
            num_heads=architecture.num_heads[:depth] + tuple(pick(rng, self.heads) for _ in range(extra)),
            mlp_ratio=architecture.mlp_ratio[:depth] + tuple(pick(rng, self.mlp_ratios) for _ in range(extra)),
        )
