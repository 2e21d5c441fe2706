"""What is kept to save time below the home folder: how much room it takes, and how to have it take less."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoprox.measuring.database import remove_database
from autoprox.measuring.screening import SAMPLES
from autoprox.measuring.store import DAMAGED, MEMO, FeatureStore

__all__ = ["Cache", "clear_cache", "limit_cache", "look_at_cache"]

_UNFINISHED = 3600.0  # seconds after which a temporary file is of no process that still writes it


@dataclass(frozen=True)
class Cache:
    """What is kept, in bytes.

    Attributes:
        features: the memo of exact features; it knows so many `networks` (each counts once for every setting that it was
            measured with) and `numbers`, which are features of them.
        samples: the files of samples for screening, `files` in number, one a network and setting.
        damaged: a memo that was set aside.
    """

    features: int
    networks: int
    numbers: int
    samples: int
    files: int
    damaged: int

    @property
    def total(self) -> int:
        return self.features + self.samples + self.damaged

    def to_json(self) -> dict[str, Any]:
        """The fields with their sum."""
        return {**asdict(self), "total": self.total}


def look_at_cache(home: Path) -> Cache:
    """Measure what is there; nothing is made.

    Raises:
        MissingError: the memo cannot be read.
        OSError: a folder cannot be read.
    """
    networks = numbers = 0
    if (home / MEMO).exists():
        with FeatureStore(home / MEMO) as store:
            networks, numbers, _ = store.contents()
    sizes = [_size(path) for path in _samples(home)]
    return Cache(_memo_size(home), networks, numbers, sum(sizes), len(sizes), _size(_damaged(home)))


def limit_cache(home: Path, most: int) -> int:
    """Have it take at most so many bytes, and return how many were removed.

    A damaged memo goes first, then samples, those first that were used least recently, and last the features of the networks
    that were measured first. An empty memo has some ten thousand bytes.
    """
    before = _memo_size(home)
    left = before + sum(map(_size, (_damaged(home), *_samples(home))))
    removed = 0
    for path in (_damaged(home), *sorted(_samples(home), key=_last_use)):
        if left - removed <= most:
            return removed
        removed += _remove(path)
    if before > most:
        with FeatureStore(home / MEMO) as store:
            store.shrink(most)
    return removed + before - _memo_size(home)


def clear_cache(home: Path) -> int:
    """Remove all of it, and return how many bytes; runs that are at work lose their samples and have to be resumed."""
    removed = _memo_size(home)
    remove_database(home / MEMO)
    return removed + sum(map(_remove, [_damaged(home), *_samples(home)]))


def _memo_size(home: Path) -> int:
    return sum(_size(Path(f"{home / MEMO}{suffix}")) for suffix in ("", "-wal", "-shm"))


def _damaged(home: Path) -> Path:
    return (home / MEMO).with_name(DAMAGED)


def _samples(home: Path) -> Iterator[Path]:
    """Files of samples, and what killed processes have left half written."""
    now = time.time()
    for path in (home / SAMPLES).rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and (path.name[0] != "." or now - path.stat().st_mtime > _UNFINISHED):
                yield path


def _last_use(path: Path) -> float:
    """Seconds since the epoch; many systems note a reading once a day only."""
    try:
        status = path.stat()
    except FileNotFoundError:  # removed by another process
        return 0.0
    return max(status.st_atime, status.st_mtime)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> int:
    size = _size(path)
    path.unlink(missing_ok=True)
    with suppress(OSError):  # others are in the folder
        path.parent.rmdir()
    return size
