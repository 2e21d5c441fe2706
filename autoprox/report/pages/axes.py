"""Axes of the charts: their names, where they are logarithmic, and numbers on them that are short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from autoprox.report.pages.drawing import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Values", "correlations", "named", "scaled"]

Values: TypeAlias = Sequence[float] | np.ndarray[Any, Any]

_SKEWED = 1.7  # decades between positive scores, from which on a logarithmic axis shows more
_TICKS = 5


def named(ax: Axes, x: str, y: str) -> None:
    """Names of the axes; that of the vertical one stands above it, where it can be read."""
    ax.set_xlabel(x)
    ax.set_title(y, loc="left", color=MUTED, fontsize=8)


def scaled(ax: Axes, axis: str, values: Values, *, size: bool, free: bool = False) -> None:
    """A logarithmic axis for sizes, and for scores of very different size; few ticks, short numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    values = np.asarray(values, float)
    along = ax.xaxis if axis == "x" else ax.yaxis
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    decades = np.log10(high) - np.log10(low) if 0 < low < high else 0.0
    if decades > (0 if size else _SKEWED if axis == "x" or free else np.inf):
        low, high = 10 ** (np.log10(low) - 0.05 * decades), 10 ** (np.log10(high) + 0.05 * decades)
        (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
        (ax.set_xlim if axis == "x" else ax.set_ylim)(low, high)
        along.set_major_locator(FixedLocator(_decades(low, high)))
    else:
        along.set_major_locator(MaxNLocator(_TICKS, steps=[1, 2, 5, 10]))
    along.set_minor_locator(NullLocator())
    along.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def correlations(ax: Axes) -> None:
    """A vertical axis with correlations on it, written as everywhere."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(_TICKS + 1, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}".replace("0.", ".", 1).replace("-", "−")))


def _decades(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones, at most as many as an axis has room for."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) <= _TICKS:
            return found
    return found[:: -(-len(found) // _TICKS)]


def _short(value: float) -> str:
    """``20 k``, ``1.5 M``, ``3e12``."""
    size = abs(value)
    if 1e3 <= size < 1e12:
        unit, name = next((u, n) for u, n in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if size >= u)
        return f"{value / unit:.3g} {name}"
    return f"{value:.3g}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-").replace("-", "−")
