"""What a run folder holds, read without changing it: the run may still be at work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from autoprox.errors import InputError
from autoprox.files import clipped, read_json
from autoprox.run_folder import SETTINGS, kind_in, newest_of

__all__ = ["KINDS", "Run", "newest_run", "read_run"]

KINDS = {"discover": "best.json", "search": "arch.json"}
"""Kinds of runs that can be reported, each with the file that it writes at its end."""

_WHICH = "a report can be made of the run folders of 'autoprox discover' and 'autoprox search'"
_OTHERS = {
    "study": "its table is the study.json in it, and the file that --out named; each discovery below cells/ can be reported",
    "build": "the table that it makes is shown by 'autoprox bench show NAME'",
    "train": "what the training came to stands in its training.json",
}


@dataclass(frozen=True)
class Run:
    """A run as its folder has it.

    Attributes:
        kind: one of ``KINDS``.
        settings: all that decides the result.
        options: of the command line, as it was given; empty where the run was not started there.
        steps: the journal as far as the state counts it.
        seconds: of work so far; None where no step was finished.
        result: the file that the run wrote at its end; None before that.
    """

    path: Path
    kind: str
    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    steps: list[dict[str, Any]]
    seconds: float | None
    result: Path | None

    @property
    def seed(self) -> int:
        """Of the run; InputError where its settings have none."""
        seed = self.settings.get("seed")
        if type(seed) is not int or seed < 0:
            raise InputError(f"{clipped(self.path / SETTINGS)} is damaged: its seed is {clipped(repr(seed))}")
        return seed


def read_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: there is none, it is of another command or version, or a file in it is damaged.
    """
    if not path.is_dir():
        raise InputError(f"there is no run folder {clipped(path)}; {_WHICH}")
    if not (path / SETTINGS).exists():
        raise InputError(f"{clipped(path)} is no run folder: it has no {SETTINGS}; {_WHICH}")
    record = read_json(path / SETTINGS, "settings file of a run")
    form = record.get("format") if isinstance(record, dict) else None
    kind = kind_in(record)
    if kind in _OTHERS:
        raise InputError(f"{clipped(path)} is the folder of a {kind} run; {_OTHERS[kind]}; {_WHICH}")
    if kind not in KINDS or record.get("version") != 1 or not isinstance(record.get("settings"), dict):
        raise InputError(
            f"{path / SETTINGS} is damaged or of another version: expected the format autoprox-discover-run or "
            f"autoprox-search-run in version 1, found {clipped(repr(form))}; {_WHICH}"
        )
    options = read_json(path / "options.json", "options of a run") if (path / "options.json").exists() else {}
    lines, seconds = _state(path / "state.json")  # first: what it counts is in the journal, whatever is added meanwhile
    result = path / KINDS[kind]
    return Run(
        path=path,
        kind=kind,
        settings=record["settings"],
        options=options if isinstance(options, dict) else {},
        steps=_steps(path / "journal.jsonl", lines),
        seconds=seconds,
        result=result if result.exists() else None,
    )


def _state(path: Path) -> tuple[int, float | None]:
    """How many lines of the journal count, and the seconds of work until then."""
    if not path.exists():
        return 0, None
    record = read_json(path, "state of a run")
    lines = record.get("lines") if isinstance(record, dict) else None
    state = record.get("state") if isinstance(record, dict) else None
    if type(lines) is not int or lines < 0 or not isinstance(state, dict):
        raise InputError(f"{path} is damaged: it does not say how far the run was")
    seconds = state.get("seconds")
    return lines, float(seconds) if isinstance(seconds, int | float) else None


def _steps(path: Path, lines: int) -> list[dict[str, Any]]:
    if not lines:
        return []
    try:
        with path.open(encoding="utf-8") as file:
            steps = [json.loads(line) for line in islice(file, lines)]
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{clipped(path)} is damaged or cannot be read ({clipped(error)})") from None
    if len(steps) < lines or not all(isinstance(step, dict) for step in steps):
        raise InputError(f"{clipped(path)} is damaged: expected {lines} lines with an object each, found {len(steps)}")
    return steps


def newest_run(root: Path = Path("runs")) -> Path:
    """Of the runs that can be reported the one that was started last; InputError where there is none."""
    found = newest_of(KINDS, root)
    if found is None:
        raise InputError(f"there is no run in {root}/ to report; name a run folder: {_WHICH}")
    return found
