"""Score a vision transformer of your own: an adapter tells where its blocks are and what is where in a block."""

import torch
from torch import Tensor, nn

from autoprox.models import Adapter, register, score, score_together, size


class Attention(nn.Module):
    """With layers of its own for queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.softmax = heads, nn.Softmax(-1)
        self.to_q, self.to_k, self.to_v, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        parts = (layer(tokens).unflatten(-1, (self.heads, -1)) for layer in (self.to_q, self.to_k, self.to_v))
        q, k, v = (part.transpose(1, 2) for part in parts)
        return self.out((self.softmax(q @ k.mT / q.shape[-1] ** 0.5) @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A block that normalises first."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.before, self.between, self.attention = nn.LayerNorm(dim), nn.LayerNorm(dim), Attention(dim, heads)
        self.feed = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.before(tokens))
        return tokens + self.feed(self.between(tokens))


class MyViT(nn.Module):
    """A vision transformer without a class token."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, dim, 8, 8), nn.Linear(dim, 10)
        self.layers = nn.Sequential(*(Layer(dim, 4) for _ in range(depth)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(self.patches(images).flatten(2).mT).mean(1))


attention = {"attn": "attention", "proj": "attention.out", "map": "attention.softmax"}
attention["qkv"] = ("attention.to_q", "attention.to_k", "attention.to_v")
rest = {"mlp": "feed", "fc1": "feed.0", "gelu": "feed.1", "fc2": "feed.2", "norm1": "before", "norm2": "between"}
register(Adapter("my ViT", lambda m: list(m.layers) if isinstance(m, MyViT) else [], attention | rest))

batch = torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
models = {"shallow": MyViT(32, 2), "deep": MyViT(32, 6), "wide": MyViT(64, 2)}
ranks = score_together(models, "dss++", batch)
for name, model in models.items():
    print(
        f"{name:8} params={size(model, batch).params:6} snip={score(model, 'snip', batch):8.3f} dss++={ranks[name]:.3f}"
    )
