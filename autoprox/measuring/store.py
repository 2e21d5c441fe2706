"""The memo of features: one SQLite file that several runs may share. A number is computed once, ever."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoprox.errors import MissingError

__all__ = ["MEMO", "FeatureStore", "home_folder"]

Values = np.ndarray[Any, np.dtype[np.float64]]

MEMO = Path("cache") / "features.sqlite"
"""Where the memo is below the home folder."""

# Raise when a change of the code changes the numbers: older entries are then never read again.
_GENERATION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS networks (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS features (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS numbers (
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


class FeatureStore:
    """Block values by (network, feature text), under one settings key.

    Several processes may read and write one file at a time (write-ahead log); each call writes one transaction.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._trouble(error) from None

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, settings: str, networks: Sequence[str], features: Sequence[str]) -> dict[str, dict[str, Values]]:
        """Return {network: {feature: (blocks,)}} of what is known of these."""
        found: dict[str, dict[str, Values]] = {network: {} for network in networks}
        try:
            rows = {f: self._id("features", f, create=False) for f in features}
            columns = {self._id("networks", _name(settings, n), create=False): n for n in networks}
            for feature, row in rows.items():
                if row is not None:
                    for network, blob in self._db.execute(
                        "SELECT network, blocks FROM numbers WHERE feature = ?", (row,)
                    ):
                        if network in columns:
                            found[columns[network]][feature] = np.frombuffer(blob, "<f8")
        except (sqlite3.Error, ValueError) as error:  # ValueError: a damaged number
            raise self._trouble(error) from None
        return found

    def write(self, settings: str, values: Mapping[str, Mapping[str, Values]]) -> None:
        """Keep {network: {feature: (blocks,)}} in one transaction: all of it or nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)", self._rows(settings, values))
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def _rows(
        self, settings: str, values: Mapping[str, Mapping[str, Values]]
    ) -> Iterable[tuple[int | None, int | None, bytes]]:
        known: dict[str, int | None] = {}
        for network, row in values.items():
            column = self._id("networks", _name(settings, network))
            for feature, blocks in row.items():
                if feature not in known:
                    known[feature] = self._id("features", feature)
                yield known[feature], column, blocks.astype("<f8").tobytes()

    def _id(self, table: str, name: str, create: bool = True) -> int | None:
        if create:
            self._db.execute(f"INSERT OR IGNORE INTO {table} (name) VALUES (?)", (name,))
        row = self._db.execute(f"SELECT id FROM {table} WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def _trouble(self, error: Exception) -> MissingError:
        return MissingError(
            f"the memo of measured features {self.path} cannot be used ({error}); free some disk space, make it writable, or "
            "point AUTOPROX_HOME at another folder (it may be deleted: it only saves time)"
        )


def _name(settings: str, network: str) -> str:
    return f"{_GENERATION}|{settings}|{network}"
