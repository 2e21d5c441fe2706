"""The application: its commands, and how every end of a command becomes an exit code and one sentence."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, TextIO

import typer

from autoprox import __version__
from autoprox.cli.architectures import score, search
from autoprox.cli.benches import benches
from autoprox.cli.building import build, merge, retrain
from autoprox.cli.caching import caches
from autoprox.cli.discovering import discover
from autoprox.cli.explaining import explain
from autoprox.cli.listings import export, primitives, proxies, spaces
from autoprox.cli.ranking import rank
from autoprox.cli.reporting import report
from autoprox.cli.studying import study
from autoprox.cli.training import train
from autoprox.errors import AutoproxError
from autoprox.measuring.workers import Notice

__all__ = ["app", "main", "run", "spread"]

INTERRUPTED = 130
_LONGEST = 300  # letters of a word that is shown whole

app = typer.Typer(
    name="autoprox",
    help="Discover training-free proxies for vision transformers, and search architectures with them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(discover)
app.command()(study)
app.command()(rank)
app.command()(explain)
app.command()(score)
app.command()(search)
app.command()(train)
app.command()(export)
app.command()(report)
benches.command()(build)
benches.command()(merge)
benches.command()(retrain)
app.add_typer(benches, name="bench", help="List, show, install and build ground truth.")
app.command()(proxies)
app.command()(primitives)
app.command()(spaces)
app.add_typer(caches, name="cache")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"autoprox {__version__}")
        raise typer.Exit


@app.callback()
def _everything(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


_ClickException: type[Exception] = typer.BadParameter.__bases__[0].__bases__[0]
"""Of all wrong usage; newer versions of typer have their own copy of click, so click itself need not be there."""


def main() -> None:
    """Run the command of the process and exit with its code."""
    _prepare_output()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
    sys.exit(code)


def _prepare_output() -> None:
    """Have streams, even closed ones, that never fail for a letter: not every terminal knows a Greek one."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; an error that a user can act on is one sentence on standard error."""
    try:
        with _notices():
            return _run(list(arguments))
    except AutoproxError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(
            "interrupted; what was measured is kept: give the command again, with --resume if it has a run folder",
            INTERRUPTED,
        )
    except _ClickException as error:
        return _fail(_usage(error), 2)
    except OSError as error:
        if error.errno == errno.EPIPE:
            _abandon_output()
            return 0
        return _fail(f"the system refused: {error}", 3)
    except (ValueError, LookupError) as error:
        from benchdata import MissingTableError, TableError

        if isinstance(error, TableError):
            return _fail(str(error), 2)
        if isinstance(error, MissingTableError):
            return _fail(str(error), 3)
        raise


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("autoprox", spread(arguments) or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as exit_:
        return exit_.exit_code
    return 0


_SEVERAL = {
    ("rank",): ("--proxy",),
    ("score",): ("--proxy", "--model"),
    ("bench", "build"): ("--space", "--dataset"),
}
"""The options of a command that take several values."""

_OPTION = re.compile(r"-h|--[a-z][a-z-]*(=.*)?", re.DOTALL)


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat an option that takes several values, such as ``--proxy`` of ``rank``, before each that follows it.

    >>> spread(["rank", "--proxy", "snip", "dss", "--json"])
    ['rank', '--proxy', 'snip', '--proxy', 'dss', '--json']
    """
    result: list[str] = []
    option, filled = "", False
    several = next((names for command, names in _SEVERAL.items() if tuple(arguments[: len(command)]) == command), ())
    for argument in arguments:
        if option and not filled:
            filled = True
        elif _OPTION.fullmatch(argument):
            option, _, value = argument.partition("=")
            option, filled = (option, bool(value)) if option in several else ("", False)
        elif option:
            result.append(option)
        result.append(argument)
    return result


@contextmanager
def _notices() -> Iterator[None]:
    """Show each `Notice` at once, as a line on standard error, and other warnings as Python does."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, Notice):
                _say(str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _fail(text: str, code: int) -> int:
    try:
        _say(text)
    except OSError:  # nobody listens any more
        _abandon_output()
    return code


def _say(text: str) -> None:
    """One line, in which whatever was typed or found is short enough to be read."""
    words = [word if len(word) <= _LONGEST else f"{word[:200]}…{word[-80:]}" for word in text.split()]
    typer.echo(f"autoprox: {' '.join(words)}", err=True)


def _usage(error: Exception) -> str:
    """The sentence of a wrong option, and where to read about it."""
    message = error.format_message() if isinstance(error, _ClickException) else str(error)  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "autoprox"
    return f"{message.replace('Value error, ', '').rstrip('.')}; see '{path} --help'"


def _abandon_output() -> None:
    """Let the interpreter's own flush at exit go nowhere: whoever read the pipe has closed it."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
