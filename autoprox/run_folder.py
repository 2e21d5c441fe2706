"""The folder of a run: settings, an append-only journal and a state that says how much of the journal counts.

After a kill the state is that of the last finished step; journal lines beyond it are dropped and made again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from autoprox.errors import InputError, MissingError
from autoprox.files import read_json, write_json

__all__ = ["RunFolder", "next_folder"]


class RunFolder:
    """One run on disk.

    Args:
        path: the folder.
        kind: what runs there, such as ``discover``.
        settings: JSON of all that decides the result; a resumed run must have the same.
        resume: continue the run that is there; otherwise the folder must hold none.

    Raises:
        InputError: there is a run already, or none to resume, or it has other settings.
        MissingError: the folder cannot be written.
    """

    def __init__(self, path: Path, kind: str, settings: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self._journal = path / "journal.jsonl"
        self._lines = 0
        record = {"format": f"autoprox-{kind}-run", "version": 1, "settings": dict(settings)}
        there = path / "settings.json"
        if resume:
            self._check(read_json(there, "settings file of a run") if there.exists() else None, record)
        elif there.exists():
            raise InputError(
                f"{path} already holds a run; continue it with --resume, or name another folder with --run-dir"
            )
        else:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MissingError(f"cannot make the run folder {path}: {error.strerror}") from None
            write_json(there, record)

    def _check(self, found: Any, expected: dict[str, Any]) -> None:
        if found is None:
            raise InputError(f"there is no run to resume in {self.path}; start one without --resume")
        if not isinstance(found, dict) or found.get("format") != expected["format"]:
            raise InputError(f"{self.path} holds no run of this command; name another folder with --run-dir")
        old, new = found.get("settings", {}), json.loads(json.dumps(expected["settings"]))
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                raise InputError(
                    f"the run in {self.path} has {name} = {json.dumps(old.get(name))}, now {json.dumps(new.get(name))} "
                    "is asked for; resume with the same settings, or name another folder with --run-dir"
                )

    def load(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """The last state and the journal up to it; (None, []) where no step was finished."""
        state_path = self.path / "state.json"
        if not state_path.exists():
            self._journal.unlink(missing_ok=True)
            return None, []
        record = read_json(state_path, "state of a run")
        if not isinstance(record, dict) or not isinstance(record.get("lines"), int) or "state" not in record:
            raise InputError(f"{state_path} is damaged: it does not say how far the run was; start a new run")
        kept: list[bytes] = []
        if self._journal.exists():
            with self._journal.open("rb") as file:
                kept = list(islice(file, record["lines"]))
        try:
            entries = [json.loads(line) for line in kept]
        except ValueError as error:
            raise InputError(f"{self._journal} is damaged ({error}); start a new run") from None
        if len(kept) < record["lines"]:
            expected = f"expected {record['lines']} lines, found {len(kept)}"
            raise InputError(f"{self._journal} is damaged: {expected}; start a new run")
        if kept:
            os.truncate(self._journal, sum(map(len, kept)))
        self._lines = len(kept)
        return record["state"], entries

    def save(self, state: Mapping[str, Any], entries: Iterable[Mapping[str, Any]] = ()) -> None:
        """Append journal entries, then make the state that counts them current."""
        try:
            with self._journal.open("a", encoding="utf-8") as file:
                for entry in entries:
                    file.write(json.dumps(entry, allow_nan=False) + "\n")
                    self._lines += 1
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MissingError(
                f"cannot write {self._journal}: {error.strerror}; free some disk space and --resume"
            ) from None
        write_json(self.path / "state.json", {"lines": self._lines, "state": state})


def next_folder(kind: str, resume: bool, root: Path = Path("runs")) -> Path:
    """``runs/KIND-N``: the next free one, or the newest to resume."""
    pattern = re.compile(rf"{re.escape(kind)}-(\d+)")
    taken = [int(m[1]) for p in root.glob(f"{kind}-*") if (m := pattern.fullmatch(p.name))] if root.is_dir() else []
    if resume and not taken:
        raise InputError(
            f"there is no {root}/{kind}-N to resume; start a run without --resume, or name its folder with --run-dir"
        )
    return root / f"{kind}-{max(taken, default=0) + (0 if resume else 1)}"
