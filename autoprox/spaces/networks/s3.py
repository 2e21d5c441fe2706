"""S3, also called AutoFormerV2 (Chen et al., NeurIPS 2021, arXiv 2111.14725): four stages of shifted windows.

Written after the description and the behaviour of the released model; blocks are Swin's (Liu et al., ICCV 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autoprox.spaces._space import IMAGE_SIZE
from autoprox.spaces.networks.blocks import DROP_PATH, Attention, Block, PatchEmbed

__all__ = ["S3", "PatchMerging", "WindowAttention"]

EPS = 1e-5
HIDDEN = -100.0
"""Added to the score of two tokens that the shift brought into one window."""


class WindowAttention(Attention):
    """Attention within square windows of a map of tokens, (B, side², dim) -> (B, side², dim), with a learned bias for
    every offset of a key from its query and head dimension 32.

    With `shifted` the windows lie half a window further down and right, around the edges; tokens that were not neighbours
    do not see each other. A window as large as the map is the whole map and is not shifted. `qkv`, `attn_drop` and `proj`
    see windows: (B x windows, window², ...), window by window. ValueError for windows that do not tile the map.
    """

    HEAD_DIM = 32

    def __init__(self, dim: int, heads: int, *, side: int, window: int, shifted: bool) -> None:
        super().__init__(dim, heads, self.HEAD_DIM)
        self.window = min(window, side)
        if side % self.window:
            raise ValueError(f"windows must tile the map of {side} x {side} tokens, but have {window} a side")
        self.side = side
        self.shift = self.window // 2 if shifted and self.window < side else 0
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * self.window - 1) ** 2, heads))

    def forward(self, tokens: Tensor) -> Tensor:
        (batch, _, dim), side, window = tokens.shape, self.side, self.window
        maps = tokens.reshape(batch, side, side, dim).roll((-self.shift, -self.shift), dims=(1, 2))
        mixed = super().forward(self._windows(maps))
        mixed = mixed.reshape(batch, side // window, side // window, window, window, dim).transpose(2, 3)
        return mixed.reshape(batch, side, side, dim).roll((self.shift, self.shift), dims=(1, 2)).flatten(1, 2)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        scores = super().scores(query, key) + self._bias()
        if self.shift == 0:
            return scores
        apart = self._apart(scores.device).to(scores.dtype) * HIDDEN
        return (scores.reshape(-1, len(apart), *scores.shape[1:]) + apart[:, None]).flatten(0, 1)

    def _windows(self, maps: Tensor) -> Tensor:
        """(B, side, side, channels) -> (B x windows, window², channels)."""
        count, channels = self.side // self.window, maps.shape[-1]
        tiles = maps.reshape(-1, count, self.window, count, self.window, channels).transpose(2, 3)
        return tiles.reshape(-1, self.window**2, channels)

    def _bias(self) -> Tensor:
        """What is added to the scores for the offset of the key, (heads, window², window²)."""
        along = torch.arange(self.window, device=self.relative_position_bias_table.device)
        offset = along[:, None] - along[None, :] + self.window - 1  # (query, key) along one side
        places = offset[:, None, :, None] * (2 * self.window - 1) + offset[None, :, None, :]
        bias: Tensor = self.relative_position_bias_table[places.flatten(2).flatten(0, 1)].permute(2, 0, 1)
        return bias

    def _apart(self, device: torch.device) -> Tensor:
        """Which tokens of a shifted window come from different sides of the map, (windows, window², window²)."""
        along = torch.arange(self.side, device=device)
        part = (along >= self.side - self.window).long() + (along >= self.side - self.shift).long()
        parts = self._windows((3 * part[:, None] + part[None, :])[None, ..., None])[..., 0]
        return parts[:, :, None] != parts[:, None, :]


class PatchMerging(nn.Module):
    """Join each 2 x 2 tokens into one, (B, side², narrow) -> (B, side² / 4, wide)."""

    def __init__(self, narrow: int, wide: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(4 * narrow, eps=EPS)
        self.reduction = nn.Linear(4 * narrow, wide, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        half, (batch, _, dim) = self.side // 2, tokens.shape
        fours = tokens.reshape(batch, half, 2, half, 2, dim).permute(0, 1, 3, 4, 2, 5)  # columns before rows, as Swin's
        merged: Tensor = self.reduction(self.norm(fours.reshape(batch, half * half, 4 * dim)))
        return merged


class S3(nn.Module):
    """Four-stage windowed transformer; the head reads the mean of the last tokens.

    Args:
        dims: width of each stage.
        blocks: for each stage, for each block (heads, hidden width of the MLP, side of a window).
    """

    def __init__(
        self,
        dims: Sequence[int],
        blocks: Sequence[Sequence[tuple[int, int, int]]],
        classes: int,
        *,
        patch: int,
        image_size: int = IMAGE_SIZE,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dims[0], patch, patch, image_size)
        self.patch_norm = nn.LayerNorm(dims[0], eps=EPS)
        last = max(sum(map(len, blocks)) - 1, 1)
        rates = iter(DROP_PATH * i / last for i in range(last + 1))
        sides = [self.patch_embed.side >> stage for stage in range(len(dims))]
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(
                        dim,
                        WindowAttention(dim, heads, side=side, window=window, shifted=bool(i % 2)),
                        hidden,
                        next(rates),
                        eps=EPS,
                    )
                    for i, (heads, hidden, window) in enumerate(stage)
                )
            )
            for dim, side, stage in zip(dims, sides, blocks, strict=True)
        )
        self.merges = nn.ModuleList(
            PatchMerging(narrow, wide, side) for narrow, wide, side in zip(dims[:-1], dims[1:], sides[:-1], strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=EPS)
        self.head = nn.Linear(dims[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch_norm(self.patch_embed(images).flatten(2).transpose(1, 2))
        for stage, merge in zip(self.stages, (*self.merges, nn.Identity()), strict=True):
            tokens = merge(stage(tokens))
        logits: Tensor = self.head(self.norm(tokens).mean(dim=1))
        return logits
