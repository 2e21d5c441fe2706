"""The charts of a search: scores against size, and the best so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autoprox.report.figures import count
from autoprox.report.pages.axes import named, scaled
from autoprox.report.pages.drawing import FAINT, INK, MUTED, PROXY, SIZE, Chart, Hover, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["search_cloud", "search_convergence"]

_DASHED: dict[str, Any] = {"color": SIZE, "linewidth": 0.9, "linestyle": (0, (4, 2))}
_STAR: dict[str, Any] = {"s": 90, "marker": "*", "color": INK, "zorder": 4}


def search_cloud(
    records: Sequence[Mapping[str, Any]], titles: Sequence[str], winner: int | None, picks: Mapping[str, Any], bred: int,
    limits: Mapping[str, float | None],
) -> Chart:  # fmt: skip
    """Scores of a search against parameters and FLOPs.

    Args:
        records: with a ``score``, in the order they were scored in.
        titles: what is shown over each.
        winner: its place among the records.
        picks: of ``arch.json``: the random picks.
        bred: how many of the records, from the first on, were drawn at random.
        limits: the budgets on ``params`` and ``flops``.
    """
    first = [i for i in range(len(records)) if i < bred]
    later = [i for i in range(len(records)) if i >= bred]
    drawn = picks.get("picks") or []

    def plot(size: str, name: str) -> Plot:
        x, y = np.array([r[size] for r in records], float), np.array([r["score"] for r in records], float)

        def draw(ax: Axes) -> Hover:
            ax.scatter(x[first], y[first], s=10, color=FAINT, linewidths=0, gid="first", label="drawn at random")
            ax.scatter(x[later], y[later], s=10, color=PROXY, alpha=0.55, linewidths=0, gid="later", label="bred")
            sizes, chances = [pick[size] for pick in drawn], [pick["score"] for pick in drawn]
            if drawn:
                ax.scatter(sizes, chances, s=20, facecolors="none", edgecolors=SIZE, gid="picks", label="random picks")
            if picks.get("score_max") is not None:
                ax.axhline(picks["score_max"], label="best random pick", **_DASHED)
            if winner is not None:
                ax.scatter(x[winner], y[winner], gid="winner", label="the winner", **_STAR)
            best = [] if picks.get("score_max") is None else [picks["score_max"]]
            scaled(ax, "x", [*x, *sizes], size=True)
            scaled(ax, "y", [*y, *chances, *best], size=False, free=True)
            if limit := limits.get(size):
                ax.axvline(limit, color=MUTED, linewidth=0.8)
            named(ax, name, "score")
            hover = {"first": [titles[i] for i in first], "later": [titles[i] for i in later]}
            hover["picks"] = [
                f"random pick\nscore {s:.6g}, {count(p)} {name}" for s, p in zip(chances, sizes, strict=True)
            ]
            return {**hover, "winner": [] if winner is None else [f"the winner\n{titles[winner]}"]}

        return Plot(draw, f"Scores of {len(records)} architectures against {name}.", heading=f"score against {name}")

    return Chart(
        "score-size",
        "What was scored",
        "One point an architecture. "
        + ("Dashed: the best of the random picks. " if picks.get("score_max") is not None else "")
        + ("Vertical: the budget." if any(limits.values()) else ""),
        [plot("params", "parameters"), plot("flops", "FLOPs")],
        {
            **({} if winner is None else {"winner": "the winner"}),
            **({"bred": "bred from others"} if later else {}),
            "discovery": "drawn at random",
            **({"picks": "random picks beside the winner"} if drawn else {}),
        },
    )


def search_convergence(scores: Sequence[float | None], picks: Mapping[str, Any]) -> Chart:
    """The best score so far against architectures scored."""
    values = np.array([np.nan if score is None else score for score in scores])
    best = np.fmax.accumulate(values)

    def draw(ax: Axes) -> Hover:
        at = np.arange(1, len(values) + 1)
        ax.scatter(at, values, s=5, color=FAINT, linewidths=0, label="an architecture")
        ax.step(at, best, where="post", color=PROXY, linewidth=1.6, label="the best so far")
        if picks.get("score_max") is not None:
            ax.axhline(picks["score_max"], label="best random pick", **_DASHED)
        ax.set_xlim(0, len(values) + 1)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        scaled(ax, "y", values[np.isfinite(values)], size=False, free=True)
        named(ax, "architectures scored", "score")
        return {}

    return Chart(
        "convergence",
        "Convergence",
        "Scores in the order they were taken, and the best so far.",
        [Plot(draw, f"The best of {len(values)} scores is {best[-1]:.6g}.")],
        {
            "best": "best so far",
            "discovery": "one architecture",
            **({} if picks.get("score_max") is None else {"params-line": "best random pick"}),
        },
    )
