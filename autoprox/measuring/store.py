"""The memo of features: one SQLite file that several runs may share. A number is computed once, ever.

The memo only saves time, so what is damaged in it is measured again, and a `Notice` says so: a number that is not as it was
written counts as unknown, and a file that is no sound database is set aside and begun anew.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from autoprox.measuring.database import Database
from autoprox.measuring.workers import Notice

__all__ = ["DAMAGED", "FORMAT", "MEMO", "FeatureStore", "Merged", "home_folder"]

Values = np.ndarray[Any, np.dtype[np.float64]]

MEMO = Path("cache") / "features.sqlite"
"""Where the memo is below the home folder."""
DAMAGED = "features-damaged.sqlite"
"""What a damaged memo is called when it is set aside."""

# Raise when a change of the code changes the numbers: older entries are then never read again.
_GENERATION = 2

_MERGED = 1000  # numbers in one transaction
_ASKED = 500  # networks in one question; SQLite allows a thousand in every version
FORMAT = 1
"""Of these tables; in format 0 the numbers had no checksums."""
_SCHEMA = """
CREATE TABLE networks (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE features (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE numbers (
    feature INTEGER NOT NULL, network INTEGER NOT NULL, blocks BLOB NOT NULL, PRIMARY KEY (feature, network)
) WITHOUT ROWID;
"""


def home_folder() -> Path:
    """``$AUTOPROX_HOME``, or the platform's folder for user data."""
    if home := os.environ.get("AUTOPROX_HOME"):
        return Path(home).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "autoprox"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "autoprox"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "autoprox"


@dataclass(frozen=True)
class Merged:
    """What became of entries of another home: taken over, known here, in conflict with what is here, or damaged there."""

    taken: int = 0
    known: int = 0
    conflicts: int = 0
    damaged: int = 0

    def __add__(self, other: Merged) -> Merged:
        return Merged(
            self.taken + other.taken,
            self.known + other.known,
            self.conflicts + other.conflicts,
            self.damaged + other.damaged,
        )


class FeatureStore:
    """Block values by (network, feature text), under one settings key.

    Several processes may read and write one file at a time (write-ahead log); each call is one transaction. A file that
    cannot be written is read, with a `Notice`.

    Raises:
        MissingError: the file cannot be read, or is not there and cannot be made, or a newer autoprox has made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = Database(path, "memo of measured features", DAMAGED, FORMAT, _bring_up)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _db(self) -> sqlite3.Connection:
        return self._file.connection

    def read(self, settings: str, networks: Sequence[str], features: Sequence[str]) -> dict[str, dict[str, Values]]:
        """Return {network: {feature: (blocks,)}} of what is known of these."""
        found: dict[str, dict[str, Values]] = {network: {} for network in networks}
        damaged: list[str] = []

        def gather() -> None:
            columns = {self._id("networks", _name(settings, n), create=False): n for n in networks}
            known = {column: network for column, network in columns.items() if column is not None}
            for feature in features:
                for column, sealed in self._rows_of(self._id("features", feature, create=False), list(known)):
                    network = known[column]
                    values = _unsealed(_name(settings, network), feature, sealed)
                    if values is None:
                        damaged.append(network)
                    else:
                        found[network][feature] = values

        self._file.does(gather)
        if damaged:
            warnings.warn(
                f"numbers of {len(set(damaged))} networks in {self.path} are damaged and will be measured again; is the disk "
                "sound?",
                Notice,
                stacklevel=2,
            )
        return found

    def _rows_of(self, feature: int | None, columns: Sequence[int]) -> Iterable[tuple[int, object]]:
        """What is kept of a feature for some networks: a search asks for a few out of thousands."""
        for i in range(0, len(columns), _ASKED):
            some = columns[i : i + _ASKED]
            marks = ",".join("?" * len(some))
            yield from self._db.execute(
                f"SELECT network, blocks FROM numbers WHERE feature = ? AND network IN ({marks})", (feature, *some)
            )

    def write(self, settings: str, values: Mapping[str, Mapping[str, Values]]) -> None:
        """Keep {network: {feature: (blocks,)}} in one transaction: all of it or nothing; nothing in a memo that is only read."""
        if self._file.read_only:
            return

        def keep() -> None:
            self._db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)", self._rows(settings, values))

        if not self._file.does(keep, "BEGIN IMMEDIATE"):
            self._file.does(keep, "BEGIN IMMEDIATE")  # in a new file

    def merge(self, rows: Iterable[tuple[object, object, object]]) -> Merged:
        """Keep (network, feature, sealed numbers) of another memo, as far as they are sound and not known here."""
        total, remaining = Merged(), iter(rows)
        while some := list(islice(remaining, _MERGED)):
            found: list[Merged] = []
            keep = partial(self._merge, some, found)
            if not self._file.does(keep, "BEGIN IMMEDIATE"):
                self._file.does(keep, "BEGIN IMMEDIATE")  # in a new file
            total += found[-1]
        return total

    def _merge(self, rows: Iterable[tuple[object, object, object]], found: list[Merged]) -> None:
        counts: Counter[str] = Counter()
        for row in rows:
            counts[self._merge_one(*row)] += 1
        found.append(Merged(**counts))

    def _merge_one(self, network: object, feature: object, sealed: object) -> str:
        """What became of it, as `Merged` calls it."""
        try:
            names = [name.decode() for name in (network, feature) if isinstance(name, bytes)]
            theirs = _unsealed(names[0], names[1], sealed)
        except (UnicodeDecodeError, IndexError):
            return "damaged"
        if theirs is None:
            return "damaged"
        column, row = self._id("networks", names[0]), self._id("features", names[1])
        for _, own in self._rows_of(row, [] if column is None else [column]):
            if (ours := _unsealed(names[0], names[1], own)) is not None:
                return "known" if ours.tobytes() == theirs.tobytes() else "conflicts"
        self._db.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)", (row, column, sealed))
        return "taken"

    def contents(self) -> tuple[int, int, int]:
        """How many networks it knows, how many features of them in all, and its bytes."""
        found = [0, 0, 0]

        def count() -> None:
            size = self._file.pragma("page_count") * self._file.pragma("page_size")
            found[:] = self._count("networks"), self._count("numbers"), size

        self._file.does(count)
        return found[0], found[1], found[2]

    def shrink(self, limit: int) -> None:
        """Forget networks, those first that were measured first, until it has at most so many bytes or is empty."""
        while True:
            networks, _, size = self.contents()
            if size <= limit or not networks:
                return
            self._file.does(partial(self._forget, ceil(networks * (1 - limit / size))), "BEGIN IMMEDIATE")
            self._file.compact()

    def _forget(self, count: int) -> None:
        self._db.execute("DELETE FROM networks WHERE id IN (SELECT id FROM networks ORDER BY id LIMIT ?)", (count,))
        self._db.execute("DELETE FROM numbers WHERE network NOT IN (SELECT id FROM networks)")
        self._db.execute("DELETE FROM features WHERE id NOT IN (SELECT feature FROM numbers)")

    def _rows(
        self, settings: str, values: Mapping[str, Mapping[str, Values]]
    ) -> Iterable[tuple[int | None, int | None, bytes]]:
        known: dict[str, int | None] = {}
        for network, row in values.items():
            name = _name(settings, network)
            column = self._id("networks", name)
            for feature, blocks in row.items():
                if feature not in known:
                    known[feature] = self._id("features", feature)
                yield known[feature], column, _sealed(name, feature, blocks.astype("<f8").tobytes())

    def _id(self, table: str, name: str, create: bool = True) -> int | None:
        if create:
            self._db.execute(f"INSERT OR IGNORE INTO {table} (name) VALUES (?)", (name,))
        row = self._db.execute(f"SELECT id FROM {table} WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def _count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def _bring_up(database: sqlite3.Connection, found: int) -> None:
    """The tables of a new file, or checksums for the numbers of an old one."""
    if not database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        return
    database.create_function("sealed", 3, _sealed)
    database.execute(
        "UPDATE numbers SET blocks = sealed((SELECT name FROM networks WHERE id = network), "
        "(SELECT name FROM features WHERE id = feature), blocks)"
    )


def _name(settings: str, network: str) -> str:
    return f"{_GENERATION}|{settings}|{network}"


def _sealed(network: str, feature: str, blocks: bytes) -> bytes:
    """Numbers with a checksum of them and of what they belong to."""
    return blocks + zlib.crc32(blocks, zlib.crc32(f"{network}|{feature}".encode())).to_bytes(4, "little")


def _unsealed(network: str, feature: str, sealed: object) -> Values | None:
    """The numbers, or None where they are not as they were written."""
    if not isinstance(sealed, bytes) or len(sealed) % 8 != 4 or _sealed(network, feature, sealed[:-4]) != sealed:
        return None
    return np.frombuffer(sealed[:-4], "<f8")
