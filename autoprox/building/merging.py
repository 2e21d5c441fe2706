"""The trainings of several run folders in one, from which the table is written as from a build that did all of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprox.building.records import Key, Record
from autoprox.errors import InputError
from autoprox.files import clipped, read_json
from autoprox.measuring.workers import tell
from autoprox.run_folder import SETTINGS, RunFolder, claimed

__all__ = ["MergedRuns", "merge_runs"]


@dataclass(frozen=True)
class MergedRuns:
    """How many trainings the folder has, how many of them are new to it, and how many stand elsewhere with other results."""

    trainings: int
    taken: int
    conflicts: int


def merge_runs(folders: Sequence[Path], run_dir: Path) -> MergedRuns:
    """Take the trainings of other folders into one, which may be new.

    All of it is written in one step, so a merge that was killed has done nothing, and one that was given twice changes nothing.
    Of a training that several have with different results, the first stays, and a `Notice` says so.

    Raises:
        InputError: a folder holds no build, is damaged or in use, or they are not parts of one build: other settings,
            another version of autoprox, or other images.
        MissingError: the folder cannot be written.
    """
    with ExitStack() as held:
        for folder in dict.fromkeys(path.resolve() for path in (*folders, run_dir)):
            held.enter_context(claimed(folder))
        settings = _settings(folders[0])
        others = [_records(folder, settings) for folder in folders]
        target = RunFolder(run_dir, "build", settings, resume=(run_dir / SETTINGS).exists())
        _, journal = target.load()
        known = {record.key: record for record in (Record(**line) for line in journal)}
        before, conflicts = len(known), 0
        data = {record.dataset: (record.data, run_dir) for record in known.values()}
        for folder, records in zip(folders, others, strict=True):
            for record in records:
                images, first = data.setdefault(record.dataset, (record.data, folder))
                if images != record.data:
                    raise InputError(
                        f"{folder} has trainings on other images of {record.dataset} than {first}; they cannot make one table"
                    )
                conflicts += _result(known.setdefault(record.key, record)) != _result(record)
        if conflicts:
            tell(
                f"{conflicts} trainings were made in several folders with different results, of which the first stays: the "
                "machines or the versions of libraries were not the same"
            )
        fresh = list(known.values())[before:]
        if fresh:
            target.save({"records": len(known)}, [record.to_json() for record in fresh])
    return MergedRuns(len(known), len(fresh), conflicts)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    record = read_json(path, "settings file of a run")
    settings = record.get("settings") if isinstance(record, dict) else None
    if not isinstance(settings, dict):
        raise InputError(f"{clipped(path)} is damaged: expected 'settings' to be an object; leave the folder out")
    return settings


def _records(folder: Path, settings: dict[str, Any]) -> list[Record]:
    _, journal = RunFolder(folder, "build", settings, resume=True).load()
    return [Record(**line) for line in journal]


def _result(record: Record) -> tuple[Key, float | None, float | None, bool]:
    return record.key, record.accuracy, record.validation_accuracy, record.failure is None
