"""What files say, with everything that is no number of theirs being None: they may come from anywhere."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["flat", "number", "numbers", "reasons"]

_DEEPEST = 8  # records in each other; a file of ours has fewer


def number(value: Any) -> float | None:
    """A finite number, or None."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if usable else None


def numbers(record: Any, depth: int = _DEEPEST) -> dict[str, Any]:
    """A record of figures: numbers, pairs of them under names that end with ``_ci``, texts, and records like it."""
    found: dict[str, Any] = {}
    for name, value in record.items() if isinstance(record, Mapping) else ():
        if name.endswith("_ci"):
            ends = [number(end) for end in value] if isinstance(value, list) else []
            found[name] = tuple(ends) if len(ends) == 2 and None not in ends else None
        elif isinstance(value, Mapping):
            found[name] = numbers(value, depth - 1) if depth else {}
        else:
            found[name] = value if isinstance(value, str) else number(value)
    return found


_WORDS = {"None": "none", "True": "yes", "False": "no"}


def flat(record: Mapping[str, Any], path: str = "", depth: int = _DEEPEST) -> Iterator[tuple[str, str]]:
    """Names and values of nested records: ``capture.batch_size``, ``8``."""
    for name, value in record.items():
        where = f"{path}{name}"
        if value in ({}, []) or (isinstance(value, Mapping) and not depth):
            yield where, "..." if value else "none"
        elif isinstance(value, Mapping):
            yield from flat(value, f"{where}.", depth - 1)
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            for i, item in enumerate(value, 1):
                yield from flat(item, f"{where}.{i}." if len(value) > 1 else f"{where}.", depth - 1)
        elif isinstance(value, list):
            yield where, ", ".join(map(str, value))
        else:
            yield where, _WORDS.get(str(value), str(value)) if value is None or isinstance(value, bool) else str(value)


_ALIKE = (
    (re.compile(r"^[\w-]+: "), ""),
    (re.compile(r"\bthe branch .* is constant", re.DOTALL), "a branch is constant"),
    (re.compile(r"\bon \d+ of \d+ networks"), "on some networks"),
    (re.compile(r"\bthe \d+ networks"), "the networks"),
    (re.compile(r"\bhalves agree with τ \S+ only"), "halves disagree"),
)


def reasons(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Why there are no scores, and how often; the most frequent first. Numbers and expressions in them are left out."""
    found: Counter[str] = Counter()
    for record in records:
        if reason := record.get("reason"):
            text = str(reason)
            for pattern, plain in _ALIKE:
                text = pattern.sub(plain, text)
            found[text] += 1
    return found.most_common()
