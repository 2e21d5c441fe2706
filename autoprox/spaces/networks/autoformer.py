"""AutoFormer (Chen et al., ICCV 2021, arXiv 2107.00651) as published, and ViT-Bench-101's plainer variant of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autoprox.spaces._space import IMAGE_SIZE
from autoprox.spaces.networks.blocks import DROP_PATH, EPS, Attention, Block, PatchEmbed

__all__ = ["AutoFormer", "AutoFormerSub", "InterleavedLinear", "RelativeAttention", "RelativePosition"]

TORCH_EPS = 1e-5
"""LayerNorm's epsilon in AutoFormer's super network: PyTorch's default."""


class _VisionTransformer(nn.Module):
    """A CLS token, learned positions, blocks, and a head that reads the mean of the patch tokens."""

    def __init__(
        self, dim: int, blocks: Sequence[Block], classes: int, *, patch: int, image_size: int, eps: float
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim, patch, patch, image_size)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, self.patch_embed.side**2 + 1, dim))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(patches.shape[0], -1, -1), patches), dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(self.norm(tokens)[:, 1:].mean(dim=1))
        return logits


class AutoFormerSub(_VisionTransformer):
    """ViT-Bench-101's AutoFormer: learned positions, no relative ones, head dimension dim / heads."""

    def __init__(
        self,
        dim: int,
        heads: Sequence[int],
        hidden: Sequence[int],
        classes: int,
        *,
        patch: int,
        image_size: int = IMAGE_SIZE,
    ) -> None:
        last = max(len(heads) - 1, 1)
        blocks = [
            Block(dim, Attention(dim, h), m, DROP_PATH * i / last)
            for i, (h, m) in enumerate(zip(heads, hidden, strict=True))
        ]
        super().__init__(dim, blocks, classes, patch=patch, image_size=image_size, eps=EPS)


class AutoFormer(_VisionTransformer):
    """AutoFormer as published, with the switches of its own recipes: `--gp --change_qkv --relative_position`.

    A network is a part of the super network, so its stochastic depth rises as in the deepest one.
    """

    def __init__(
        self,
        dim: int,
        heads: Sequence[int],
        hidden: Sequence[int],
        classes: int,
        *,
        deepest: int,
        patch: int,
        image_size: int = IMAGE_SIZE,
    ) -> None:
        side = image_size // patch
        blocks = [
            Block(dim, RelativeAttention(dim, h, side), m, DROP_PATH * i / max(deepest - 1, 1), eps=TORCH_EPS)
            for i, (h, m) in enumerate(zip(heads, hidden, strict=True))
        ]
        super().__init__(dim, blocks, classes, patch=patch, image_size=image_size, eps=TORCH_EPS)


class InterleavedLinear(nn.Linear):
    """Query, key and value in one layer: rows 3j, 3j + 1 and 3j + 2 of the weight are row j of each of the three.

    So the leading rows of a wide layer hold leading rows of all three, which is how AutoFormer's super network cuts out
    its parts (`qkv_super`). The output is in order, all queries first, and so is the bias: leading entries of a wide
    bias belong to other outputs than they did, a slip of the released code (microsoft/Cream, issue 121) that is kept.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        weight = self.weight.reshape(-1, 3, self.in_features).transpose(0, 1).flatten(0, 1)
        return nn.functional.linear(tokens, weight, self.bias)


class RelativePosition(nn.Module):
    """Embeddings of where a key lies relative to a query: AutoFormer's RelativePosition2D_super, after Shaw et al. (2018).

    One table for vertical and one for horizontal distances, shared by the heads; an embedding is the sum of a row of
    each. Row 0 is for pairs with the CLS token; distances beyond `FARTHEST` patches count as that far. The released code
    forms the embedding of every pair of tokens. Here products are taken with the tables instead, distance by distance:
    the same numbers for less than a third of the multiply-accumulates.

    Args:
        dim: width of one head.
        side: patches along a side of the image.
    """

    FARTHEST = 14
    ROWS = 2 * FARTHEST + 2

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.embeddings_table_v = nn.Parameter(torch.empty(self.ROWS, dim))
        self.embeddings_table_h = nn.Parameter(torch.empty(self.ROWS, dim))

    def scores(self, query: Tensor) -> Tensor:
        """Products of the queries (B, heads, T, dim) with the embedding of each of their keys, (B, heads, T, T)."""
        down, across = query @ self.embeddings_table_v.T, query @ self.embeddings_table_h.T
        cls = down[..., :1] + across[..., :1]
        grid, places = (
            (*query.shape[:2], self.side, self.side),
            self._places(query.device),
        )  # rows and columns of queries
        down = down[:, :, 1:].reshape(*grid, -1).gather(-1, places[:, None].expand(*grid, -1))  # to rows of keys
        across = across[:, :, 1:].reshape(*grid, -1).gather(-1, places.expand(*grid, -1))  # to columns of keys
        patches = (down[..., :, None] + across[..., None, :]).flatten(4).flatten(2, 3)  # (B, heads, T - 1, T - 1)
        patches = torch.cat((cls[:, :, 1:], patches), dim=-1)
        return torch.cat((cls[:, :, :1].expand(-1, -1, -1, patches.shape[-1]), patches), dim=2)

    def mix(self, attention: Tensor) -> Tensor:
        """The embeddings of the keys that each query attends to, (B, heads, T, T) -> (B, heads, T, dim)."""
        places = self._places(attention.device)
        patches = attention[:, :, 1:, 1:].reshape(*attention.shape[:2], *(self.side,) * 4)
        down, across = patches.sum(-1), patches.sum(-2)  # over the columns, over the rows of the keys
        none = down.new_zeros((*down.shape[:-1], self.ROWS))
        down = none.scatter_add(-1, places[:, None].expand_as(down), down) @ self.embeddings_table_v
        across = none.scatter_add(-1, places.expand_as(across), across) @ self.embeddings_table_h
        cls = torch.cat((attention[:, :, :1].sum(-1, keepdim=True), attention[:, :, 1:, :1]), dim=2)
        apart = cls * (self.embeddings_table_v[0] + self.embeddings_table_h[0])
        return apart + nn.functional.pad((down + across).flatten(2, 3), (0, 0, 1, 0))

    def _places(self, device: torch.device) -> Tensor:
        """Rows of a table, (query, key) for positions along one side."""
        along = torch.arange(self.side, device=device)
        return (along[None, :] - along[:, None]).clamp(-self.FARTHEST, self.FARTHEST) + self.FARTHEST + 1


class RelativeAttention(Attention):
    """Attention with relative positions on keys and values, over the CLS token and a square of patches."""

    HEAD_DIM = 64

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__(dim, heads, self.HEAD_DIM)
        self.qkv = InterleavedLinear(dim, 3 * heads * self.HEAD_DIM)
        self.rel_pos_embed_k = RelativePosition(self.HEAD_DIM, side)
        self.rel_pos_embed_v = RelativePosition(self.HEAD_DIM, side)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return super().scores(query, key) + self.rel_pos_embed_k.scores(query)

    def mix(self, attention: Tensor, value: Tensor) -> Tensor:
        return super().mix(attention, value) + self.rel_pos_embed_v.mix(attention)
