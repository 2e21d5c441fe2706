"""The options of a run, kept in its folder, so that ``--resume`` alone goes on with what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from autoprox.errors import InputError
from autoprox.files import read_json, write_json

__all__ = ["keep", "recall"]

_FILE = "options.json"


def recall(context: typer.Context, folder: Path, resume: bool, options: dict[str, Any]) -> dict[str, Any]:
    """The options; of a resumed run those that were not given now are as they were when it began."""
    path = folder / _FILE
    if not resume or not path.exists():
        return options
    before = read_json(path, "options of a run")
    if not isinstance(before, dict):
        raise InputError(
            f"{path} is damaged: expected an object, found {type(before).__name__}; delete it and give all options"
        )
    given = {name for name in options if _is_given(context, name)}
    return {name: value if name in given else before.get(name, value) for name, value in options.items()}


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def keep(folder: Path, options: dict[str, Any]) -> None:
    """Write the options of a new run; those of a run that is there already stay."""
    if (folder / "settings.json").exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # the run itself says why its folder cannot be made
    write_json(folder / _FILE, options)
