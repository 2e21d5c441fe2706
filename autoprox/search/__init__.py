"""Architecture search with a proxy, within budgets and without training."""

from autoprox.search.search import Found, SearchSettings, search

__all__ = ["Found", "SearchSettings", "search"]
