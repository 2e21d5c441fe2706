"""The charts of a discovery: what each draws, says in words, and shows over its points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autoprox.ranking.agreement import Agreement
from autoprox.ranking.problem import PARTS
from autoprox.report.figures import correlation, count, interval, signed
from autoprox.report.pages.axes import Values, correlations, named, scaled
from autoprox.report.pages.drawing import BAND, FAINT, INK, MUTED, PROXY, SIZE, Chart, Hover, Plot
from autoprox.report.pages.scored import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["convergence", "front", "score_accuracy", "score_size", "shrinkage"]

_SMALL = (3.1, 2.35)
_PART_STYLE: dict[str, dict[str, Any]] = {
    "discovery": {"s": 9, "color": FAINT, "linewidths": 0},
    "selection": {"s": 11, "facecolors": "#ffffff", "edgecolors": MUTED, "linewidths": 0.8},
    "test": {"s": 15, "color": PROXY, "linewidths": 0},
}
PART_LEGEND = {
    "test": "test, which decided nothing",
    "selection": "selection",
    "discovery": "discovery",
}


def score_accuracy(panels: Sequence[Panel], metrics: Mapping[str, Any]) -> Chart:
    """The proxy's score against accuracy; figures are those of the test architectures, as the proxy file has them."""
    plots = []
    for panel in panels:
        figures: Mapping[str, Any] = metrics.get(panel.space, {}).get(panel.dataset, {})
        n = int((np.isfinite(panel.accuracies) & (np.array(panel.parts) == "test")).sum())
        told = f"τ {correlation(figures.get('kendall'))} {interval(figures.get('kendall_ci'))}, n = {n}"
        told = f"no usable scores, n = {n}" if "invalid" in figures else told
        plots.append(
            Plot(
                draw=_scatter(panel, panel.scores, panel.accuracies, "score", "accuracy, %"),
                heading=f"{panel.space}, {panel.dataset}",
                figures=told,
                description=f"Score against accuracy in percent of {len(panel.parts)} architectures. On the test part: {told}.",
                size=_SMALL,
            )
        )
    return Chart(
        "score-accuracy",
        "Score against accuracy",
        "One point an architecture. τ: Kendall's tau-b on the test architectures with its 95 % bootstrap interval.",
        plots,
        PART_LEGEND,
    )


def score_size(panels: Sequence[Panel], metrics: Mapping[str, Any]) -> Chart:
    """The proxy's score against the parameter count, once a space."""
    plots = []
    for panel in {panel.space: panel for panel in reversed(panels)}.values():
        figures: Mapping[str, Any] = next(
            (f for f in metrics.get(panel.space, {}).values() if f.get("kendall_params") is not None), {}
        )
        n = panel.parts.count("test")
        told = f"size τ {correlation(figures.get('kendall_params'))}, n = {n}"
        plots.append(
            Plot(
                draw=_scatter(panel, panel.params, panel.scores, "parameters", "score", by_size=True),
                heading=panel.space,
                figures=told,
                description=f"Score against parameters of {len(panel.parts)} architectures. On the test part: {told}.",
                size=_SMALL,
            )
        )
    return Chart(
        "score-params",
        "Score against size",
        "The closer the points follow one rising line, the more the proxy only counts parameters. Size τ: Kendall's "
        "tau-b of the score with the parameter count on the test architectures, n of them.",
        plots[::-1],
        PART_LEGEND,
    )


def _scatter(
    panel: Panel, x: Values, y: Values, x_name: str, y_name: str, by_size: bool = False
) -> Callable[[Axes], Hover]:
    """Points by part of the split; what has no score or no accuracy is left out."""
    x, y, parts = np.asarray(x), np.asarray(y), np.array(panel.parts)

    def draw(ax: Axes) -> Hover:
        hover = {}
        shown = np.isfinite(x) & np.isfinite(y)
        for part in PARTS:
            rows = np.flatnonzero(shown & (parts == part))
            ax.scatter(x[rows], y[rows], gid=f"points-{part}", label=part, **_PART_STYLE[part])
            hover[f"points-{part}"] = [_point(panel, int(i)) for i in rows]
        scaled(ax, "x", x[shown], size=by_size)
        scaled(ax, "y", y[shown], size=False, free=by_size)
        named(ax, x_name, y_name)
        return hover

    return draw


def _point(panel: Panel, i: int) -> str:
    return (
        f"{panel.architectures[i]}\nscore {panel.scores[i]:.6g}, accuracy on {panel.dataset} {panel.accuracies[i]:.2f} %, "
        f"{count(panel.params[i])} parameters, {panel.parts[i]}"
    )


def convergence(values: Sequence[float | None], params: float | None, n: int | None) -> Chart:
    """Fitness of the candidates in the order they were judged in, and the best so far."""
    fitness = np.array([np.nan if value is None else value for value in values])
    best = np.fmax.accumulate(fitness)
    width = max(10, len(fitness) // 40)

    def draw(ax: Axes) -> Hover:
        windows = [fitness[i : i + width] for i in range(0, len(fitness), width)]
        middles = [min((i + 0.5) * width, len(fitness)) for i in range(len(windows))]
        usable = [(m, w[np.isfinite(w)]) for m, w in zip(middles, windows, strict=True) if np.isfinite(w).any()]
        bounds = np.array([np.percentile(w, [25, 50, 75]) for _, w in usable]).reshape(-1, 3)
        at = [m for m, _ in usable]
        ax.fill_between(
            at, bounds[:, 0], bounds[:, 2], color=BAND, linewidth=0, label="the middle half of the candidates"
        )
        ax.plot(at, bounds[:, 1], color=FAINT, linewidth=1, label="their median")
        steps = np.flatnonzero(np.diff(best, prepend=np.nan) != 0)
        steps = np.append(steps[np.isfinite(best[steps])], len(best) - 1)
        ax.step(steps + 1, best[steps], where="post", color=PROXY, linewidth=1.6, label="the best so far")
        if params is not None:
            ax.axhline(params, color=SIZE, linewidth=1, linestyle=(0, (4, 2)), label="the parameter count")
        ax.set_xlim(0, len(fitness))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        correlations(ax)
        named(ax, "candidates judged", "fitness")
        return {}

    final = best[-1] if len(best) else None
    on = f"{n} discovery architectures" if n else "the discovery architectures"
    told = f"{len(fitness):,} candidates; the best has {correlation(final)} on {on}"
    return Chart(
        "convergence",
        "Convergence",
        "Joint fitness of the candidates as evolution saw them: estimated from samples of the statistics on "
        f"{on}. It says how the run went, not how good the proxy is.",
        [Plot(draw, f"Fitness against candidates judged: {told}.")],
        {
            "band": "middle half of the candidates",
            "median": "median",
            "best": "best so far",
            **({} if params is None else {"params-line": "parameter count"}),
        },
    )


def front(members: Sequence[Mapping[str, Any]], chosen: str | None) -> Chart:
    """Complexity and fitness of the Pareto front.

    Args:
        members: ``expression``, ``complexity``, ``value`` and perhaps ``ci``; simplest first.
        chosen: the expression of the result; None where the values are estimates of a run that goes on.
    """
    x = [member["complexity"] for member in members]
    y = [member["value"] for member in members]

    def draw(ax: Axes) -> Hover:
        from matplotlib.ticker import MaxNLocator

        ax.step(x, y, where="post", color=FAINT, linewidth=1)
        for member, at in zip(members, x, strict=True):
            if member.get("ci"):
                ax.plot([at, at], member["ci"], color=FAINT, linewidth=2.5, alpha=0.7, solid_capstyle="butt")
        colours = [PROXY if member["expression"] == chosen else MUTED for member in members]
        ax.scatter(x, y, s=22, color=colours, zorder=3, gid="front")
        for i, place in enumerate(zip(x, y, strict=True), 1):
            ax.annotate(str(i), place, (4, 3), textcoords="offset points", fontsize=7, color=INK)
        ax.margins(0.08, 0.12)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        correlations(ax)
        named(ax, "nodes of the expression", "fitness, estimated" if chosen is None else "τ")
        return {"front": [_member(i, member) for i, member in enumerate(members, 1)]}

    told = "; ".join(f"{a} nodes: {correlation(b)}" for a, b in zip(x, y, strict=True))
    how = "estimated from samples on the discovery architectures"
    if chosen is not None:
        how = "measured exactly on the discovery and selection architectures, with 95 % bootstrap intervals"
    return Chart(
        "front",
        "Simplicity and correlation",
        f"The Pareto front, {how}. Numbers are those of the table.",
        [Plot(draw, f"Pareto front. {told}.")],
        {} if chosen is None else {"chosen": "the chosen proxy"},
    )


def _member(i: int, member: Mapping[str, Any]) -> str:
    figures = f"{correlation(member['value'])} {interval(member.get('ci'))}".rstrip()
    return f"{i}: {member['expression']}\n{member['complexity']} nodes, {figures}"


def shrinkage(reach: Mapping[str, Agreement | None], partial: bool) -> Chart:
    """How well the proxy ranks where it was evolved, where it was chosen, and where neither was done."""
    found = {part: agreement for part, agreement in reach.items() if agreement is not None}
    names = [f"{part}\nn = {agreement.n}" for part, agreement in found.items()]
    proxy = [
        (a.partial_kendall, a.partial_kendall_ci) if partial else (a.kendall, a.kendall_ci) for a in found.values()
    ]
    params = [(a.params.kendall, a.params.kendall_ci) for a in found.values()]
    gains = [(a.difference, a.difference_ci) for a in found.values()]

    def draw_levels(ax: Axes) -> Hover:
        _whiskers(ax, proxy, PROXY, -0.12, "proxy")
        if not partial:
            _whiskers(ax, params, SIZE, 0.12, "parameter count")
        return _parts(ax, names, "mean partial τ" if partial else "mean τ")

    def draw_gains(ax: Axes) -> Hover:
        ax.axhline(0, color=MUTED, linewidth=0.8)
        _whiskers(ax, gains, PROXY, 0.0, "proxy", signed)
        return _parts(ax, names, "gain over the parameter count, τ")

    def told(pairs: Sequence[tuple[Any, Any]], write: Callable[[float | None], str] = correlation) -> str:
        return "; ".join(f"{part} {write(v)} {interval(ci)}" for part, (v, ci) in zip(found, pairs, strict=True))

    plots = [Plot(draw_levels, f"Proxy: {told(proxy)}. Parameter count: {told(params)}.")]
    if not partial:
        plots.append(Plot(draw_gains, f"Gain over the parameter count: {told(gains, signed)}."))
    return Chart(
        "shrinkage",
        "From discovery to test",
        "Means over all spaces and data sets with 95 % bootstrap intervals. Evolution saw the discovery part, the choice "
        "among finalists used discovery and selection, the test part decided nothing. Parts differ in difficulty: "
        "compare the proxy with the parameter count inside each.",
        plots,
        {"proxy-dot": "proxy", **({} if partial else {"params-dot": "parameter count"})},
    )


def _whiskers(
    ax: Axes,
    pairs: Sequence[tuple[Any, Any]],
    colour: str,
    shift: float,
    label: str,
    write: Callable[[float | None], str] = correlation,
) -> None:
    for at, (value, span) in enumerate(pairs):
        if value is None:
            continue
        if span is not None:
            ax.plot([at + shift] * 2, span, color=colour, linewidth=1.2)
        ax.scatter([at + shift], [value], s=20, color=colour, label=label if at == 0 else None, zorder=3)
        side = -1 if shift < 0 else 1
        ax.annotate(
            write(value), (at + shift, value), (6 * side, 1), textcoords="offset points", fontsize=7.5,
            ha="right" if side < 0 else "left", va="bottom", color=colour,
        )  # fmt: skip


def _parts(ax: Axes, names: Sequence[str], title: str) -> Hover:
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.6, len(names) - 0.4)
    correlations(ax)
    named(ax, "", title)
    return {}
