"""Architecture search with a proxy, within budgets and without training."""

from autoprox.search.presets import PRESETS, Preset
from autoprox.search.search import Found, Progression, search
from autoprox.search.settings import ALGORITHMS, POSITIONS, SearchSettings

__all__ = ["ALGORITHMS", "POSITIONS", "PRESETS", "Found", "Preset", "Progression", "SearchSettings", "search"]
