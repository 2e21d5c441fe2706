"""Plain listings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

__all__ = ["listing"]


def listing(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    wrapped: Sequence[str] = (),
    right: Sequence[str] = (),
    lines: bool = False,
) -> Table:
    """A table.

    Args:
        columns: headings.
        rows: cells; None is shown as nothing, numbers stand on the right.
        wrapped: headings of the columns that give way where space is short.
        right: headings of further columns that stand on the right.
        lines: whether rows are set apart, since some have several lines.
    """
    cells = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, leading=int(lines))
    for i, heading in enumerate(columns):
        numeric = bool(cells) and all(isinstance(row[i], int | float) or row[i] is None for row in cells)
        side: Literal["left", "right"] = "right" if numeric or heading in right else "left"
        table.add_column(heading, justify=side, no_wrap=heading not in wrapped, overflow="fold")
    for row in cells:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    return table
