"""Atomic files: a reader sees the old content or the new, never a part, whatever happens in between."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoprox.errors import InputError, MissingError

__all__ = ["read_json", "replacing", "write_json", "write_text"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that takes the place of ``path`` when the block ends well."""
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a file atomically.

    Raises:
        MissingError: it cannot be written; the old content is still there.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MissingError(f"cannot write {path}: {error.strerror or error}; the file was left as it was") from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented, without NaN."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; ``what`` says in errors what it should have been.

    Raises:
        InputError: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no {what} {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the {what} {path} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a {what}: it is damaged or not JSON ({error})") from None
