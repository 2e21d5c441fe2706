"""A study from start to table: every cell is a discovery in a folder of its own, so that it goes on after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autoprox.discovery.fields import Laboratory, PostponedError
from autoprox.discovery.finalists import NoScoreError
from autoprox.discovery.run import check_truth, discover, discovered
from autoprox.discovery.settings import Standing
from autoprox.errors import InterruptedRunError
from autoprox.files import write_json
from autoprox.language.expression import Expression
from autoprox.language.text import to_text
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.losses import left_out
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.ranking.problem import Group
from autoprox.run_folder import SETTINGS, RunFolder
from autoprox.studies.outcome import Found, rows_of
from autoprox.studies.plan import Method, Plan
from autoprox.studies.trials import Trial, trials_of
from autoprox.versions import versions
from benchdata import Benchmark

__all__ = ["RESULT", "Cell", "Ground", "study"]

RESULT = "study.json"
"""File of a finished study: its table."""

_TOGETHER = 200  # expressions in one capture: their tensors are all in memory at once


@dataclass(frozen=True)
class Ground:
    """Loaded ground truth: one group a space, and the tables that it is from."""

    groups: Sequence[Group]
    tables: Sequence[Benchmark]

    def record(self) -> list[dict[str, str]]:
        """Name and content hash of each table."""
        return [{"name": table.name, "hash": table.content_hash} for table in self.tables]


@dataclass(frozen=True)
class Cell:
    """One discovery of a study."""

    trial: Trial
    method: Method
    seed: int
    capture: CaptureSettings

    @property
    def name(self) -> str:
        """For people."""
        of_capture = f", init seed {self.capture.seed}, batch of {self.capture.batch_size}"
        where = ", ".join(filter(None, (self.trial.design, self.trial.name)))
        shown = of_capture if (self.capture.seed, self.capture.batch_size) != (0, 8) else ""
        return f"{where}, {self.method.name}, seed {self.seed}{shown}"

    @property
    def folder(self) -> Path:
        """Below that of the study."""
        names = [self.trial.design, self.trial.name, self.method.name, f"seed {self.seed}"]
        if (self.capture.seed, self.capture.batch_size) != (0, 8):
            names.append(f"init {self.capture.seed} batch {self.capture.batch_size}")
        return Path("cells", *(quote(name.replace(", ", " ").replace(" ", "-"), safe="") for name in names if name))


def study(
    plan: Plan,
    truth: Mapping[str, Ground],
    *,
    run_dir: Path,
    home: Path,
    workers: Workers,
    resume: bool = False,
    observe: Callable[[Standing], None] = lambda _: None,
    told: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run every cell that has not ended, then compare what was found.

    Cells take turns: what several are to measure exactly on the same architectures is measured for all of them at once.

    Args:
        plan: what to do.
        truth: the ground truth that the plan names.
        run_dir: folder of the study. Methods, designs and seeds may be added to a study that is there; its evaluations are
            those of each cell.
        home: where samples and measured features are kept.
        observe, told, progress: told how a discovery stands, when a cell ends, and how measuring goes on.
        stop: asked at every safe point.

    Returns:
        ``rows`` (`autoprox.studies.outcome.rows_of`), ``versions`` and ``seconds``.

    Raises:
        InputError: a design does not fit its ground truth, or the folder holds another study.
        InterruptedRunError: ``stop`` said so.
    """
    trials = [
        trial
        for design in plan.designs
        for trial in trials_of(design, {name: ground.groups for name, ground in truth.items()})
    ]
    for trial in trials:
        check_truth(trial.groups, trial.testing)
    identity = {
        "fitness": plan.fitness,
        "truth": {name: [*ground.record(), *(g.label_kinds for g in ground.groups)] for name, ground in truth.items()},
    }
    folder = RunFolder(run_dir, "study", identity, resume)
    state, _ = folder.load()
    before, began = float((state or {}).get("seconds", 0.0)), time.monotonic()
    cells = [
        Cell(trial, method, trial.seeds[place], capture)
        for place in range(max(len(trial.seeds) for trial in trials))  # seed by seed: all methods have as many
        for trial in trials
        if place < len(trial.seeds)
        for method in plan.methods
        if method.given is None
        for capture in plan.captures
    ]
    laboratory = Laboratory(home, workers, progress)
    found: dict[Path, Expression | str] = {}
    asked: dict[Path, PostponedError] = {}
    waiting = cells
    while waiting:
        for cell in waiting:
            if stop():
                raise InterruptedRunError(f"stopped; continue with the same command and --resume --run-dir {run_dir}")
            run = partial(_run, cell, plan, truth, run_dir, home, workers, observe, progress, stop)
            try:
                found[cell.folder] = run(postpone=True)
            except PostponedError as error:
                if cell.folder not in asked or asked[cell.folder].expressions != error.expressions:
                    asked[cell.folder] = error.with_traceback(None)  # whose frames hold all samples of the run
                    told(f"{cell.name}: {error}")
                    continue
                found[cell.folder] = run(postpone=False)  # a network was lost, which is not known to the memo
            folder.save({"seconds": before + time.monotonic() - began, "cells": len(found), "of": len(cells)})
            told(f"cell {len(found)} of {len(cells)}: {cell.name}: {_text(found[cell.folder])}")
        waiting = [cell for cell in waiting if cell.folder not in found]
        _measure([asked[cell.folder] for cell in waiting], laboratory)
    rows = rows_of(trials, plan, [_found(trial, plan, found) for trial in trials], laboratory)
    record = {
        "format": "autoprox-study",
        "version": 1,
        "rows": rows,
        **({"left_out": left_out(laboratory.lost)} if laboratory.lost else {}),
        "versions": versions(),
        "seconds": round(before + time.monotonic() - began, 1),
    }
    write_json(run_dir / RESULT, record)
    return record


def _run(
    cell: Cell,
    plan: Plan,
    truth: Mapping[str, Ground],
    run_dir: Path,
    home: Path,
    workers: Workers,
    observe: Callable[[Standing], None],
    progress: Progress,
    stop: Callable[[], bool],
    postpone: bool,
) -> Expression | str:
    """The proxy that a cell has found, or why there is none."""
    path = run_dir / cell.folder
    trial, settings = cell.trial, plan.settings(cell.method, cell.trial.plan, cell.seed, cell.capture)
    benchmarks = [table for name in trial.truth for table in truth[name].record()]
    there = discovered(trial.groups, settings, path, benchmarks, trial.testing)
    if there is not None:
        return there.expression
    try:
        return discover(
            trial.groups,
            settings,
            run_dir=path,
            home=home,
            workers=workers,
            benchmarks=benchmarks,
            tables=[table for name in trial.truth for table in truth[name].tables],
            testing=trial.testing,
            resume=(path / SETTINGS).exists(),
            postpone=postpone,
            observe=observe,
            progress=progress,
            stop=stop,
        ).proxy.expression
    except InterruptedRunError:
        raise InterruptedRunError(f"stopped; continue with the same command and --resume --run-dir {run_dir}") from None
    except NoScoreError as error:
        return str(error)


def _measure(postponed: Sequence[PostponedError], laboratory: Laboratory) -> None:
    """Measure what cells wait for: together, where they wait for the same architectures."""
    together: dict[tuple[Any, ...], list[PostponedError]] = {}
    for asked in postponed:
        together.setdefault(tuple((f.settings, f.group.networks) for f in asked.fields), []).append(asked)
    for several in together.values():
        expressions = list(dict.fromkeys(expression for asked in several for expression in asked.expressions))
        parts = range(0, len(expressions), _TOGETHER)
        for number, first in enumerate(parts, 1):
            stage = f"measure for {len(several)} cells, part {number} of {len(parts)}"
            laboratory.scores(expressions[first : first + _TOGETHER], several[0].fields, stage)


def _text(found: Expression | str) -> str:
    return found if isinstance(found, str) else to_text(found)


def _found(trial: Trial, plan: Plan, found: Mapping[Path, Expression | str]) -> list[Found]:
    """What every method has to show in a trial, one a seed and capture, in the same order in all trials of a design."""
    return [
        Found(method.name, seed, capture, found[Cell(trial, method, seed, capture).folder])
        if method.given is None
        else Found(method.name, None, capture, method.given.expression)
        for method in plan.methods
        for seed in (trial.seeds if method.given is None else (0,))
        for capture in plan.captures
    ]
