"""The page of the commands, from the application itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from autoprox.cli.application import app
from autoprox.report.reference.markdown import code, page, table

__all__ = ["commands_page"]


def commands_page() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    parts = [
        "`autoprox COMMAND --help` says the same. With `--json`, standard output holds one JSON object and "
        "nothing else. Exit codes: 0 "
        "done; 2 what you gave is wrong; 3 something outside is missing or broken; 130 interrupted, resumable. "
        "Options that take "
        "several values (`--proxy` of `rank` and `score`, `--model`, `--space` and `--dataset` of `bench build`) "
        "may be followed by "
        "all of them.",
    ]
    for path, run in _commands(app, ("autoprox",)):
        words = " ".join(inspect.cleandoc(run.__doc__ or "").split())
        parts += [f"## {' '.join(path)}", words]
        rows = list(_parameters(run))
        parts += [table(("option", "meaning", "default"), rows)] if rows else []
    return page("Commands", parts)


def _commands(group: typer.Typer, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Callable[..., Any]]]:
    """The commands in the order in which they are registered, and the functions that do them."""
    for command in group.registered_commands:
        if command.callback is not None:
            yield (*path, command.name or command.callback.__name__), command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from _commands(inner.typer_instance, (*path, str(inner.name)))


def _parameters(run: Callable[..., Any]) -> Iterator[tuple[str, str, str]]:
    hints = get_type_hints(run, include_extras=True)
    for name, parameter in inspect.signature(run).parameters.items():
        kind, *told = get_args(hints[name]) or (hints[name],)
        for info in told:
            if isinstance(info, ArgumentInfo | OptionInfo):
                yield _written(name, kind, info), info.help or "", _default(parameter.default)


def _written(name: str, kind: Any, info: ArgumentInfo | OptionInfo) -> str:
    """`--space S`, `FILE`, `--json`."""
    # typer reads the first word of an annotation as a name, and keeps it where its functions have the default
    given = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
    named = " ".join(given or [f"--{name.replace('_', '-')}"])
    of = next((part for part in (kind, *get_args(kind)) if isinstance(part, type)), str)
    choices = "|".join(member.value for member in of) if issubclass(of, StrEnum) else None
    value = info.metavar or choices or {int: "N", float: "X"}.get(of, name.upper())
    if isinstance(info, ArgumentInfo):
        return code(value)
    return code(named if of is bool else f"{named} {value}")


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return "" if value is None or value is False else code(str(getattr(value, "value", value)))
