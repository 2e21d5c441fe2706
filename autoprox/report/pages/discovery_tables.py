"""The tables of a discovery's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from autoprox.report.figures import ABSENT, correlation, interval, signed
from autoprox.report.pages.markup import Cell, Markup, Value, section, table, tag
from autoprox.report.pages.records import number
from autoprox.report.pages.scored import Panel, Scored

__all__ = [
    "architectures_section", "estimated_front_table", "front_table", "metrics_table", "other_tables", "reach_table",
    "references_table", "whole",
]  # fmt: skip

Figures = Mapping[str, Any]


def whole(value: Any) -> str:
    """A count, or that there is none."""
    found = number(value)
    return ABSENT if found is None else f"{found:,.0f}"


def _cell(figures: Figures, name: str, sign: bool = False) -> Cell:
    """A figure with its interval; [–] where that is undefined."""
    value, ci = number(figures.get(name)), figures.get(f"{name}_ci")
    text = (signed if sign else correlation)(value)
    if value is None:
        return Cell(text, None)
    return Cell(f"{text} {interval(ci, sign) if ci else f'[{ABSENT}]'}", value)


def _plain(value: float | None, text: str) -> Cell:
    return Cell(ABSENT, None) if value is None or not np.isfinite(value) else Cell(text, float(value))


def _tau(value: Any) -> Cell:
    return Cell(correlation(number(value)), number(value))


def _rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, Cell, Figures]]:
    """Space, data set, n and figures, the means last."""
    for space, row in metrics.items():
        for dataset, figures in row.items() if isinstance(row, dict) else ():
            if isinstance(figures, dict):
                names = ("all", "mean") if space == "joint" else (space, dataset)
                n = number(figures.get("n"))
                yield *names, Cell(whole(n), n), figures


def metrics_table(metrics: Mapping[str, Any]) -> Markup:
    """The proxy beside the parameter count."""
    columns = ("space", "data set", "n", "τ [95 %]", "params τ [95 %]", "gain [95 %]", "partial τ [95 %]", "size τ")
    rows: list[list[Value]] = []
    for space, dataset, n, f in _rows(metrics):
        params = f.get("params")
        rows.append(
            [
                space,
                dataset,
                n,
                Cell(f"none: {f['invalid']}", None) if "invalid" in f else _cell(f, "kendall"),
                _cell(params if isinstance(params, dict) else {}, "kendall"),
                _cell(f, "difference", sign=True),
                _cell(f, "partial_kendall"),
                _tau(f.get("kendall_params")),
            ]
        )
    return table("The proxy on the test architectures, beside the parameter count", columns, rows)


def other_tables(metrics: Mapping[str, Any]) -> list[Markup]:
    """Other correlations, and what the first choices are worth, as far as the proxy file has them."""
    every = [f for *_, f in _rows(metrics)]
    top = next((whole(f.get("top")) for f in reversed(every) if f.get("top") is not None), "k")
    correlations = {
        "spearman": "Spearman [95 %]",
        "pearson": "Pearson [95 %]",
        "weighted_kendall": "weighted τ [95 %]",
        "band_kendall": "τ in size bands [95 %]",
        "p": "p of τ",
    }
    choices = {
        "ndcg": f"nDCG@{top} [95 %]",
        "precision": f"P@{top} [95 %]",
        "regret_1": "regret@1 [95 %]",
        "regret_5": "regret@5 [95 %]",
    }
    captions = {
        "By other correlations, on the test architectures": correlations,
        "What its first choices are worth, on the test architectures; regret in accuracy points": choices,
    }
    found = []
    for caption, names in captions.items():
        there = [name for name in names if any(number(f.get(name)) is not None for f in every)]
        rows: list[list[Value]] = [
            [space, dataset, n, *(_measure(f, name) for name in there)] for space, dataset, n, f in _rows(metrics)
        ]
        if there:
            found.append(table(caption, ("space", "data set", "n", *(names[name] for name in there)), rows))
    return found


def _measure(figures: Figures, name: str) -> Cell:
    value, ci = number(figures.get(name)), figures.get(f"{name}_ci")
    if value is None:
        return Cell(ABSENT, None)
    if name == "p":
        return Cell(f"{value:.2g}", value)
    if name.startswith("regret"):
        return Cell(f"{value:.2f} [{f'{ci[0]:.2f}, {ci[1]:.2f}' if ci else ABSENT}]", value)
    return _cell(figures, name)


def references_table(metrics: Mapping[str, Any]) -> Markup | None:
    """Beside what else could have been counted, where the proxy file has that."""
    joint = metrics.get("joint", {}).get("mean", {})
    against = joint.get("against")
    if not isinstance(against, dict) or not against:
        return None
    rows: list[list[Value]] = [
        [name, _tau(f.get("kendall")), _cell(f, "difference", sign=True), _tau(f.get("likeness"))]
        for name, f in against.items()
        if isinstance(f, dict)
    ]
    columns = ("reference", "its τ", "gain over it [95 %]", "τ of the proxy with it")
    return table(f"Beside references: means on the test architectures (n = {whole(joint.get('n'))})", columns, rows)


def reach_table(scored: Scored) -> Markup:
    """The proxy on each part of the split."""
    rows: list[list[Value]] = []
    for part, found in scored.reach.items():
        f: Figures = {} if found is None else found.to_json()
        params = f.get("params", {})
        n = number(f.get("n"))
        cells = [
            _cell(f, "kendall"),
            _cell(params, "kendall"),
            _cell(f, "difference", True),
            _cell(f, "partial_kendall"),
        ]
        rows.append([part, Cell(whole(n), n), *cells])
    columns = ("part", "n", "mean τ [95 %]", "params τ [95 %]", "gain [95 %]", "partial τ [95 %]")
    return table(
        "The proxy on the three parts of the split; discovery and selection were selected by, test was not",
        columns,
        rows,
    )


def front_table(members: Sequence[Mapping[str, Any]], scored: Scored | None, measure: str) -> Markup:
    """The exact front; figures with intervals where they could be computed anew, else as the run recorded them.

    Args:
        members: expression, complexity, both, discovery and selection.
        measure: ``kendall`` or ``partial_kendall``.
    """
    parts = ("both", "discovery", "selection")
    rows: list[list[Value]] = []
    for i, member in enumerate(members, 1):
        found = {} if scored is None else scored.front.get(member["expression"], {})
        cells = [
            _tau(member.get(part)) if (a := found.get(part)) is None else _cell(a.to_json(), measure) for part in parts
        ]
        rows.append([member["expression"], i, int(member["complexity"]), *cells])
    name = "partial τ" if measure == "partial_kendall" else "mean τ"
    if scored is None:
        columns = [f"fitness, {part}" for part in parts]
        caption = "The Pareto front, measured exactly, with the fitness as the run recorded it"
    else:
        counts = {part: _count(scored, part) for part in parts}
        columns = [f"{name} on {part}, n = {n} [95 %]" for part, n in counts.items()]
        caption = "The Pareto front on the discovery and selection architectures, measured exactly"
    return table(caption, ("expression", "no.", "nodes", *columns), rows, code=True)


def _count(scored: Scored, part: str) -> int:
    """Architectures of all spaces in a part."""
    names = ("discovery", "selection") if part == "both" else (part,)
    return sum({p.space: sum(p.parts.count(name) for name in names) for p in scored.panels}.values())


def estimated_front_table(members: Sequence[Mapping[str, Any]]) -> Markup:
    """The front of a run that is not at its end."""
    rows: list[list[Value]] = [
        [m["expression"], i, m["complexity"], _tau(m["value"])] for i, m in enumerate(members, 1)
    ]
    caption = "The Pareto front so far, estimated from samples on the discovery architectures"
    return table(caption, ("expression", "no.", "nodes", "fitness, estimated"), rows, code=True)


def architectures_section(scored: Scored) -> Markup:
    """Every architecture, for those who want the numbers behind the figures."""
    by_space: dict[str, list[Panel]] = {}
    for panel in scored.panels:
        by_space.setdefault(panel.space, []).append(panel)
    tables = [_architectures(space, panels) for space, panels in by_space.items()]
    summary = tag("summary", "Scores and accuracies, one row an architecture")
    return section("All architectures", tag("details", summary, *tables))


def _architectures(space: str, panels: Sequence[Panel]) -> Markup:
    first = panels[0]
    alike = all(np.array_equal(panel.scores, first.scores, equal_nan=True) for panel in panels)
    scores = {"score": first} if alike else {f"score on {panel.dataset}": panel for panel in panels}
    columns = ("architecture", "part", "parameters", *scores, *(f"{p.dataset} ({p.label}), %" for p in panels))
    rows: list[list[Value]] = [
        [
            first.architectures[i],
            first.parts[i],
            int(first.params[i]),
            *(_plain(p.scores[i], f"{p.scores[i]:.6g}") for p in scores.values()),
            *(_plain(p.accuracies[i], f"{p.accuracies[i]:.2f}") for p in panels),
        ]
        for i in range(len(first.parts))
    ]
    return table(f"{space}: {len(rows)} architectures", columns, rows)
