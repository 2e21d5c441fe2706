"""The options of a run, kept in its folder, so that ``--resume`` alone goes on with what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from autoprox.errors import AutoproxError, InputError, InterruptedRunError
from autoprox.files import clipped, read_json, write_json
from autoprox.run_folder import SETTINGS, claimed, discard, new_folder, newest_folder

__all__ = ["recall", "running"]

_FILE = "options.json"


def recall(
    context: typer.Context, kind: str, run_dir: Path | None, resume: bool, options: dict[str, Any]
) -> dict[str, Any]:
    """The options; of a resumed run those that were not given now are as they were when it began.

    Raises:
        InputError: there is no run to resume.
    """
    if not resume:
        return options
    folder = run_dir or newest_folder(kind)
    if not (folder / SETTINGS).exists():
        raise InputError(f"there is no run to resume in {folder}; start one without --resume")
    path = folder / _FILE
    if not path.exists():
        return options
    before = read_json(path, "options file of a run")
    if not isinstance(before, dict):
        raise InputError(
            f"{path} is damaged: expected an object, found {type(before).__name__}; delete it and give all options"
        )
    for name, value in options.items():
        if not _is_like(before.get(name, value), value):
            raise InputError(
                f"{path} is damaged: {name} is {clipped(repr(before[name]))}; delete it and give all options"
            )
    given = {name for name in options if _is_given(context, name)}
    return {name: value if name in given else before.get(name, value) for name, value in options.items()}


def _is_like(found: Any, default: Any) -> bool:
    if isinstance(default, list):
        return isinstance(found, list) and all(isinstance(item, str) for item in found)
    return (
        isinstance(found, str | None) if default is None or isinstance(default, str) else type(found) is type(default)
    )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


@contextmanager
def running(kind: str, run_dir: Path | None, resume: bool, options: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder of a run, which no other process has meanwhile; a new run's options are kept in it.

    A new run that fails before its first step leaves nothing behind, so that the mended command can be given as it is.
    """
    folder = run_dir or (newest_folder(kind) if resume else new_folder(kind))
    with claimed(folder):
        new = not resume and not (folder / SETTINGS).exists()
        try:
            if new:
                write_json(folder / _FILE, options)
            yield folder
        except InterruptedRunError:
            raise
        except (AutoproxError, OSError):
            if new:
                discard(folder, _FILE)
            raise
