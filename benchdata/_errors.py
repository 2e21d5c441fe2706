"""The two ways in which ground truth fails: the table is wrong, or it is not there."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MissingTableError", "TableError", "read_bytes", "show", "unusable"]


class TableError(ValueError):
    """A table or a request for one is wrong: the text says where, what was expected and found, and what to do."""


class MissingTableError(LookupError):
    """A table is not installed, cannot be downloaded, read or written: the text says how to get it."""


_LONGEST = 100  # characters; a SHA-256 has 64


def show(value: object) -> str:
    """A value as one short line, whatever a foreign file holds."""
    if isinstance(value, str):
        text = " ".join(ascii(value)[1:-1].split())
        return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)} values"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    return (
        repr(value) if value is None or isinstance(value, (int, float)) else f"a value of type {type(value).__name__}"
    )


def unusable(where: str, expected: str, found: object, remedy: str) -> TableError:
    """The error for content that is not what the format demands."""
    return TableError(f"{where}: expected {expected}, found {show(found)}; {remedy}")


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        MissingTableError: the file is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingTableError(
            f"{path}: cannot be read ({error.strerror or error}); check that the file is there and readable"
        ) from error
