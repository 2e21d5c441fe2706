"""The table itself: rows of one benchmark, its provenance, and the questions asked of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchdata._errors import TableError, show, unusable

__all__ = [
    "NAME",
    "SIGNED",
    "Benchmark",
    "Row",
    "architecture_key",
    "architecture_text",
    "check_provenance",
    "check_rows",
    "percent",
]

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""What spaces, data sets and label kinds are called: no dots (they part column names), safe as a file name."""

SIGNED = "score"
"""Label kind of a task's own measure times 100. It may be a correlation, so it goes from -100 to 100; every other kind
is an accuracy from 0 to 100."""


@dataclass(frozen=True)
class Row:
    """One trained architecture.

    Attributes:
        space: name of its search space.
        architecture: JSON object, as the space writes it.
        accuracy: percent by (data set, label kind), accuracies but for `SIGNED`; a missing label is an absent key, so an
            architecture whose trainings all failed has an empty mapping.
        origin: the file (or run) that the row came from.
    """

    space: str
    architecture: dict[str, Any]
    accuracy: dict[tuple[str, str], float]
    origin: str


@dataclass(frozen=True)
class Benchmark:
    """A table of trained architectures with its provenance.

    Attributes:
        name, title, source, licence: what it is called, where it came from, under which terms.
        default_label: label kind that counts unless the user names another.
        default_datasets: data sets that count unless the user names others.
        defects: what is known to be wrong with it, one sentence each.
        rows: all rows; no architecture occurs twice in a space.
        provenance: how the table was made, as a JSON object; empty where that is not recorded. Names that `bench show`
            knows: recipe, seeds, datasets ({name: key of its content}), versions, seconds (of all trainings together),
            failures (a list, one object with its reason each).

    A table built with several training seeds has the label kinds `seed-0`, `seed-1`, ... and their mean, `mean`, where
    none failed (see `autoprox.ranking.ceiling`).

    Raises:
        TableError: a row is malformed or repeated, a space has no accuracy, a default does not occur, the provenance
            is no JSON object.
    """

    name: str
    title: str
    source: str
    licence: str
    default_label: str
    default_datasets: tuple[str, ...]
    defects: tuple[str, ...]
    rows: tuple[Row, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"benchmark '{self.name}'"
        for text in ("name", "title", "source", "licence"):
            if not getattr(self, text):
                raise unusable(where, f"a {text}", "an empty text", "state it")
        check_provenance(self.provenance, f"{where}, provenance")
        if not self.rows:
            raise unusable(where, "at least one row", "none", "give it the architectures that were trained")
        check_rows(self.rows, [f"{where}, row {index}" for index in range(len(self.rows))])
        pairs = {pair for row in self.rows for pair in row.accuracy}
        datasets, labels = {dataset for dataset, _ in pairs}, {label for _, label in pairs}
        for space in self.spaces:
            if not self.datasets(space):
                raise unusable(f"{where}, space '{space}'", "at least one accuracy", "none", "add labels or drop it")
        for what, wanted, there in (
            ("default_label", {self.default_label}, labels),
            ("default_datasets", set(self.default_datasets), datasets),
        ):
            if not wanted or wanted - there:
                found = ", ".join(sorted(wanted - there)) or "none"
                raise unusable(where, f"{what} among {', '.join(sorted(there))}", found, f"correct {what}")

    @cached_property
    def _by_space(self) -> dict[str, tuple[Row, ...]]:
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.space, []).append(row)
        return {space: tuple(rows) for space, rows in groups.items()}

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the spaces that have rows, in the order of the table."""
        return tuple(self._by_space)

    def select(self, space: str) -> tuple[Row, ...]:
        """The rows of one space, in the order of the table. Raises TableError if there are none."""
        if space not in self._by_space:
            raise self._absent("space", space, self.spaces)
        return self._by_space[space]

    def datasets(self, space: str) -> tuple[str, ...]:
        """Data sets with at least one accuracy in the space: the default ones first, then by name."""
        there = {dataset for row in self.select(space) for dataset, _ in row.accuracy}
        return tuple(sorted(there, key=lambda name: (_place(self.default_datasets, name), name)))

    def labels(self, space: str, dataset: str) -> tuple[str, ...]:
        """Label kinds with at least one accuracy: the default one first, then by name."""
        if dataset not in self.datasets(space):
            raise self._absent(f"data set in space '{space}'", dataset, self.datasets(space))
        there = {label for row in self.select(space) for name, label in row.accuracy if name == dataset}
        return tuple(sorted(there, key=lambda name: (name != self.default_label, name)))

    def accuracies(self, space: str, dataset: str, label: str) -> NDArray[np.float64]:
        """Accuracies in percent, shape (rows of the space,), in the order of `select`; NaN where a label is missing.

        Raises:
            TableError: the space, data set or label kind does not occur; the text names what does.
        """
        if label not in self.labels(space, dataset):
            raise self._absent(f"label of '{dataset}' in space '{space}'", label, self.labels(space, dataset))
        return np.array([row.accuracy.get((dataset, label), math.nan) for row in self.select(space)], dtype=np.float64)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the rows as canonical JSON, sorted: independent of their order and of where they came from."""
        content = sorted(
            (
                row.space,
                architecture_key(row.architecture),
                sorted((d, k, float(v) + 0.0) for (d, k), v in row.accuracy.items()),
            )
            for row in self.rows
        )
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    def _absent(self, what: str, found: str, there: Sequence[str]) -> TableError:
        return unusable(f"benchmark '{self.name}'", f"a {what} out of {', '.join(there)}", found, "choose one of these")


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def architecture_text(architecture: dict[str, Any]) -> str:
    """Canonical JSON of an architecture (sorted keys, no spaces). Raises ValueError or TypeError if it is not JSON."""
    return json.dumps(architecture, sort_keys=True, separators=(",", ":"), allow_nan=False)


def architecture_key(architecture: dict[str, Any]) -> str:
    """What makes two architectures the same: 4 and 4.0 are one choice."""
    return architecture_text({name: _plain(value) for name, value in architecture.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def percent(value: object, where: str, label: str) -> float:
    """A finite number that a label of this kind may have (see `SIGNED`). Raises TableError, saying where."""
    least, what = (-100, "a score") if label == SIGNED else (0, "an accuracy")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= 100:
        return float(value)
    expected = f"{what} in percent from {least} to 100"
    raise unusable(where, expected, value, "correct it, or leave it out if it is missing")


def check_provenance(value: object, where: str) -> None:
    """Raise TableError, saying where, unless JSON stores the value as an object and gives it back as it was."""
    expected, remedy = "a JSON object (names are texts, lists are no tuples, numbers are finite)", "write it as JSON"
    try:
        same = isinstance(value, dict) and json.loads(json.dumps(value, indent=2, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError) as error:
        raise unusable(where, expected, str(error), remedy) from error
    if not same:
        raise unusable(where, expected, value, remedy)


def check_rows(rows: Sequence[Row], places: Sequence[str]) -> None:
    """Raise TableError for the first malformed or repeated row; `places` says where each one stands."""
    seen: dict[tuple[str, str], str] = {}
    for row, place in zip(rows, places, strict=True):
        for what, name in [("space", row.space)] + [("name", name) for pair in row.accuracy for name in pair]:
            if not NAME.fullmatch(name):
                raise unusable(place, f"a {what} of lower-case letters, digits, - and _", name, "rename it")
        if not row.architecture:
            raise unusable(place, "an architecture", "an empty one", "give its choices")
        for (dataset, label), value in row.accuracy.items():
            percent(value, f"{place}, {dataset}.{label}", label)
        try:
            key = row.space, architecture_key(row.architecture)
        except (TypeError, ValueError, RecursionError, AttributeError) as error:
            raise unusable(place, "an architecture of JSON values", str(error), "write it as JSON") from error
        if key in seen:
            raise TableError(
                f"{place}: expected an architecture that occurs once in space '{row.space}', found the one of "
                f"{seen[key]} again ({show(key[1])}); remove one of the two rows"
            )
        seen[key] = place
