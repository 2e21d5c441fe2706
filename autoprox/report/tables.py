"""Plain listings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

__all__ = ["listing"]


def listing(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", wrapped: Sequence[str] = ()) -> Table:
    """A table; numbers stand on the right.

    Args:
        columns: headings.
        rows: cells; None is shown as nothing.
        title: above it, if any.
        wrapped: headings of the columns that give way where space is short.
    """
    lines = [list(row) for row in rows]
    table = Table(
        box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False, show_edge=False
    )
    for i, heading in enumerate(columns):
        numeric = bool(lines) and all(isinstance(line[i], (int, float)) or line[i] is None for line in lines)
        table.add_column(
            heading, justify="right" if numeric else "left", no_wrap=heading not in wrapped, overflow="fold"
        )
    for line in lines:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in line))
    return table
