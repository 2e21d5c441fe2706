"""What a proxy says: which of its parts and which blocks matter, and which known proxies it is like."""

from __future__ import annotations

from autoprox.explaining.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
