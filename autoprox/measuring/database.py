"""A SQLite file that several processes share and that only saves time: a damaged one is set aside and begun anew.

One that cannot be written, as on a read-only disk, is read, and a `Notice` says so.
"""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from autoprox.errors import MissingError
from autoprox.files import locked
from autoprox.measuring.workers import Notice

__all__ = ["Database", "remove_database"]

_PATIENCE = 60.0  # seconds to wait for another process that writes

# What the disk, the system or another process can be blamed for; any other error of SQLite means a damaged file.
_OUTSIDE = {
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_AUTH,
}  # fmt: skip

_told: set[Path] = set()  # files that are only read, once a process


class Database:
    """A connection to the file, in write-ahead mode; texts are read as bytes, since damaged ones need not be texts.

    Args:
        what: the file in messages, such as ``memo``.
        aside: name that a damaged file gets, beside the sound one and instead of an earlier one.
        version: of the tables in it, ``PRAGMA user_version``.
        bring_up: makes the tables of that version, in a transaction, out of those of an older one; 0 and no tables: a new file.

    Attributes:
        read_only: the file or its folder cannot be written; what is there can be read, and work that writes fails.

    Raises:
        MissingError: the file cannot be read, or is not there and cannot be made, or has a newer version.
    """

    def __init__(
        self,
        path: Path,
        what: str,
        aside: str,
        version: int,
        bring_up: Callable[[sqlite3.Connection, int], None],
    ) -> None:
        self.path, self._what, self._aside = path, what, path.with_name(aside)
        self._version, self._bring_up = version, bring_up
        self.connection: sqlite3.Connection
        self.read_only = False
        self._open()

    def does(self, work: Callable[[], None], begin: str = "BEGIN") -> bool:
        """Do some work in a transaction. False: the file was damaged; it is new now, and nothing of the work is in it.

        Raises:
            MissingError: the file cannot be read or written.
        """
        try:
            with self._transaction(begin):
                work()
        except sqlite3.Error as error:
            self._recover(error)
            return False
        return True

    def compact(self) -> None:
        """Give the room of what was deleted back to the disk."""
        try:
            self.connection.execute("VACUUM")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._recover(error)

    def pragma(self, name: str) -> int:
        return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _recover(self, error: sqlite3.Error) -> None:
        if self.read_only or not _is_damage(error):
            with self._outside():
                raise error
        with suppress(sqlite3.Error):
            self.connection.close()
        self._open(error)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self.connection.execute(begin)
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise

    def _open(self, damage: sqlite3.Error | None = None) -> None:
        with self._outside():
            if self.path.is_file() and not all(os.access(p, os.W_OK) for p in (self.path, self.path.parent)):
                self._open_read_only()
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(_lock(self.path)):  # nobody opens what is being set aside
                if damage is not None and self._is_in_place():
                    self._set_aside(damage)
                try:
                    self._connect()
                except sqlite3.Error as error:
                    if not _is_damage(error):
                        raise
                    self._set_aside(error)
                    self._connect()

    def _open_read_only(self) -> None:
        log = Path(f"{self.path}-wal")
        # without a log nobody is writing; SQLite then reads the file without the files of its own that it cannot make
        mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
        self.connection = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?{mode}", uri=True, timeout=_PATIENCE, isolation_level=None
        )
        self.read_only = True
        with self._closed_on_failure():
            self.connection.text_factory = bytes
            self._check_version(self.pragma("user_version"))
        if self.path.absolute() not in _told:
            _told.add(self.path.absolute())
            _tell(
                f"the {self._what} {self.path} cannot be written; what is in it is used, and what is measured now is not kept"
            )

    def _connect(self) -> None:
        self.connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        with self._closed_on_failure():
            self.connection.text_factory = bytes
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.execute("PRAGMA synchronous=NORMAL")
            self._check_version(self.pragma("user_version"))
            self._file = os.stat(self.path)

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.connection.close()
            raise

    def _check_version(self, found: int) -> None:
        if found > self._version:
            raise MissingError(
                f"the {self._what} {self.path} has format {found}, and this autoprox knows formats up to {self._version}; "
                "use the newer autoprox that made it, or point AUTOPROX_HOME at another folder"
            )
        if found < self._version:
            new = not self.connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            with self._transaction("BEGIN IMMEDIATE"):
                self._bring_up(self.connection, found)
                self.connection.execute(f"PRAGMA user_version = {self._version}")
            if not new:
                _tell(f"the {self._what} {self.path} has format {found} and is brought up to format {self._version}")

    def _is_in_place(self) -> bool:
        """Whether the file is still the one that was opened; another process may have set it aside."""
        try:
            return os.path.samestat(os.stat(self.path), self._file)
        except FileNotFoundError:
            return False

    def _set_aside(self, error: sqlite3.Error) -> None:
        self.path.replace(self._aside)
        _remove_logs(self.path)
        _tell(
            f"the {self._what} {self.path} is damaged ({error}); it is set aside as {self._aside.name}, and what was in it "
            "is measured again"
        )

    @contextmanager
    def _outside(self) -> Iterator[None]:
        """Say what can be done about trouble with the disk, the system or another process."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and _code(error) is None:
                raise  # not the file, but how it is used
            raise MissingError(
                f"the {self._what} {self.path} cannot be used ({error}); free some disk space, make it writable, or point "
                "AUTOPROX_HOME at another folder (it may be deleted: it only saves time)"
            ) from None


def remove_database(path: Path) -> None:
    """Delete the file; a process that has it open keeps what it has until it ends.

    Raises:
        OSError: it cannot be deleted.
    """
    if path.exists():
        with locked(_lock(path)):
            path.unlink(missing_ok=True)
            _remove_logs(path)


def _remove_logs(path: Path) -> None:
    for suffix in ("-wal", "-shm"):  # a new file must not find the log of the old one
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's number of an error; None where Python itself refused something."""
    return getattr(error, "sqlite_errorcode", None)


def _is_damage(error: sqlite3.Error) -> bool:
    code = _code(error)
    if code in (
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_READONLY_DBMOVED,
    ):  # cut off; set aside by another process
        return True
    return code is not None and code & 0xFF not in _OUTSIDE


def _tell(text: str) -> None:
    warnings.warn(text, Notice, stacklevel=2)
