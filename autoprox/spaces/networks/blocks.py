"""What the families' networks are made of: patches, attention, MLP, the pre-norm block."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["DROP_PATH", "EPS", "Attention", "Block", "DropPath", "Mlp", "PatchEmbed"]

DROP_PATH = 0.1
EPS = 1e-6


class PatchEmbed(nn.Module):
    """Images (B, 3, size, size) -> maps (B, dim, side, side). ValueError for any other shape of image."""

    def __init__(self, dim: int, patch: int, stride: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.side = (size - patch) // stride + 1
        self.proj = nn.Conv2d(3, dim, patch, stride)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, self.size, self.size):
            raise ValueError(
                f"images must have shape (batch, 3, {self.size}, {self.size}), "
                f"but have {tuple(images.shape)}: resize them to {self.size} px"
            )
        maps: Tensor = self.proj(images)
        return maps


class Attention(nn.Module):
    """Multi-head self-attention, (B, T, dim) -> (B, T, dim), head dimension dim / heads unless one is given.

    The matrix products are explicit, not fused, so that `attn_drop` returns the softmax map (B, heads, T, T). Families
    add their relative positions to `scores` and `mix`.
    """

    def __init__(self, dim: int, heads: int, head_dim: int | None = None) -> None:
        super().__init__()
        if head_dim is None and dim % heads:
            raise ValueError(f"the embedding width must be a multiple of the number of heads, found {dim} and {heads}")
        head_dim = head_dim or dim // heads
        self.num_heads = heads
        self.scale = head_dim**-0.5
        self.qkv = nn.Linear(dim, 3 * heads * head_dim)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(heads * head_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, _ = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        attention = self.attn_drop(self.scores(query * self.scale, key).softmax(dim=-1))
        mixed: Tensor = self.proj(self.mix(attention, value).transpose(1, 2).reshape(batch, length, -1))
        return mixed

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """What the softmax is taken of, (B, heads, T, T), from scaled queries and keys (B, heads, T, head_dim)."""
        return query @ key.transpose(-2, -1)

    def mix(self, attention: Tensor, value: Tensor) -> Tensor:
        """The values that each query attends to, (B, heads, T, head_dim)."""
        return attention @ value


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
    """Pre-norm transformer block around a family's attention, (B, T, dim) -> (B, T, dim)."""

    def __init__(self, dim: int, attention: Attention, hidden: int, drop_path: float, eps: float = EPS) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        tokens = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return tokens
