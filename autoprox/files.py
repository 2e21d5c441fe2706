"""Atomic files: a reader sees the old content or the new, never a part, whatever happens in between."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoprox.errors import InputError, MissingError

try:
    import fcntl
except ImportError:  # Windows has no such locks: there nobody waits, and two processes in one folder are not noticed
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "check_writable",
    "clipped",
    "locked",
    "read_json",
    "read_text",
    "remove_unfinished",
    "replacing",
    "write_json",
    "write_text",
]

_LARGEST = 256 * 2**20  # bytes of JSON; what is larger is not one of our files, and need not fill the memory


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that takes the place of ``path`` when the block ends well."""
    path = Path(os.path.realpath(path))  # the file behind a link, not the link
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed in `replacing` have left of JSON files; nobody may be writing in the folder."""
    for left in folder.glob(f".*.json*.{'[a-z0-9_]' * 8}"):
        left.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock that a file stands for: one process, or thread, at a time; it ends with the process, kill -9 included.

    Raises:
        BlockingIOError: another one has it, and there is no time to wait.
        OSError: the file cannot be made.
    """
    with path.open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def write_text(path: Path, text: str) -> None:
    """Write a file atomically.

    A device or a pipe (``/dev/stdout``) is written to, not replaced.

    Raises:
        MissingError: it cannot be written; what was there before is still there.
    """
    try:
        if _is_special(path):
            path.write_text(text, encoding="utf-8")
            return
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MissingError(
            f"cannot write {clipped(path)}: {error.strerror or error}; make room or name another place "
            "(what was there before is unchanged)"
        ) from None


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_writable(path: Path) -> None:
    """Raise MissingError, before long work, where a file could not be written."""
    try:
        if not path.parent.is_dir():
            trouble = f"there is no folder {path.parent}"
        elif path.is_dir():
            trouble = "it is a folder"
        elif _is_special(path):
            return
        else:
            handle, name = tempfile.mkstemp(dir=os.path.dirname(os.path.realpath(path)), prefix=f".{path.name}.")
            os.close(handle)
            os.unlink(name)
            return
    except OSError as error:
        trouble = error.strerror or str(error)
    raise MissingError(f"cannot write {clipped(path)}: {trouble}; name another file with --out")


def clipped(value: object) -> str:
    """A text of a foreign file, or a path, short enough for a sentence."""
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented, without NaN."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; ``what`` says in errors what it should have been.

    Raises:
        InputError: there is no such file, or it is not JSON.
    """
    text = read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the {what} {path} is damaged or not JSON ({error})") from None


def read_text(path: Path, what: str) -> str:
    """Read a text file; ``what`` says in errors what it should have been.

    Raises:
        InputError: there is no such file, it cannot be read, or it has no end, as some devices, or one too far away.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise InputError(f"the {what} {path} is damaged: it has more than {_LARGEST // 2**20} MiB")
        return content.decode("utf-8-sig")  # editors of Windows write such a mark
    except FileNotFoundError:
        raise InputError(f"there is no {what} {clipped(path)}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the {what} {clipped(path)} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Without the path, which the sentence has already."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
