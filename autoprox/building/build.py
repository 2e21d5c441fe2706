"""All trainings of a table, over processes or nodes; each that ends is recorded at once and never made again."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import uuid4

from autoprox import __version__
from autoprox.building.records import Key, Record, built_table
from autoprox.building.sampling import stratified
from autoprox.datasets import DATASETS, Dataset, load_dataset, place_of
from autoprox.errors import AutoproxError, InputError, InterruptedRunError, MissingError
from autoprox.measuring.shards import Shard
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.run_folder import SETTINGS, RunFolder
from autoprox.spaces import get_space
from autoprox.training import DivergedError, Recipe, Task, recipe_for, train
from autoprox.training.memory import check_memory
from autoprox.versions import versions
from benchdata import Benchmark

__all__ = ["BuildSettings", "build", "train_all"]

_PATIENCE = 60.0
"""Seconds after which a training that goes on is saved; shorter ones are made again after a kill."""


@dataclass(frozen=True)
class BuildSettings:
    """What a table is made of.

    Attributes:
        name: of the table.
        datasets: names or folders; `data_root` holds the files of those that need them.
        architectures: how many of each space.
        seeds: of the trainings; each architecture is trained with each.
        seed: of the choice of architectures.
        epochs, batch_size, learning_rate: instead of those of the spaces' recipes.
        licence: under which the table may be passed on.
    """

    name: str
    spaces: tuple[str, ...]
    datasets: tuple[str, ...]
    architectures: int
    seeds: tuple[int, ...]
    seed: int = 0
    data_root: Path | None = None
    device: str = "cpu"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    licence: str = "not stated"

    def check(self) -> None:
        """InputError where something is repeated or absent."""
        for what, values in (("space", self.spaces), ("data set", self.datasets), ("seed", self.seeds)):
            if not values:
                raise InputError(f"a table needs at least one {what}; none was given")
            twice = [value for i, value in enumerate(values) if value in values[:i]]
            if twice:
                raise InputError(f"the {what} {twice[0]} is given twice; give each once")

    def load(self) -> dict[str, Dataset]:
        """The data sets by their places; InputError where two have one name."""
        found = {place: load_dataset(place, self.data_root) for place in self.datasets}
        places: dict[str, str] = {}
        for place, dataset in found.items():
            if places.setdefault(dataset.name, place) != place:
                raise InputError(
                    f"the data sets {places[dataset.name]} and {place} are both called {dataset.name}; rename a folder"
                )
        return found

    @property
    def identity(self) -> dict[str, Any]:
        """What all trainings of a folder have in common; the rest may grow from one continuation to the next."""
        return {"sample": self.seed, "changes": self.changes, "autoprox": __version__}

    @property
    def changes(self) -> dict[str, float | None]:
        """What differs from the spaces' own recipes, where it is not None."""
        return {"epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}

    def recipe(self, space: str) -> Recipe:
        """How the networks of a space are trained."""
        return recipe_for(get_space(space)).changed(**self.changes)


def build(
    settings: BuildSettings,
    run_dir: Path,
    resume: bool,
    workers: Workers,
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
    accepted: Callable[[], None] = lambda: None,
) -> Benchmark:
    """Train all that the table needs and is not yet recorded in the folder.

    A build that is resumed may ask for more architectures, seeds, data sets or spaces than before: what is there is kept.

    Args:
        run_dir, resume: folder of the run, and whether to go on with what is in it.
        progress: told of trainings done.
        stop: asked after every training.
        accepted: called once the folder goes with the settings, before the first training.

    Raises:
        InputError: the settings, the data or the run folder are wrong.
        MissingError: the memory is too small, an image cannot be read, or every worker dies.
        InterruptedRunError: `stop` was true.
    """
    tasks, datasets = _tasks(settings)
    recipes = {space: settings.recipe(space).to_json() for space in settings.spaces}
    data = {dataset.name: dataset.key for dataset in datasets.values()}
    records = train_all(tasks, run_dir, settings.identity, resume, workers, progress, stop, accepted)
    provenance = {
        "recipes": recipes,
        "data": data,
        "seeds": list(settings.seeds),
        "sample": settings.seed,
        "architectures": settings.architectures,
        "device": settings.device,
        "versions": versions(),
    }
    return built_table(settings.name, list(tasks), records.values(), provenance, settings.licence)


def build_part(
    settings: BuildSettings,
    shard: Shard,
    run_dir: Path,
    resume: bool,
    workers: Workers,
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
    accepted: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """Train one part of what `build` trains, in a folder that `merging.merge_runs` takes; how many trainings, and of how many."""
    tasks, _ = _tasks(settings)
    part = dict(shard.of(list(tasks.items())))
    train_all(part, run_dir, settings.identity, resume, workers, progress, stop, accepted)
    return len(part), len(tasks)


def train_all(
    tasks: Mapping[Key, Task],
    run_dir: Path,
    identity: Mapping[str, Any],
    resume: bool,
    workers: Workers,
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
    accepted: Callable[[], None] = lambda: None,
) -> dict[Key, Record]:
    """The records of all tasks; those that the folder has are not made again, and each new one is there at once.

    `identity` is what all trainings of the folder have in common. Raises like `build`.
    """
    if workers.local:
        check_memory(tasks.values(), min(workers.count, len(tasks)))
    folder = RunFolder(run_dir, "build", identity, resume)
    _, journal = folder.load()
    records = {record.key: record for record in (Record(**line) for line in journal)}
    for key, task in tasks.items():
        if key in records and records[key].data != task.data()[0].key:
            raise InputError(
                f"the images of {key[2]} have changed since {run_dir} was begun; put back the old ones, or start a new run"
            )
    accepted()
    unfinished = run_dir.absolute() / "unfinished"
    mark = None if workers.local else _marked(unfinished)
    missing = [
        _Job(key, task, unfinished / _digest(key), task.data()[0].key, mark)
        for key, task in tasks.items()
        if key not in records
    ]
    stage, done = "training", len(tasks) - len(missing)
    progress(stage, done, len(tasks))
    try:
        for record in workers.completed(_trained, missing, _died):
            records[record.key] = record
            folder.save({"records": len(records)}, [record.to_json()])
            done += 1
            progress(stage, done, len(tasks))
            if stop() and done < len(tasks):
                raise InterruptedRunError(
                    f"stopped after {done} of {len(tasks)} trainings; go on with --resume --run-dir {run_dir}"
                )
    except (AutoproxError, OSError):
        if any(unfinished.glob("*/*.safetensors")):
            folder.save({"records": len(records)})  # a run that is worth going on with, though no training has ended
        else:
            shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(unfinished, ignore_errors=True)
    return records


def _tasks(settings: BuildSettings) -> tuple[dict[Key, Task], dict[str, Dataset]]:
    """All trainings: seed by seed, so that a table of fewer seeds is there first, and data set by data set; and these."""
    settings.check()
    datasets = settings.load()
    # other machines know folders by their whole paths
    paths = {place: place if place in DATASETS else "{}{}".format(*place_of(place)) for place in datasets}
    root = None if settings.data_root is None else settings.data_root.expanduser().absolute()
    chosen = {name: stratified(get_space(name), settings.architectures, settings.seed) for name in settings.spaces}
    tasks = {
        (space, get_space(space).key(architecture), datasets[place].name, seed): Task(
            space, architecture, paths[place], settings.recipe(space), seed, root, settings.device
        )
        for seed in settings.seeds
        for place in settings.datasets
        for space in settings.spaces
        for architecture in chosen[space]
    }
    return tasks, datasets


class _Job(NamedTuple):
    """A training to be made.

    Attributes:
        folder: where it is saved meanwhile.
        data: identity of the images.
        mark: a file that is there where the run's folder is; None: it is there.
    """

    key: Key
    task: Task
    folder: Path
    data: str
    mark: Path | None


def _marked(folder: Path) -> Path:
    """A file that no folder of that name on another disk has."""
    mark = folder / uuid4().hex
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise MissingError(f"cannot write {mark}: {error.strerror}; make room or name another --run-dir") from None
    return mark


def _trained(job: _Job) -> Record:
    """Train one network, in a folder of this machine alone where that of the run is not there."""
    if job.mark is None or job.mark.exists():
        return _trained_in(job.folder, job)
    with TemporaryDirectory(prefix="autoprox-") as folder:
        return _trained_in(Path(folder) / job.folder.name, job)


def _died(job: _Job, reason: str) -> Record:
    """A failure like any other: it is in the table's provenance, and stays in this folder; a new one trains it again."""
    return Record(*job.key, job.data, None, None, reason, 0.0)


def _trained_in(folder: Path, job: _Job) -> Record:
    """Train one network; what is wrong with it alone is a failure, what is wrong with the data or the disk is raised."""
    task = job.task
    if task.data()[0].key != job.data:
        raise MissingError(
            f"the images of {job.key[2]} are others on {platform.node()} than where the command was given; every machine "
            "needs the same files"
        )
    figures: tuple[float | None, float | None, str | None, float]
    try:
        try:
            ended = train(task, folder, resume=(folder / SETTINGS).exists(), patience=_PATIENCE, keep=False)
        except DivergedError:
            raise
        except InputError:  # what a kill has left cannot be taken up; nothing of it is recorded, so it is made again
            shutil.rmtree(folder, ignore_errors=True)
            ended = train(task, folder, patience=_PATIENCE, keep=False)
        figures = (ended.test_accuracy, ended.validation_accuracy, None, round(ended.seconds, 3))
    except DivergedError as error:
        figures = (None, None, str(error), 0.0)
    shutil.rmtree(folder, ignore_errors=True)
    return Record(*job.key, job.data, *figures)


def _digest(key: Key) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]
