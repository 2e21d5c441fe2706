"""What a proxy says: which of its parts and which blocks matter, and which known proxies it is like."""

from __future__ import annotations

from autoprox.explaining.explanation import LEAST_BLOCKS, Explanation, explain

__all__ = ["LEAST_BLOCKS", "Explanation", "explain"]
