"""The table of a study, on a terminal and as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autoprox.ranking.verdict import Finding
from autoprox.report.figures import correlation, interval, signed
from autoprox.report.ranks import verdict_lines

__all__ = ["study_csv", "study_tables"]

Row = Mapping[str, Any]

_FIGURES = ("kendall", "difference", "partial_spearman")
_PARTS = ("discovery", "selection", "test")


def study_csv(rows: Sequence[Row]) -> str:
    """One line a design and method; intervals as two columns, and one column a difference to each other method."""
    methods = list(dict.fromkeys(row["method"] for row in rows if row["method"] != "params"))
    flat = [_flat(row, methods) for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(key for one in flat for key in one)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def _flat(row: Row, methods: Sequence[str]) -> dict[str, Any]:
    found = {name: row[name] for name in ("design", "method", "evaluations", "trials", "proxies")}
    found |= {"failed": len(row["failed"]), "test_unseen": "yes" if row["unseen"] else "not known", "n": row.get("n")}
    for name in _FIGURES:
        found |= _spread(name, row.get(name), row.get(f"{name}_ci"))
    found |= {"p": _rounded(row.get("p"))} | _spread("params", row.get("params"), row.get("params_ci"))
    found |= _ends("difference_seeds", row.get("seeds_ci"))
    for part in _PARTS[:2]:
        figures = row.get("parts", {}).get(part, {})
        found |= {f"{part}_n": figures.get("n")}
        found |= _spread(f"{part}_kendall", figures.get("kendall"), figures.get("kendall_ci"))
    for other in methods:
        figures = row.get("against", {}).get(other, {})
        found |= _spread(f"minus {other}", figures.get("difference"), figures.get("difference_ci"))
        found |= _ends(f"minus {other}_seeds", figures.get("seeds_ci"))
    return found | {"verdict": "; ".join(finding["text"] for finding in row["verdict"])}


def _spread(name: str, value: float | None, bounds: Sequence[float] | None) -> dict[str, Any]:
    return {name: _rounded(value)} | _ends(name, bounds)


def _ends(name: str, bounds: Sequence[float] | None) -> dict[str, Any]:
    low, high = bounds or (None, None)
    return {f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def study_tables(rows: Sequence[Row]) -> list[RenderableType]:
    """Design by design: on test, beside discovery and selection, and in words."""
    shown: list[RenderableType] = []
    for design, group in groupby(rows, key=lambda row: row["design"]):
        lines = list(group)
        usable = [row for row in lines if row["proxies"]]
        head = Text(design, "bold")
        if usable:
            first = usable[0]
            head.append(
                f"  n = {first['n']} test architectures, params τ {correlation(first['params'])} "
                f"{interval(first['params_ci'])}",
                "not bold",
            )
        shown += [head, _on_test(usable), Text(), _shrinkage(usable), Text()]
        for row in lines:
            name = Text(f"{row['method']}{'' if row['unseen'] else ' *'}", "bold")
            name.append(f"  {row['proxies']} proxies", "not bold")
            shown += [name, Padding(verdict_lines([Finding(**f) for f in row["verdict"]]), (0, 0, 0, 2))]
            shown += [Padding(Text(f"failed: {reason}", "red"), (0, 0, 0, 2)) for reason in row["failed"]]
        shown.append(Text())
    note = (
        "means over the proxies of a method; [95 % bootstrap interval over architectures]; Δτ: to the parameter count, on the "
        "same resamples; discovery and selection chose what looks best there, the test architectures decided nothing; "
        "*: a given proxy, of which it is not known what it was chosen on"
    )
    return [*shown, Text(note, "dim")]


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold")
    for name in columns:
        table.add_column(name, justify="left" if name.startswith("[") else "right", no_wrap=True)
    return table


def _on_test(rows: Sequence[Row]) -> Table:
    table = _table(("τ", "[95 %]", "Δτ", "[95 %]", "partial ρ", "[95 %]"))
    for row in rows:
        table.add_row(
            row["method"],
            correlation(row["kendall"]),
            interval(row["kendall_ci"]),
            signed(row["difference"]),
            interval(row["difference_ci"], sign=True),
            correlation(row["partial_spearman"]),
            interval(row["partial_spearman_ci"]),
        )
    return table


def _shrinkage(rows: Sequence[Row]) -> Table:
    first = rows[0]["parts"] if rows else {}
    names = [f"{part[:9]}, n={first[part]['n']}" for part in _PARTS if part in first]
    table = _table([cell for name in names for cell in (name, "[95 %]")])
    for row in rows:
        cells = [row["parts"][part] for part in _PARTS]
        table.add_row(
            row["method"], *(text for f in cells for text in (correlation(f["kendall"]), interval(f["kendall_ci"])))
        )
    return table
