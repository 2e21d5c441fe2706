"""The options of a run on the command line: what was given there counts, the rest is as the run began."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import typer

from autoprox.api import remembered
from autoprox.api.remembered import recall_all, remember, running
from autoprox.measuring.workers import Notice
from autoprox.run_folder import newest_folder

__all__ = ["recall", "recall_all", "remember", "running"]


def recall(
    context: typer.Context,
    kind: str,
    run_dir: Path | None,
    resume: bool,
    options: dict[str, Any],
    numbers: Collection[str] = (),
    option: str = "--run-dir",
) -> dict[str, Any]:
    """`autoprox.api.remembered.recall` of the options that were typed."""
    if resume and run_dir is None:
        warnings.warn(f"going on with {newest_folder(kind, option=option)}", Notice, stacklevel=2)
    given = [name for name in options if _is_given(context, name)]
    return remembered.recall(given, kind, run_dir, resume, options, numbers, option)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
