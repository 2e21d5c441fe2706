"""Architecture search with a proxy, within budgets and without training."""

from autoprox.search.search import ALGORITHMS, Found, SearchSettings, search

__all__ = ["ALGORITHMS", "Found", "SearchSettings", "search"]
