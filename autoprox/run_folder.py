"""The folder of a run: settings, an append-only journal and a state that says how much of the journal counts.

After a kill the state is that of the last finished step; journal lines beyond it are dropped and made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from autoprox.errors import InputError, MissingError
from autoprox.files import clipped, locked, read_json, remove_unfinished, write_json

__all__ = [
    "SETTINGS",
    "RunFolder",
    "claimed",
    "discard",
    "kind_in",
    "kind_of",
    "new_folder",
    "newest_folder",
    "newest_of",
]

SETTINGS = "settings.json"
_STATE, _JOURNAL, _LOCK = "state.json", "journal.jsonl", ".lock"


class RunFolder:
    """One run on disk.

    Args:
        path: the folder.
        kind: what runs there, such as ``discover``.
        settings: JSON of all that decides the result; a resumed run must have the same.
        resume: continue the run that is there; otherwise the folder must hold none.
        option: of the command line, which names the folder.

    Raises:
        InputError: there is a run already, or none to resume, or it has other settings.
        MissingError: the folder cannot be written.
    """

    def __init__(
        self, path: Path, kind: str, settings: Mapping[str, Any], resume: bool, option: str = "--run-dir"
    ) -> None:
        self.path, self._option = path, option
        self._journal = path / _JOURNAL
        self._lines = self._size = 0
        self._digest = hashlib.sha256()
        record = {"format": f"autoprox-{kind}-run", "version": 1, "settings": dict(settings)}
        there = path / SETTINGS
        if resume:
            self._check(read_json(there, "settings file of a run") if there.exists() else None, record)
        elif there.exists():
            raise InputError(
                f"{path} already holds a run; continue it with --resume, or name another folder with {option}"
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
        if not isinstance(found, dict) or any(found.get(name) != expected[name] for name in ("format", "version")):
            raise InputError(
                f"{self.path} holds no run of this command and version; name another folder with {self._option}"
            )
        old, new = found.get("settings"), json.loads(json.dumps(expected["settings"]))
        if not isinstance(old, dict):
            raise InputError(f"{self.path / SETTINGS} is damaged: expected 'settings' to be an object; start a new run")
        if differs := _difference(old, new):
            name, before, now = differs
            raise InputError(
                f"the run in {self.path} has {name} = {clipped(json.dumps(before))}, now {clipped(json.dumps(now))} is asked "
                f"for; resume with the same settings, or name another folder with {self._option}"
            )

    def load(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """The last state and the journal up to it; (None, []) where no step was finished."""
        state_path = self.path / _STATE
        remove_unfinished(self.path)  # results too: a kill may come while they are written
        if not state_path.exists():
            self._journal.unlink(missing_ok=True)
            return None, []
        record = read_json(state_path, "state of a run")
        lines = record.get("lines") if isinstance(record, dict) else None
        if type(lines) is not int or lines < 0 or not isinstance(record.get("state"), dict):
            raise InputError(f"{state_path} is damaged: it does not say how far the run was; start a new run")
        kept: list[bytes] = []
        if self._journal.exists():
            with self._journal.open("rb") as file:
                kept = list(islice(file, lines))
        if len(kept) < lines:
            raise InputError(f"{self._journal} is damaged: expected {lines} lines, found {len(kept)}; start a new run")
        for line in kept:
            self._digest.update(line)
        try:
            as_written = record.get("digest") == _sealed(self._digest, record["state"])
        except (ValueError, RecursionError):  # the state has what no run writes
            as_written = False
        if not as_written:
            raise InputError(
                f"{self.path} is damaged: {_STATE} or {_JOURNAL} is not as the run wrote it; start a new run"
            )
        self._lines, self._size = lines, sum(map(len, kept))
        if kept:
            os.truncate(self._journal, self._size)
        return record["state"], [json.loads(line) for line in kept]

    def save(self, state: Mapping[str, Any], entries: Iterable[Mapping[str, Any]] = ()) -> None:
        """Append journal entries, then make the state that counts them current.

        Raises:
            MissingError: the disk is full or gone; the folder is as it was, and may be saved to again.
        """
        lines = [json.dumps(entry, allow_nan=False).encode() + b"\n" for entry in entries]
        text = b"".join(lines)
        digest = self._digest.copy()
        digest.update(text)
        count = self._lines + len(lines)
        try:
            with self._journal.open("ab") as file:
                file.truncate(self._size)  # without what a save that failed has left
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MissingError(
                f"cannot write {self._journal}: {error.strerror}; free some disk space and --resume"
            ) from None
        try:
            write_json(self.path / _STATE, {"lines": count, "digest": _sealed(digest, state), "state": state})
        except MissingError as error:
            raise MissingError(f"{error}; then go on with --resume") from None
        self._lines, self._size, self._digest = count, self._size + len(text), digest


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first setting that is another one, and both; of settings that are records themselves the part that differs."""
    name = next((name for name in sorted({*old, *new}) if old.get(name) != new.get(name)), None)
    if name is None:
        return None
    before, now = old.get(name), new.get(name)
    if isinstance(before, dict) and isinstance(now, dict) and (inner := _difference(before, now)):
        return f"{name}.{inner[0]}", inner[1], inner[2]
    return name, before, now


def _sealed(journal: hashlib._Hash, state: Mapping[str, Any]) -> str:
    """A digest of the journal up to a state and of the state."""
    digest = journal.copy()
    digest.update(json.dumps(state, allow_nan=False).encode())
    return digest.hexdigest()


def new_folder(kind: str, root: Path = Path("runs")) -> Path:
    """Make ``runs/KIND-N``, the next number; of two processes at once each gets its own."""
    number = max(_numbers(kind, root), default=0) + 1
    while True:
        path = root / f"{kind}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not path.is_dir():
                raise MissingError(f"cannot make the run folder {path}: {root} is not a folder") from None
            number += 1
        except OSError as error:
            raise MissingError(f"cannot make the run folder {path}: {error.strerror}") from None
        else:
            return path


def kind_of(path: Path) -> str | None:
    """The kind of run that a folder holds; None where it holds none, or its settings cannot be read."""
    try:
        record = json.loads((path / SETTINGS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return kind_in(record)


def kind_in(settings: object) -> str | None:
    """The kind of run that a settings file is of, by its format."""
    found = re.fullmatch(r"autoprox-(\w+)-run", str(settings.get("format"))) if isinstance(settings, dict) else None
    return found[1] if found else None


def newest_of(kinds: Collection[str], root: Path = Path("runs")) -> Path | None:
    """Of the runs of some kinds in a folder, whatever they are called, the one that was started last; None without any."""
    started = [(path.stat().st_mtime_ns, path.parent) for path in root.glob(f"*/{SETTINGS}")]
    return next((folder for _, folder in sorted(started, reverse=True) if kind_of(folder) in kinds), None)


def newest_folder(kind: str, root: Path = Path("runs"), option: str = "--run-dir") -> Path:
    """The newest run of a kind; InputError where there is none."""
    found = newest_of([kind], root)
    if found is None:
        raise InputError(
            f"there is no {kind} run in {root}/ to resume; start one without --resume, or name its folder with {option}"
        )
    return found


def _numbers(kind: str, root: Path) -> list[int]:
    pattern = re.compile(rf"{re.escape(kind)}-(\d+)")
    return [int(m[1]) for p in root.glob(f"{kind}-*") if (m := pattern.fullmatch(p.name))] if root.is_dir() else []


@contextmanager
def claimed(path: Path, option: str = "--run-dir") -> Iterator[None]:
    """Make a run's folder this process's own, so that two never write one run.

    Raises:
        InputError: another process has it.
        MissingError: it cannot be made.
    """
    with ExitStack() as held:
        try:
            path.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(path / _LOCK, wait=False))
        except BlockingIOError:
            raise InputError(
                f"another process is at work in {path}; wait until it ends, or name another folder with {option}"
            ) from None
        except OSError as error:
            raise MissingError(f"cannot make the run folder {clipped(path)}: {error.strerror}") from None
        yield


def discard(path: Path, *more: str) -> None:
    """Remove what the start of a run has written, and the folder if it is empty then; a run with steps stays."""
    if not any((path / name).exists() for name in (_STATE, _JOURNAL)):
        for name in (SETTINGS, _LOCK, *more):
            (path / name).unlink(missing_ok=True)
        with suppress(OSError):
            path.rmdir()
