"""PiT (Heo et al., ICCV 2021, arXiv 2103.16302): stages of blocks with a pooling of the tokens between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from autoprox.spaces._space import IMAGE_SIZE
from autoprox.spaces.networks.blocks import DROP_PATH, EPS, Attention, Block, PatchEmbed

__all__ = ["PiT", "Pooling", "Stage"]


class Pooling(nn.Module):
    """Halve the map of tokens with a grouped convolution and widen the CLS token with a Linear layer."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(narrow, wide, kernel_size=3, stride=2, padding=1, groups=narrow)
        self.fc = nn.Linear(narrow, wide)

    def forward(self, maps: Tensor, cls: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(maps), self.fc(cls)


class Stage(nn.Module):
    """Blocks over the flattened map and the CLS token, then the pooling to the next stage's width (None: no pooling).

    Maps (B, dim, side, side) and cls (B, 1, dim) in, the same kinds out.
    """

    def __init__(self, blocks: Sequence[Block], pool: Pooling | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.pool = pool

    def forward(self, maps: Tensor, cls: Tensor) -> tuple[Tensor, Tensor]:
        tokens = torch.cat((cls, maps.flatten(2).transpose(1, 2)), dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        cls, maps = tokens[:, :1], tokens[:, 1:].transpose(1, 2).reshape(maps.shape)
        return (maps, cls) if self.pool is None else self.pool(maps, cls)


class PiT(nn.Module):
    """Pooling-based vision transformer (Heo et al., ICCV 2021); the head reads the normalised CLS token."""

    def __init__(
        self,
        dims: Sequence[int],
        heads: Sequence[int],
        depth: Sequence[int],
        mlp_ratio: int,
        classes: int,
        *,
        patch: int,
        stride: int,
        image_size: int = IMAGE_SIZE,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dims[0], patch, stride, image_size)
        side = self.patch_embed.side
        self.pos_embed = nn.Parameter(torch.empty(1, dims[0], side, side))
        self.cls_token = nn.Parameter(torch.empty(1, 1, dims[0]))
        rates = iter(DROP_PATH * i / sum(depth) for i in range(sum(depth)))
        pools = [Pooling(narrow, wide) for narrow, wide in pairwise(dims)]
        self.stages = nn.ModuleList(
            Stage([Block(dim, Attention(dim, h), dim * mlp_ratio, next(rates)) for _ in range(count)], pool)
            for dim, h, count, pool in zip(dims, heads, depth, [*pools, None], strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=EPS)
        self.head = nn.Linear(dims[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patch_embed(images) + self.pos_embed
        cls = self.cls_token.expand(maps.shape[0], -1, -1)
        for stage in self.stages:
            maps, cls = stage(maps, cls)
        logits: Tensor = self.head(self.norm(cls)[:, 0])
        return logits
