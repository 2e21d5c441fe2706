"""Tables of how well proxies rank: of ``rank``, and of what a discovery found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autoprox.proxies.known import BASELINES
from autoprox.ranking.verdict import SIZE_PROXY, Finding
from autoprox.report.figures import ABSENT, correlation, interval, signed

__all__ = ["discovery_tables", "left_out_lines", "rank_tables", "verdict_lines"]

_RANK_COLUMNS = (
    ("space", 14), ("data set", 10), ("n", 4), ("τ", 5), ("[95 %]", 13), ("partial τ", 9), ("size τ", 6),
)  # fmt: skip
_FOUND_COLUMNS = (
    ("data set", 10), ("n", 4), ("τ", 5), ("[95 %]", 13), ("params τ", 8), ("gain", 5), ("[95 %]", 14),
    ("partial τ", 9),
)  # fmt: skip
_PART_COLUMNS = (
    ("part", 16), ("n", 4), ("τ", 5), ("[95 %]", 13), ("params τ", 8), ("gain", 5), ("[95 %]", 14),
)  # fmt: skip
_LEFT = ("space", "data set", "part", "[95 %]")
_INTERVALS = "τ: Kendall's tau-b, [95 % bootstrap interval]; partial τ: given the parameter count"


def verdict_lines(findings: Sequence[Finding]) -> Text:
    """A verdict, one sentence a line; what speaks for the proxy is green, what speaks against it yellow."""
    colours = {True: "green", False: "yellow", None: ""}
    lines = [Text(f"- {finding.text}", colours[finding.good], overflow="fold") for finding in findings]
    return Text("\n").join(lines)


def rank_tables(
    rows: Iterable[Mapping[str, Any]], verdicts: Mapping[str, Sequence[Finding]] | None = None
) -> list[RenderableType]:
    """The rows of a comparison, proxy by proxy, each below its verdict."""
    shown: list[RenderableType] = [_header(_RANK_COLUMNS)]
    for proxy, group in groupby(rows, key=lambda row: str(row["proxy"])):
        lines = list(group)
        shown.append(_proxy_line(proxy, lines))
        if proxy not in BASELINES and (verdicts or {}).get(proxy):
            shown.append(_indented(verdict_lines((verdicts or {})[proxy])))
        table = _table(_RANK_COLUMNS)
        previous = None
        for row in lines:
            table.add_row(
                row["space"] if row["space"] != previous else "",
                row["dataset"],
                str(row["n"]),
                correlation(row["kendall"]),
                interval(row["kendall_ci"]),
                correlation(row["partial_kendall"]),
                correlation(row["kendall_params"]),
            )
            previous = row["space"]
        shown.append(_indented(table))
        reasons = dict.fromkeys(f"{row['space']}: {row['invalid']}" for row in lines if "invalid" in row)
        shown += [_indented(Text(f"no usable scores on {reason}", "red")) for reason in reasons]
    return [*shown, Text(f"{_INTERVALS}; size τ: of the proxy with the parameter count", "dim")]


def _proxy_line(proxy: str, rows: Sequence[Mapping[str, Any]]) -> Text:
    line = Text(proxy, "bold", overflow="fold")
    sizes = [row["space"] for row in rows if abs(row["kendall_params"] or 0) > SIZE_PROXY]
    spaces = list(dict.fromkeys(row["space"] for row in rows))
    if proxy != "params" and sizes:
        where = "" if set(sizes) == set(spaces) else f" on {', '.join(dict.fromkeys(sizes))}"
        line.append(f"  size proxy{where}", "not bold yellow")
    return line


def discovery_tables(
    expression: str, metrics: Mapping[str, Any], summary: Mapping[str, Any], verdict: Sequence[Mapping[str, Any]] = ()
) -> list[RenderableType]:
    """What a discovery found: in words, and as figures on the test architectures beside those of the parameter count."""
    findings = [Finding(**finding) for finding in verdict]
    shown: list[RenderableType] = [Text(expression, "bold cyan", overflow="fold"), verdict_lines(findings), Text()]
    if summary.get("null"):
        shown.insert(
            1, Text("null run: the labels were dealt out at random, so this is what luck alone reaches", "yellow")
        )
    shown.append(_header(_FOUND_COLUMNS))
    for space, found in metrics.items():
        shown.append(Text("all spaces and data sets" if space == "joint" else space, "bold"))
        table = _table(_FOUND_COLUMNS)
        for dataset, figures in found.items():
            if "invalid" in figures:
                table.add_row(dataset, str(figures["n"]), ABSENT, *["", ABSENT] * 2, ABSENT)
                continue
            table.add_row(
                dataset,
                str(figures["n"]),
                correlation(figures["kendall"]),
                interval(figures["kendall_ci"]),
                correlation(figures["params"]["kendall"]),
                signed(figures["difference"]),
                interval(figures["difference_ci"], sign=True),
                correlation(figures["partial_kendall"]),
            )
        shown.append(_indented(table))
        reasons = dict.fromkeys(figures["invalid"] for figures in found.values() if "invalid" in figures)
        shown += [_indented(Text(f"no usable scores: {reason}", "red")) for reason in reasons]
    note = f"on the test architectures, which evolution has not seen; gain: over the parameter count; {_INTERVALS}"
    return [*shown, Text(note, "dim"), Text(), *_parts(summary)]


def _parts(summary: Mapping[str, Any]) -> Iterable[RenderableType]:
    """The winner's curse: the same figures where the proxy was evolved, where it was chosen, and where neither was done."""
    yield Text("the same proxy where it was found, where it was chosen, and on test", "bold")
    yield _header(_PART_COLUMNS)
    table = _table(_PART_COLUMNS)
    for part, figures in (summary.get("parts") or {}).items():
        table.add_row(
            f"{part} (seen)" if figures["seen"] else part,
            str(figures["n"]),
            correlation(figures["kendall"]),
            interval(figures["kendall_ci"]),
            correlation(figures["params"]),
            signed(figures["difference"]),
            interval(figures["difference_ci"], sign=True),
        )
    yield _indented(table)
    yield Text("seen: by evolution or selection, which chose what looks best there, so these flatter", "dim")
    if summary.get("fitness") != "mean":
        values = [f"{part} {correlation(summary.get(part))}" for part in summary.get("parts") or ()]
        yield Text(f"fitness ({summary.get('fitness')}): {', '.join(values)}")
    if likeness := summary.get("likeness"):
        yield Text(
            "ranks the test architectures like " + ", ".join(f"{n} {correlation(t)}" for n, t in likeness.items())
        )
    yield from left_out_lines(summary.get("left_out") or ())
    yield Text(f"{summary.get('evaluations')} candidates judged, {summary.get('invalid')} without usable scores")


def left_out_lines(records: Iterable[Mapping[str, Any]]) -> Iterable[Text]:
    """Which networks could not be measured, and why; of `autoprox.measuring.losses.left_out`."""
    for one in records:
        yield Text(f"left out: {one['space']} {one['architecture']}: {one['reason']}", "yellow", overflow="fold")


def _table(columns: Sequence[tuple[str, int]]) -> Table:
    """Tables of equal column widths, so that several stand under one header."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, width in columns:
        table.add_column(min_width=width, no_wrap=True, justify="left" if name in _LEFT else "right")
    return table


def _header(columns: Sequence[tuple[str, int]]) -> RenderableType:
    table = _table(columns)
    table.add_row(*(Text(name, "bold") for name, _ in columns))
    return _indented(table)


def _indented(renderable: RenderableType) -> RenderableType:
    return Padding(renderable, (0, 0, 0, 2), expand=False)
