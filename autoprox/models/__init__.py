"""Models of other libraries, and any `torch.nn.Module`: adapters that find blocks and sites, sizes and scores."""

from __future__ import annotations

from autoprox.models.adapter import Adapter, Place, adapter_of, adapters, forget, register
from autoprox.models.scoring import score, score_together
from autoprox.models.sizes import Size, size

__all__ = [
    "Adapter",
    "Place",
    "Size",
    "adapter_of",
    "adapters",
    "forget",
    "register",
    "score",
    "score_together",
    "size",
]
