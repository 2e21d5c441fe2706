"""The options of a run, kept in its folder, so that ``--resume`` alone goes on with what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from autoprox.errors import AutoproxError, InputError, InterruptedRunError
from autoprox.files import clipped, read_json, write_json
from autoprox.run_folder import SETTINGS, claimed, discard, kind_of, new_folder, newest_folder

__all__ = ["changed", "recall", "recall_all", "remember", "running"]

_FILE = "options.json"


def recall(
    given: Collection[str],
    kind: str,
    run_dir: Path | None,
    resume: bool,
    options: dict[str, Any],
    numbers: Collection[str] = (),
    option: str = "--run-dir",
) -> dict[str, Any]:
    """The options; of a resumed run those that were not given now are as they were when it began.

    Args:
        given: names of the options that were given now.
        options: {name: value}; what may be absent is None, and otherwise a text, unless it is one of the `numbers`.
        option: which names the folder of a run.

    Raises:
        InputError: there is no run to resume, or its options are damaged.
    """
    if not resume:
        return options
    folder = run_dir or newest_folder(kind, option=option)
    if not (folder / SETTINGS).exists():
        raise InputError(f"there is no run to resume in {folder}; start one without --resume")
    if (found := kind_of(folder)) not in (kind, None):
        raise InputError(f"{clipped(folder)} is the folder of a {found} run; expected one of a {kind} run")
    path, before = folder / _FILE, recall_all(folder)
    taken = {name for name in options if name in before and name not in given}
    for name in taken:
        if not _is_like(before[name], options[name], name in numbers):
            raise InputError(
                f"{path} is damaged: {name} is {clipped(repr(before[name]))}; delete it and give all options"
            )
    return {name: before[name] if name in taken else value for name, value in options.items()}


def recall_all(folder: Path) -> dict[str, Any]:
    """The options that a run began with; none where they are not kept.

    Raises:
        InputError: they are damaged.
    """
    path = folder / _FILE
    if not path.exists():
        return {}
    before = read_json(path, "options file of a run")
    if not isinstance(before, dict):
        raise InputError(
            f"{path} is damaged: expected an object, found {type(before).__name__}; delete it and give all options"
        )
    return before


def changed(function: Callable[..., Any], options: Mapping[str, Any]) -> list[str]:
    """The names of the options that a caller of the function has set, as far as can be told: those not at their defaults."""
    parameters = signature(function).parameters
    return [name for name, value in options.items() if value != parameters[name].default]


def _is_like(found: Any, default: Any, number: bool) -> bool:
    if isinstance(default, list):
        return isinstance(found, list) and all(isinstance(item, str) for item in found)
    if default is None or isinstance(default, str):
        return found is None or type(found) in ((int, float) if number else (str,))
    return type(found) is type(default)


def remember(folder: Path, options: dict[str, Any]) -> None:
    """Keep the options in the folder of a run, instead of those that were there."""
    write_json(folder / _FILE, options)


@contextmanager
def running(
    kind: str, run_dir: Path | None, resume: bool, options: dict[str, Any], option: str = "--run-dir"
) -> Iterator[Path]:
    """Yield the folder of a run, which no other process has meanwhile; a new run's options are kept in it.

    A new run that fails before its first step leaves nothing behind, so that the mended command can be given as it is.
    """
    folder = run_dir or (newest_folder(kind, option=option) if resume else new_folder(kind))
    with claimed(folder, option):
        new = not resume and not (folder / SETTINGS).exists()
        try:
            if new:
                remember(folder, options)
            yield folder
        except InterruptedRunError:
            raise
        except (AutoproxError, OSError):
            if new:
                discard(folder, _FILE)
            raise
