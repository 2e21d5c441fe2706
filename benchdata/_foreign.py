"""Reading records that others published: every field is checked, and what is wrong is named with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from benchdata._errors import TableError, unusable
from benchdata._table import Row, architecture_key, percent

__all__ = ["LARGEST", "Foreign", "merged"]

LARGEST = 16 * 2**20
"""Bytes; the published files have 12-454 kB, and what is larger need not be parsed at all."""


@dataclass(frozen=True)
class Foreign:
    """The checks of one importer. Each raises TableError, saying where, what was expected and found, and the remedy."""

    remedy: str

    def refuse(self, where: str, expected: str, found: object) -> TableError:
        return unusable(where, expected, found, self.remedy)

    def check_size(self, where: str, data: bytes) -> None:
        if len(data) > LARGEST:
            raise self.refuse(where, f"at most {LARGEST} bytes", f"{len(data)} bytes")

    def parsed(self, where: str, data: bytes) -> Any:
        """The value of a JSON file."""
        self.check_size(where, data)
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self.refuse(where, "a JSON file", str(error)) from error

    def mapping(self, record: object, what: str, where: str) -> dict[str, Any]:
        """A dict with at least one entry."""
        if isinstance(record, dict) and record:
            return record
        raise self.refuse(where, what, "an empty one" if isinstance(record, dict) else record)

    def fields(
        self, record: object, what: str, where: str, required: Iterable[str], optional: Iterable[str] = ()
    ) -> dict[str, Any]:
        """A dict that has the required fields and no others than these and the optional ones."""
        if not isinstance(record, dict):
            raise self.refuse(where, what, record)
        needed, allowed = sorted(required), sorted({*required, *optional})
        for field in record:
            if field not in allowed:
                raise self.refuse(where, f"no other fields than {', '.join(allowed)}", field)
        if missing := [field for field in needed if field not in record]:
            raise self.refuse(where, f"the fields {', '.join(missing)}", "a record without them")
        return record

    def records(self, value: object, where: str) -> list[Any]:
        """A list with at least one entry."""
        if isinstance(value, list) and value:
            return value
        raise self.refuse(
            where, "a list of records", "an empty list" if isinstance(value, list) else type(value).__name__
        )

    def integer(self, value: object, where: str) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        raise self.refuse(where, "a positive whole number", value)

    def ratio(self, value: object, where: str) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < LARGEST:
            return float(value)
        raise self.refuse(where, "a positive number", value)

    def sequence(self, value: object, length: int, where: str) -> list[Any]:
        if isinstance(value, (list, tuple)) and len(value) == length:
            return list(value)
        raise self.refuse(where, f"a list of {length} values", value)

    def integers(self, value: object, length: int, where: str) -> list[int]:
        items = self.sequence(value, length, where)
        return [self.integer(item, f"{where}[{index}]") for index, item in enumerate(items)]

    def ratios(self, value: object, length: int, where: str) -> list[float]:
        items = self.sequence(value, length, where)
        return [self.ratio(item, f"{where}[{index}]") for index, item in enumerate(items)]

    def accuracy(self, value: object, label: str, where: str) -> float | None:
        """A label's value in percent; None where it is missing: null or NaN."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        return percent(value, where, label)


def merged(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows with one for each architecture: of those that tell of the same one, the means of the labels.

    It stands where the first of them stood, and its origin names them all.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.space, architecture_key(row.architecture)), []).append(row)
    return tuple(group[0] if len(group) == 1 else _mean(group) for group in groups.values())


def _mean(rows: list[Row]) -> Row:
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for pair, value in row.accuracy.items():
            values.setdefault(pair, []).append(value)
    means = {pair: math.fsum(found) / len(found) for pair, found in values.items()}
    return replace(rows[0], accuracy=means, origin=", ".join(row.origin for row in rows))
