"""Whether a table can be made again: some of its trainings, repeated from the recorded recipe and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from autoprox.building.build import train_all
from autoprox.building.records import Key, seed_label
from autoprox.datasets import DATASETS, Dataset, load_dataset, place_of
from autoprox.errors import InputError
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.ranking.ceiling import noise_ceiling, seed_labels, seed_of
from autoprox.spaces import get_space
from autoprox.training import Recipe, Task
from benchdata import Benchmark, Row

__all__ = ["Retrained", "retrain"]


@dataclass(frozen=True)
class Retrained:
    """A recorded accuracy and that of the same training made again, both in percent.

    Attributes:
        retrained: None where the training failed, for the reason in `failure`.
        seed_noise: of the table on this space and data set, see `NoiseCeiling`; None where it has too few seeds.
    """

    space: str
    architecture: dict[str, Any]
    dataset: str
    seed: int
    recorded: float
    retrained: float | None
    failure: str | None
    seed_noise: float | None

    @property
    def difference(self) -> float | None:
        """Retrained minus recorded."""
        return None if self.retrained is None else round(self.retrained - self.recorded, 4)

    @property
    def bound(self) -> float:
        """What two trainings with different seeds differ by in 19 of 20 cases, 1.96·√2·noise; 0 for an unknown noise.

        The same training gives the same accuracy on one kind of machine; elsewhere sums are rounded in another way, which
        after some hundred steps makes as much of a difference as another seed.
        """
        return 0.0 if self.seed_noise is None else 1.959964 * math.sqrt(2) * self.seed_noise

    @property
    def within(self) -> bool:
        """Whether the difference is no larger than the bound."""
        return self.difference is not None and abs(self.difference) <= self.bound

    def to_json(self) -> dict[str, Any]:
        """The fields with what follows from them."""
        return {**asdict(self), "difference": self.difference, "bound": self.bound, "within": self.within}


def retrain(
    table: Benchmark,
    count: int,
    seed: int,
    workers: Workers,
    *,
    places: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> list[Retrained]:
    """Train some of a built table's networks again, in the order of the table.

    Args:
        count, seed: how many recorded accuracies are drawn, of all with equal chances, and by which seed.
        places: folders of those data sets that have no name of their own.
        data_root: of those that need one.

    Raises:
        InputError: the table does not say how it was made, has fewer accuracies, or was made on other images.
        MissingError: as `build` does.
    """
    recipes, keys = (_recorded(table, name) for name in ("recipes", "data"))
    chosen = _drawn(table, count, seed)
    given = {_named(table, keys, load_dataset(place, data_root)): place for place in places}
    datasets = dict.fromkeys(dataset for _, dataset, _ in chosen)
    found = {name: _place(table, name, keys.get(name), given.get(name, name), data_root) for name in datasets}
    root = None if data_root is None else data_root.expanduser().absolute()
    tasks: dict[Key, Task] = {}
    for row, dataset, training_seed in chosen:
        space = get_space(row.space)
        architecture, recipe = space.parse(row.architecture), Recipe.from_json(recipes.get(row.space))
        tasks[row.space, space.key(architecture), dataset, training_seed] = Task(
            row.space, architecture, found[dataset], recipe, training_seed, root, device
        )
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # on an error, workers may still write there
        records = train_all(tasks, Path(folder), {}, False, workers, progress)
    noise = {(row.space, dataset): _seed_noise(table, row.space, dataset) for row, dataset, _ in chosen}
    return [
        Retrained(
            space=row.space,
            architecture=row.architecture,
            dataset=dataset,
            seed=training_seed,
            recorded=row.accuracy[dataset, seed_label(training_seed)],
            retrained=None if (accuracy := records[key].accuracy) is None else round(accuracy, 4),
            failure=records[key].failure,
            seed_noise=noise[row.space, dataset],
        )
        for (row, dataset, training_seed), key in zip(chosen, tasks, strict=True)
    ]


def _recorded(table: Benchmark, name: str) -> Mapping[str, Any]:
    value = table.provenance.get(name)
    if not isinstance(value, dict) or not value:
        raise InputError(
            f"{table.name} does not record how its networks were trained: its provenance has no {name}; "
            "retraining needs a table that 'autoprox bench build' has made"
        )
    return value


def _drawn(table: Benchmark, count: int, seed: int) -> list[tuple[Row, str, int]]:
    """Rows with the data set and the seed of a training, in the order of the table."""
    every = [
        (row, dataset, number)
        for row in table.rows
        for dataset, label in sorted(row.accuracy)
        if (number := seed_of(label)) is not None
    ]
    if len(every) < count:
        raise InputError(
            f"{table.name} has {len(every)} accuracies of single trainings, {count} are asked for; ask for fewer --rows"
        )
    return [every[i] for i in sorted(np.random.default_rng(seed).choice(len(every), count, replace=False).tolist())]


def _named(table: Benchmark, keys: Mapping[str, Any], dataset: Dataset) -> str:
    """What the table calls a data set: a folder may have another name by now."""
    names = [name for name, key in keys.items() if key == dataset.key] or [n for n in keys if n == dataset.name]
    if not names:
        raise InputError(f"{table.name} has no data set {dataset.name}; it has {', '.join(keys)}")
    return names[0]


def _place(table: Benchmark, name: str, key: object, place: str, data_root: Path | None) -> str:
    """Where the images of a data set are, after a look at whether they are the ones that the table was made with."""
    if place == name and name not in DATASETS:
        raise InputError(
            f"{table.name} was made with images of a folder {name}; say where it is with --dataset DIR, or hf:DIR"
        )
    if (there := load_dataset(place, data_root).key) != key:
        raise InputError(
            f"the images of {name} are not those that {table.name} was made with: expected the key {key}, found {there}; "
            "get the old ones back, or build the table again"
        )
    return place if name == place else "{}{}".format(*place_of(place))


def _seed_noise(table: Benchmark, space: str, dataset: str) -> float | None:
    try:
        return noise_ceiling(seed_labels(table, space, dataset), resamples=2).seed_noise
    except InputError:
        return None
