"""AutoFormer-like spaces: one width, and a number of heads and an MLP ratio of its own for every block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
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
    read_choice,
    read_choices,
    read_fields,
)

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["AutoFormerArchitecture", "AutoFormerFamily", "AutoFormerSpace", "AutoFormerSubSpace"]

PATCH = 16
HEAD_DIM = 64
RELATIVE = 2 * (2 * 14 + 2)
"""Relative embeddings of the keys, and of the values, of one block: two tables of distances up to 14, and the CLS token."""


@dataclass(frozen=True)
class AutoFormerArchitecture:
    """Embedding width, per block the number of heads and the MLP ratio, and the side of a patch in pixels."""

    embed_dim: int
    num_heads: tuple[int, ...]
    mlp_ratio: tuple[float, ...]
    patch_size: int = PATCH

    @property
    def depth(self) -> int:
        return len(self.num_heads)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Hidden width of each block's MLP."""
        return tuple(int(self.embed_dim * ratio) for ratio in self.mlp_ratio)


@dataclass(frozen=True)
class AutoFormerFamily(Space):
    """What AutoFormer's spaces share. Where there is one patch size, architectures do not name it.

    Published architectures have values beside the printed choices: `parse` reads those of `also_heads` and `also_ratios`
    too, and nothing draws them.
    """

    name: str
    description: str
    embed_dims: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    depths: tuple[int, ...]
    patch_sizes: tuple[int, ...] = (PATCH,)
    image_size: int = IMAGE_SIZE
    classes: int = 100
    embedding_std: float = EMBEDDING_STD
    linear_init: LinearInit = "trunc-normal"
    also_heads: tuple[int, ...] = ()
    also_ratios: tuple[float, ...] = ()

    @abstractmethod
    def _block_params(self, architecture: AutoFormerArchitecture, heads: int, hidden: int) -> int:
        """Parameters of one block."""

    @abstractmethod
    def _block_macs(self, architecture: AutoFormerArchitecture, heads: int, hidden: int) -> int:
        """Multiply-accumulates of one block."""

    def parse(self, record: Mapping[str, object], /) -> AutoFormerArchitecture:
        names = ("embed_dim", "depth", "num_heads", "mlp_ratio", *self._patch_field)
        embed_dim, depth, heads, ratios, *patch = read_fields(self.name, record, names)
        blocks = read_choice(self.name, "depth", depth, self.depths)
        every_heads, every_ratio = (
            sorted((*self.heads, *self.also_heads)),
            sorted((*self.mlp_ratios, *self.also_ratios)),
        )
        return AutoFormerArchitecture(
            read_choice(self.name, "embed_dim", embed_dim, self.embed_dims),
            read_choices(self.name, "num_heads", heads, [every_heads] * blocks),
            read_choices(self.name, "mlp_ratio", ratios, [every_ratio] * blocks),
            read_choice(self.name, "patch_size", patch[0], self.patch_sizes) if patch else self.patch_sizes[0],
        )

    def to_json(self, architecture: AutoFormerArchitecture) -> dict[str, Any]:
        return {
            "embed_dim": architecture.embed_dim,
            "depth": architecture.depth,
            "num_heads": list(architecture.num_heads),
            "mlp_ratio": list(architecture.mlp_ratio),
            **dict.fromkeys(self._patch_field, architecture.patch_size),
        }

    def sample(self, rng: np.random.Generator) -> AutoFormerArchitecture:
        """Width, depth, heads, ratios and patch are drawn uniformly and independently, so depths are equally likely."""
        start = AutoFormerArchitecture(pick(rng, self.embed_dims), (), (), self.patch_sizes[0])
        drawn = self._with_depth(start, pick(rng, self.depths), rng)
        return replace(drawn, patch_size=pick(rng, self.patch_sizes)) if self._patch_field else drawn

    def mutate(self, architecture: AutoFormerArchitecture, rng: np.random.Generator) -> AutoFormerArchitecture:
        """Change the width, the patch, the depth (cut at the end, or extended by sampled blocks), or one block's heads or
        ratio.

        The kind of change is uniform over the fields that have more than one choice.
        """
        fields = {
            "embed_dim": self.embed_dims,
            "depth": self.depths,
            "num_heads": self.heads,
            "mlp_ratio": self.mlp_ratios,
            "patch_size": self.patch_sizes,
        }
        field = pick(rng, [name for name, choices in fields.items() if len(choices) > 1])
        if field == "embed_dim":
            return replace(architecture, embed_dim=pick_other(rng, self.embed_dims, architecture.embed_dim))
        if field == "patch_size":
            return replace(architecture, patch_size=pick_other(rng, self.patch_sizes, architecture.patch_size))
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
        """Width, depth, patch and every block's heads and ratio come each from one parent; only the deeper parent has
        the last blocks."""
        depth = pick(rng, (a.depth, b.depth))
        owners = [[parent for parent in (a, b) if parent.depth > block] for block in range(depth)]
        return AutoFormerArchitecture(
            pick(rng, (a.embed_dim, b.embed_dim)),
            tuple(pick(rng, owners[block]).num_heads[block] for block in range(depth)),
            tuple(pick(rng, owners[block]).mlp_ratio[block] for block in range(depth)),
            pick(rng, (a, b)).patch_size if self._patch_field else a.patch_size,
        )

    def params(self, architecture: AutoFormerArchitecture, classes: int | None = None) -> int:
        dim, patch, classes = architecture.embed_dim, architecture.patch_size, self.outputs(classes)
        embedding = (3 * patch**2 + 1) * dim + self._tokens(architecture) * dim + dim  # convolution, position, CLS
        each = zip(architecture.num_heads, architecture.hidden, strict=True)
        blocks = sum(self._block_params(architecture, heads, hidden) for heads, hidden in each)
        return embedding + blocks + 2 * dim + dim * classes + classes

    def flops(self, architecture: AutoFormerArchitecture, classes: int | None = None) -> int:
        dim, patches = architecture.embed_dim, self._tokens(architecture) - 1
        each = zip(architecture.num_heads, architecture.hidden, strict=True)
        blocks = sum(self._block_macs(architecture, heads, hidden) for heads, hidden in each)
        return patches * 3 * architecture.patch_size**2 * dim + blocks + dim * self.outputs(classes)

    def depth(self, architecture: AutoFormerArchitecture) -> int:
        return architecture.depth

    def width(self, architecture: AutoFormerArchitecture) -> float:
        return float(architecture.embed_dim)

    def largest(self) -> AutoFormerArchitecture:
        return max(self.covering(), key=self.params)

    def covering(self) -> tuple[AutoFormerArchitecture, ...]:
        """Large patches have the larger convolution, small ones more positions."""
        return self._uniform(max)

    def smallest(self, count: Literal["params", "flops"] = "params") -> AutoFormerArchitecture:
        return min(self._uniform(min), key=self.params if count == "params" else self.flops)

    def choices(self) -> dict[str, str]:
        return {
            "embed_dim": comma(self.embed_dims),
            "depth": comma(self.depths),
            "num_heads": f"{comma(self.heads)} per block{self._beside(self.also_heads)}",
            "mlp_ratio": f"{comma(self.mlp_ratios)} per block{self._beside(self.also_ratios)}",
            **{field: f"{comma(self.patch_sizes)} px of {self.image_size}" for field in self._patch_field},
        }

    def size(self) -> int:
        per_block = len(self.heads) * len(self.mlp_ratios)
        variants: int = sum(per_block**depth for depth in self.depths)
        return len(self.embed_dims) * len(self.patch_sizes) * variants

    @property
    def _patch_field(self) -> tuple[str, ...]:
        return ("patch_size",) if len(self.patch_sizes) > 1 else ()

    def _beside(self, values: tuple[float, ...]) -> str:
        return f" ({comma(values)} is read too, but not drawn)" if values else ""

    def _tokens(self, architecture: AutoFormerArchitecture) -> int:
        """Patches and the CLS token."""
        return (self.image_size // architecture.patch_size) ** 2 + 1

    def _uniform(self, choose: Callable[[Iterable[float]], Any]) -> tuple[AutoFormerArchitecture, ...]:
        """The largest (or smallest) of every choice, with each patch size."""
        depth = choose(self.depths)
        heads, ratios = (choose(self.heads),) * depth, (choose(self.mlp_ratios),) * depth
        return tuple(
            AutoFormerArchitecture(choose(self.embed_dims), heads, ratios, patch) for patch in self.patch_sizes
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


@dataclass(frozen=True)
class AutoFormerSubSpace(AutoFormerFamily):
    """ViT-Bench-101's variant of AutoFormer: head dimension embed_dim / num_heads, no relative position.

    Heads therefore change neither parameters nor FLOPs. Source: Auto-Prox (AAAI 2024), its released builder;
    choices of AutoFormer-Ti (Chen et al., ICCV 2021, table 1).
    """

    def _block_params(self, architecture: AutoFormerArchitecture, heads: int, hidden: int) -> int:
        return block_params(architecture.embed_dim, hidden)

    def _block_macs(self, architecture: AutoFormerArchitecture, heads: int, hidden: int) -> int:
        return block_macs(architecture.embed_dim, hidden, self._tokens(architecture))

    def _assemble(self, architecture: AutoFormerArchitecture, classes: int) -> torch.nn.Module:
        from autoprox.spaces import networks

        return networks.AutoFormerSub(
            architecture.embed_dim,
            architecture.num_heads,
            architecture.hidden,
            classes,
            patch=architecture.patch_size,
            image_size=self.image_size,
        )


@dataclass(frozen=True)
class AutoFormerSpace(AutoFormerFamily):
    """AutoFormer as published (Chen et al., ICCV 2021, arXiv 2107.00651, table 1, and the released super network).

    Head dimension 64, so that queries, keys and values are 64 num_heads wide whatever embed_dim is; learned relative
    positions on keys and values; the head reads the mean of the patch tokens. FLOPs count products with the tables of
    relative positions; the released code estimates them, and comes within 1 % of the same sum.
    """

    classes: int = 1000

    def _block_params(self, architecture: AutoFormerArchitecture, heads: int, hidden: int) -> int:
        return block_params(architecture.embed_dim, hidden, HEAD_DIM * heads) + 2 * RELATIVE * HEAD_DIM

    def _block_macs(self, architecture: AutoFormerArchitecture, heads: int, hidden: int) -> int:
        tokens, width = self._tokens(architecture), HEAD_DIM * heads
        relative = RELATIVE * width * (tokens + tokens - 1)  # the queries of all tokens, the values of all patches
        return block_macs(architecture.embed_dim, hidden, tokens, width) + relative

    def _assemble(self, architecture: AutoFormerArchitecture, classes: int) -> torch.nn.Module:
        from autoprox.spaces import networks

        return networks.AutoFormer(
            architecture.embed_dim,
            architecture.num_heads,
            architecture.hidden,
            classes,
            deepest=max(self.depths),
            patch=architecture.patch_size,
            image_size=self.image_size,
        )
