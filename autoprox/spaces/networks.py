"""The torch modules of the spaces. Names follow timm, so that captures find `blocks`, `attn.qkv`, `mlp.fc1`, ...

A network holds parameters only, no buffers: spaces assemble it on the meta device and fill in the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from autoprox.spaces._space import IMAGE_SIZE

__all__ = ["Attention", "AutoFormerSub", "Block", "DropPath", "Mlp", "PatchEmbed", "PiT", "Pooling", "Stage"]

DROP_PATH = 0.1
EPS = 1e-6


class PatchEmbed(nn.Module):
    """Images (B, 3, 224, 224) -> maps (B, dim, side, side). ValueError for any other shape of image."""

    def __init__(self, dim: int, patch: int, stride: int) -> None:
        super().__init__()
        self.side = (IMAGE_SIZE - patch) // stride + 1
        self.proj = nn.Conv2d(3, dim, patch, stride)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"images must have shape (batch, 3, {IMAGE_SIZE}, {IMAGE_SIZE}), "
                f"but have {tuple(images.shape)}: resize them to {IMAGE_SIZE} px"
            )
        maps: Tensor = self.proj(images)
        return maps


class Attention(nn.Module):
    """Multi-head self-attention, (B, T, dim) -> (B, T, dim), head dimension dim / heads.

    The matrix products are explicit, not fused, so that `attn_drop` returns the softmax map (B, heads, T, T).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"the embedding width must be a multiple of the number of heads, found {dim} and {heads}")
        self.num_heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, dim = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        attention = self.attn_drop(((query * self.scale) @ key.transpose(-2, -1)).softmax(dim=-1))
        mixed: Tensor = self.proj((attention @ value).transpose(1, 2).reshape(batch, length, dim))
        return mixed


class Mlp(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(tokens)))
        return out


class DropPath(nn.Module):
    """Stochastic depth per image (Huang et al., 2016): identity in evaluation mode."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return branch
        keep = 1.0 - self.rate
        mask = branch.new_empty((branch.shape[0],) + (1,) * (branch.ndim - 1)).bernoulli_(keep)
        return branch * mask / keep


class Block(nn.Module):
    """Pre-norm transformer block, (B, T, dim) -> (B, T, dim)."""

    def __init__(self, dim: int, heads: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        tokens = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return tokens


class AutoFormerSub(nn.Module):
    """ViT-Bench-101's AutoFormer: learned positions, no relative ones; the head reads the mean of the patch tokens."""

    def __init__(self, dim: int, heads: Sequence[int], hidden: Sequence[int], classes: int, *, patch: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim, patch, patch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, self.patch_embed.side**2 + 1, dim))
        last = max(len(heads) - 1, 1)
        self.blocks = nn.ModuleList(
            Block(dim, h, m, DROP_PATH * i / last) for i, (h, m) in enumerate(zip(heads, hidden, strict=True))
        )
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(patches.shape[0], -1, -1), patches), dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(self.norm(tokens)[:, 1:].mean(dim=1))
        return logits


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
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dims[0], patch, stride)
        side = self.patch_embed.side
        self.pos_embed = nn.Parameter(torch.empty(1, dims[0], side, side))
        self.cls_token = nn.Parameter(torch.empty(1, 1, dims[0]))
        rates = iter(DROP_PATH * i / sum(depth) for i in range(sum(depth)))
        pools = [Pooling(narrow, wide) for narrow, wide in pairwise(dims)]
        self.stages = nn.ModuleList(
            Stage([Block(dim, h, dim * mlp_ratio, next(rates)) for _ in range(count)], pool)
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
