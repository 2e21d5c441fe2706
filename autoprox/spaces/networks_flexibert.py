"""The torch modules of FlexiBERT: BERT encoders whose layers mix tokens by attention, a transform, or a convolution.

Names follow timm like those of `networks`, so that captures find `attn.qkv`, `mlp.fc1`, ... in every block: `qkv` is the
Linear layer that reads the tokens, whatever the operation, and `proj` the one that writes them. Only operations with a
softmax over tokens have `attn.attn_drop`, where an attention map is taken. Networks hold parameters only, no buffers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoprox.spaces.flexibert import EMBEDDING, POSITIONS, TYPES

__all__ = ["EncoderBlock", "FeedForward", "FlexiBert", "Operation", "dct2", "dft2", "operation"]

DROPOUT = 0.1
EPS = 1e-12


def dft2(maps: Tensor) -> Tensor:
    """Real part of the discrete Fourier transform over the last two dimensions, not normalised (FNet, 2105.03824)."""
    spectrum: Tensor = torch.fft.fft2(maps)
    return spectrum.real


def dct2(maps: Tensor) -> Tensor:
    """Discrete cosine transform of type II over the last two dimensions, not normalised."""
    return _dct(_dct(maps).transpose(-1, -2)).transpose(-1, -2)


def _dct(signal: Tensor) -> Tensor:
    """By one Fourier transform of the even entries and the reversed odd ones (Makhoul, 1980)."""
    length = signal.shape[-1]
    spectrum: Tensor = torch.fft.fft(torch.cat((signal[..., ::2], signal[..., 1::2].flip(-1)), dim=-1))
    phase = torch.arange(length, device=signal.device, dtype=signal.dtype) * (math.pi / (2 * length))
    return (spectrum.real * phase.cos() + spectrum.imag * phase.sin()) * 2.0


TRANSFORMS = {"DFT": dft2, "DCT": dct2}


class SelfAttention(nn.Module):
    """Multi-head self-attention, (B, T, dim) -> (B, T, dim); weighted: queries pass one more matrix first.

    Weighted multiplicative attention is softmax(Q W K^T / sqrt(d)) V with W over all heads, as the benchmark has it.
    """

    def __init__(self, dim: int, heads: int, weighted: bool) -> None:
        super().__init__()
        self.num_heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.weighting = nn.Linear(dim, dim, bias=False) if weighted else None
        self.attn_drop = nn.Dropout(DROPOUT)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        if self.weighting is not None:
            query = self.weighting(query)
        mixed: Tensor = self.proj(attend(query, key, value, self.num_heads, self.scale, self.attn_drop))
        return mixed


class LinearTransform(nn.Module):
    """A fixed transform over tokens and channels of each head, (B, T, dim) -> (B, T, dim), between two Linear layers."""

    def __init__(self, dim: int, heads: int, transform: str) -> None:
        super().__init__()
        self.num_heads = heads
        self.transform = transform
        self.qkv = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        maps = split_heads(self.qkv(tokens), self.num_heads)
        # no half precision: on a CPU there is no such transform
        exact = maps.float() if maps.dtype in (torch.bfloat16, torch.float16) else maps
        mixed: Tensor = self.proj(join_heads(TRANSFORMS[self.transform](exact).to(maps.dtype)))
        return mixed


class SpanConvolution(nn.Module):
    """Mixed attention of ConvBERT (Jiang et al., 2020, arXiv 2008.02496), (B, T, dim) -> (B, T, dim).

    Half of the channels attend; for the other half each token and head makes a kernel of its own out of its query and
    the span around it (a depthwise separable convolution), and convolves with that. The benchmark halves the heads.
    """

    def __init__(self, dim: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.num_heads, self.kernel_size, half = heads // 2, kernel, dim // 2
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * half)
        self.depthwise = nn.Conv2d(dim, dim, (kernel, 1), padding=(kernel // 2, 0), groups=dim, bias=False)
        self.pointwise = nn.Linear(dim, half)
        self.kernels = nn.Linear(half, self.num_heads * kernel)
        self.values = nn.Linear(dim, half)
        self.attn_drop = nn.Dropout(DROPOUT)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        attended = attend(query, key, value, self.num_heads, self.scale, self.attn_drop)
        span = self.pointwise(self.depthwise(tokens.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2))
        kernels = self.kernels(span * query).reshape(*tokens.shape[:2], self.num_heads, self.kernel_size, 1)
        margin = self.kernel_size // 2
        windows = functional.pad(self.values(tokens), (0, 0, margin, margin)).unfold(1, self.kernel_size, 1)
        windows = windows.reshape(*tokens.shape[:2], self.num_heads, -1, self.kernel_size)
        convolved = (windows @ kernels.softmax(dim=-2)).flatten(2)
        mixed: Tensor = self.proj(torch.cat((attended, convolved), dim=-1))
        return mixed


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, T, dim) -> (B, heads, T, dim / heads)."""
    return tokens.reshape(*tokens.shape[:2], heads, -1).transpose(1, 2)


def join_heads(maps: Tensor) -> Tensor:
    """(B, heads, T, dim / heads) -> (B, T, dim)."""
    return maps.transpose(1, 2).flatten(2)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, scale: float, drop: nn.Dropout) -> Tensor:
    """Softmax attention of (B, T, dim) tensors, explicit, so that `drop` returns the map (B, heads, T, T)."""
    query, key, value = (split_heads(part, heads) for part in (query, key, value))
    attention: Tensor = drop(((query * scale) @ key.transpose(-2, -1)).softmax(dim=-1))
    return join_heads(attention @ value)


class FeedForward(nn.Module):
    """Linear, exact GELU, then as many times as stacked again Linear and GELU of the hidden width, and Linear."""

    def __init__(self, dim: int, hidden: int, stacked: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        more = [layer for _ in range(stacked - 1) for layer in (nn.Linear(hidden, hidden), nn.GELU())]
        self.stack = nn.Sequential(*more)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.stack(self.act(self.fc1(tokens))))
        return out


Operation = SelfAttention | LinearTransform | SpanConvolution


def operation(dim: int, heads: int, kind: str, parameter: str | int) -> Operation:
    """The module of an operation type (SA, LT or DSC) and its parameter."""
    if kind == "SA":
        return SelfAttention(dim, heads, weighted=parameter == "WMA")
    return LinearTransform(dim, heads, str(parameter)) if kind == "LT" else SpanConvolution(dim, heads, int(parameter))


class EncoderBlock(nn.Module):
    """Post-norm encoder layer as in BERT, (B, T, dim) -> (B, T, dim)."""

    def __init__(self, dim: int, attn: Operation, mlp: FeedForward) -> None:
        super().__init__()
        self.attn = attn
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = mlp
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm1(tokens + self.drop(self.attn(tokens)))
        out: Tensor = self.norm2(tokens + self.drop(self.mlp(tokens)))
        return out


class Embeddings(nn.Module):
    """Token ids (B, T) -> (B, T, EMBEDDING): token, position and type (0 everywhere) embeddings, normalised."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.word = nn.Parameter(torch.empty(vocabulary, EMBEDDING))
        self.position = nn.Parameter(torch.empty(POSITIONS, EMBEDDING))
        self.segment = nn.Parameter(torch.empty(TYPES, EMBEDDING))
        self.norm = nn.LayerNorm(EMBEDDING, eps=EPS)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, tokens: Tensor) -> Tensor:
        summed = functional.embedding(tokens, self.word) + self.position[: tokens.shape[1]] + self.segment[0]
        out: Tensor = self.drop(self.norm(summed))
        return out


class FlexiBert(nn.Module):
    """Token ids (batch, length) of an integer type -> logits (batch, classes), read off the first token.

    Floating-point input (batch, length, dim) goes straight into the first block, as `embedded` makes it of token ids: so
    that a loss can be differentiated with respect to the input, and that ones can be an input (SynFlow), which the norm
    of the embeddings would turn into zeros. ValueError for any other shape.
    """

    def __init__(self, dim: int, blocks: Sequence[EncoderBlock], classes: int, *, vocabulary: int) -> None:
        super().__init__()
        self.dim = dim
        self.embeddings = Embeddings(vocabulary)
        self.project = nn.Linear(EMBEDDING, dim) if dim != EMBEDDING else nn.Identity()
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(dim, classes)

    def embedded(self, tokens: Tensor) -> Tensor:
        """Token ids (batch, length) -> the input of the first block, (batch, length, dim)."""
        if tokens.is_floating_point() or tokens.ndim != 2 or not 1 <= tokens.shape[1] <= POSITIONS:
            raise self._shape_error(tokens)
        hidden: Tensor = self.project(self.embeddings(tokens))
        return hidden

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = tokens if tokens.is_floating_point() else self.embedded(tokens)
        if hidden.ndim != 3 or hidden.shape[2] != self.dim:
            raise self._shape_error(tokens)
        if torch.is_grad_enabled() and not hidden.requires_grad:
            hidden = (
                hidden.detach().requires_grad_()
            )  # so that the first block's input has a gradient, as behind any layer
        for block in self.blocks:
            hidden = block(hidden)
        logits: Tensor = self.head(hidden[:, 0])
        return logits

    def _shape_error(self, tokens: Tensor) -> ValueError:
        return ValueError(
            f"token ids must be whole numbers of shape (batch, 1 to {POSITIONS}), or numbers of shape (batch, length, "
            f"{self.dim}) for the first block, but are {tokens.dtype} of shape {tuple(tokens.shape)}"
        )
