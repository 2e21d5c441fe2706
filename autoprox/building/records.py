"""Finished trainings, and the table that they make."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autoprox.errors import InputError
from autoprox.spaces import get_space
from benchdata import Benchmark, Row

__all__ = ["MEAN", "Key", "Record", "built_table", "seed_label"]

MEAN = "mean"
"""The kind of label that counts: the mean over all seeds."""

Key = tuple[str, str, str, int]
"""Space, architecture key, data set and seed."""


@dataclass(frozen=True)
class Record:
    """One training that ended, well or not.

    Attributes:
        architecture: its key.
        data: identity of the images.
        accuracy, validation_accuracy: percent; None where it failed.
        failure: the reason; None where it did not fail.
    """

    space: str
    architecture: str
    dataset: str
    seed: int
    data: str
    accuracy: float | None
    validation_accuracy: float | None
    failure: str | None
    seconds: float

    @property
    def key(self) -> Key:
        return self.space, self.architecture, self.dataset, self.seed

    def to_json(self) -> dict[str, Any]:
        """The line of the journal."""
        return asdict(self)


def seed_label(seed: int) -> str:
    """The kind of label that holds the accuracies of one seed."""
    return f"seed-{seed}"


def built_table(
    name: str,
    keys: Sequence[Key],
    records: Iterable[Record],
    provenance: Mapping[str, Any],
    licence: str = "not stated",
) -> Benchmark:
    """The table of a finished build, in the order of its keys.

    A label is the test accuracy of one seed, and `mean` that of all seeds where none of them failed.

    Raises:
        InputError: no training on some space ended well.
    """
    found = {record.key: record for record in records}
    datasets = list(dict.fromkeys(dataset for _, _, dataset, _ in keys))
    seeds = list(dict.fromkeys(seed for *_, seed in keys))
    rows = []
    for space, architecture in dict.fromkeys((space, architecture) for space, architecture, _, _ in keys):
        accuracy: dict[tuple[str, str], float] = {}
        for dataset in datasets:
            ended = {seed: found[space, architecture, dataset, seed].accuracy for seed in seeds}
            values = {seed: value for seed, value in ended.items() if value is not None}
            if len(values) == len(seeds):
                accuracy[dataset, MEAN] = round(float(np.mean(list(values.values()))), 4)
            accuracy |= {(dataset, seed_label(seed)): round(value, 4) for seed, value in values.items()}
        rows.append(Row(space, _record(space, architecture), accuracy, name))
    for space in dict.fromkeys(row.space for row in rows):
        if not any((dataset, MEAN) in row.accuracy for row in rows if row.space == space for dataset in datasets):
            reason = next(r.failure for r in found.values() if r.space == space and r.failure is not None)
            raise InputError(
                f"no architecture of {space} was trained well with every seed ({reason}); no table was made"
            )
    failures = [record.to_json() for key in keys if (record := found[key]).failure is not None]
    return Benchmark(
        name=name,
        title=f"{', '.join(dict.fromkeys(row.space for row in rows))} trained on {', '.join(datasets)}",
        source="built by autoprox bench build",
        licence=licence,
        default_label=MEAN,
        default_datasets=tuple(d for d in datasets if any((d, MEAN) in row.accuracy for row in rows)),
        defects=tuple(f"{len(failures)} of {len(keys)} trainings failed; see provenance." for _ in failures[:1]),
        rows=tuple(rows),
        provenance={
            **provenance,
            "trainings": len(keys),
            "seconds": round(sum(found[key].seconds for key in keys), 1),
            "failures": [
                {name: f[name] for name in ("space", "architecture", "dataset", "seed", "failure")} for f in failures
            ],
        },
    )


def _record(space: str, key: str) -> dict[str, Any]:
    family = get_space(space)
    return family.to_json(family.parse(json.loads(key)))
