"""Where things are shown: standard output for results, standard error for progress."""

from __future__ import annotations

import os

from rich.console import Console, RenderableType
from rich.text import Text

__all__ = ["show", "standard_error"]

_READABLE = 80  # columns that tables are laid out for; a narrower terminal breaks lines rather than losing numbers
_PIPED = 200  # columns where there is no terminal: what is read by a program or a pager is not cut to 80


def show(*renderables: RenderableType) -> None:
    """Print results to standard output, as wide as the terminal."""
    console = _console(stderr=False)
    width = console.width
    for renderable in renderables:
        console.width = width if isinstance(renderable, str | Text) else max(width, _READABLE)
        console.print(renderable)


def standard_error() -> Console:
    """The console of progress and of live views."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _PIPED
    return console
