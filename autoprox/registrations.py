"""What a user has added to this process: operators and spaces of their own, and how worker processes come to know them.

A worker is a new process. It has run the top level of the user's script, and imports the module that a registration was made
in; a registration that is made nowhere else than inside a function or a notebook is out of its reach, which is an error.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

from autoprox.errors import InputError

__all__ = ["Registration", "digest_of", "fingerprints", "forget", "record", "recorded", "repeat"]


@dataclass(frozen=True)
class Registration:
    """One addition.

    Attributes:
        kind: ``operator`` or ``space``.
        name: what it is called.
        digest: of its definition, so that numbers of another one of the same name are not taken for its own.
        module: where the registration was made.
    """

    kind: str
    name: str
    digest: str
    module: str


_made: dict[tuple[str, str], Registration] = {}


def record(registration: Registration) -> None:
    """Remember a registration."""
    _made[registration.kind, registration.name] = registration


def forget(kind: str, name: str) -> None:
    """Undo `record`."""
    _made.pop((kind, name), None)


def recorded() -> tuple[Registration, ...]:
    """All registrations of this process."""
    return tuple(_made.values())


def fingerprints() -> dict[str, str]:
    """{kind and name: digest} for the record of a run and for the identity of measured numbers."""
    return {f"{made.kind} {made.name}": made.digest for made in sorted(_made.values(), key=lambda m: (m.kind, m.name))}


def repeat(registrations: Iterable[Registration]) -> None:
    """Have the registrations of another process in this one as well, by importing the modules that made them.

    Raises:
        InputError: one is made nowhere that this process can reach.
    """
    for wanted in registrations:
        if _known(wanted):
            continue
        if wanted.module not in ("__main__", "__mp_main__") and wanted.module not in sys.modules:
            import_module(wanted.module)
        if not _known(wanted):
            raise InputError(
                f"a worker process does not know the {wanted.kind} {wanted.name!r}: it is registered in {wanted.module}, in a "
                "function or a notebook; register it at the top level of a script or module, or use workers=1"
            )


def _known(wanted: Registration) -> bool:
    found = _made.get((wanted.kind, wanted.name))
    return found is not None and found.digest == wanted.digest


def digest_of(*parts: object) -> str:
    """Of texts, and of the source of functions and classes, as far as it can be read; what they call is not looked into."""
    content = hashlib.sha256()
    for part in parts:
        content.update((_source(part) if callable(part) else str(part)).encode())
        content.update(b"\0")
    return content.hexdigest()[:16]


def _source(part: Callable[..., object]) -> str:
    try:
        return inspect.getsource(part)
    except (OSError, TypeError):  # of torch itself, or typed into an interpreter
        code = getattr(part, "__code__", None)
        name = str(getattr(part, "__qualname__", type(part).__qualname__))
        return name if code is None else f"{name} {code.co_code.hex()} {code.co_names} {code.co_varnames}"
