"""Tables of how well proxies rank: of ``rank``, and of what a discovery found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autoprox.report.figures import ABSENT, correlation, with_interval

__all__ = ["SIZE_PROXY", "discovery_tables", "rank_tables"]

SIZE_PROXY = 0.9
"""From this Kendall tau with the parameter count on, a proxy is a measure of size."""

_RANK_COLUMNS = (("space", 14), ("data set", 10), ("n", 5), ("Kendall τ, 95 % interval", 19), ("partial", 7), ("size τ", 6))
_FOUND_COLUMNS = (
    ("data set", 12), ("n", 4), ("Kendall τ", 17), ("params τ", 8), ("difference", 21), ("partial", 7),
)  # fmt: skip
_LEFT = ("space", "data set")


def rank_tables(rows: Iterable[Mapping[str, Any]]) -> list[RenderableType]:
    """The rows of a comparison, proxy by proxy, with a mark on those that measure little but size."""
    shown: list[RenderableType] = [_header(_RANK_COLUMNS)]
    for proxy, group in groupby(rows, key=lambda row: str(row["proxy"])):
        lines = list(group)
        shown.append(_proxy_line(proxy, lines))
        table = _table(_RANK_COLUMNS)
        previous = None
        for row in lines:
            table.add_row(
                row["space"] if row["space"] != previous else "",
                row["dataset"],
                str(row["n"]),
                with_interval(row["kendall"], row["kendall_ci"]),
                correlation(row["partial_kendall"]),
                correlation(row["kendall_params"]),
            )
            previous = row["space"]
        shown.append(_indented(table))
        reasons = dict.fromkeys(f"{row['space']}: {row['invalid']}" for row in lines if "invalid" in row)
        shown += [_indented(Text(f"no usable scores on {reason}", "red")) for reason in reasons]
    shown.append(
        Text("partial: Kendall τ given the parameter count; size τ: Kendall τ of the proxy with the parameter count", "dim")
    )
    return shown


def _proxy_line(proxy: str, rows: Sequence[Mapping[str, Any]]) -> Text:
    line = Text(proxy, "bold", overflow="fold")
    sizes = [row["space"] for row in rows if abs(row["kendall_params"] or 0) > SIZE_PROXY]
    spaces = list(dict.fromkeys(row["space"] for row in rows))
    if proxy != "params" and sizes:
        where = "" if set(sizes) == set(spaces) else f" on {', '.join(dict.fromkeys(sizes))}"
        line.append(f"  size proxy{where}", "not bold yellow")
    return line


def discovery_tables(expression: str, metrics: Mapping[str, Any], summary: Mapping[str, Any]) -> list[RenderableType]:
    """What a discovery found: figures on the test architectures beside those of the parameter count."""
    shown: list[RenderableType] = [Text(expression, "bold cyan", overflow="fold"), Text()]
    shown.append(_header(_FOUND_COLUMNS))
    for space, found in metrics.items():
        shown.append(Text("all spaces and data sets" if space == "joint" else space, "bold"))
        table = _table(_FOUND_COLUMNS)
        for dataset, figures in found.items():
            table.add_row(
                dataset,
                str(figures["n"]),
                with_interval(figures["kendall"], figures["kendall_ci"]),
                correlation(figures["params"]["kendall"]),
                with_interval(figures["difference"], figures["difference_ci"], sign=True),
                correlation(figures["partial_kendall"]),
            )
        shown.append(_indented(table))
    shown.append(
        Text("on test architectures, never seen before; partial: Kendall τ given the parameter count", "dim")
    )
    lines = [f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in summary.items() if _is_plain(value)]
    return [*shown, *([Text()] if lines else []), *map(Text, lines)]


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(inner, (int, float, type(None))) for inner in value.values())
    return isinstance(value, (int, float, str, type(None)))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, float) and abs(value) <= 1:
        return correlation(value)
    if isinstance(value, float):
        return f"{value:.1f}"
    return ABSENT if value is None else str(value)


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
