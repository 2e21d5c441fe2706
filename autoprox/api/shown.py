"""A result that reads well in a terminal and in a notebook, and becomes a data frame where pandas is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from typing import Any, TypeAlias

from autoprox.errors import MissingError

__all__ = ["Record", "Result"]

Record: TypeAlias = dict[str, Any]
"""One row of a table, by column."""


class Result(ABC):
    """A heading, notes and a table."""

    @property
    @abstractmethod
    def records(self) -> list[Record]:
        """The rows, as plain numbers and texts."""

    @abstractmethod
    def _heading(self) -> str: ...

    @abstractmethod
    def _notes(self) -> Sequence[str]: ...

    @abstractmethod
    def _cells(self) -> list[dict[str, str]]:
        """The rows as they are shown."""

    def to_pandas(self) -> Any:
        """The records as a `pandas.DataFrame`; MissingError where pandas is not installed."""
        try:
            from pandas import DataFrame
        except ImportError:
            raise MissingError(
                "a data frame needs pandas, which is not installed: pip install pandas (the same rows are in .records)"
            ) from None
        return DataFrame(self.records)

    def __repr__(self) -> str:
        rows = self._cells()
        lines = [f"{type(self).__name__}: {self._heading()}", *(f"- {note}" for note in self._notes())]
        if rows:
            columns = list(rows[0])
            table = [columns, *([row[name] for name in columns] for row in rows)]
            widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
            lines += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        rows = self._cells()
        parts = [f"<p><code>{escape(self._heading())}</code></p>"]
        if notes := self._notes():
            parts.append(f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>")
        if rows:
            head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
            body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.values())}</tr>" for row in rows)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        return "".join(parts)
