"""Progress on standard error: a bar on a terminal, elsewhere a plain line every few seconds."""

from __future__ import annotations

import os
import time
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from autoprox.report.figures import clock
from autoprox.report.screen import standard_error

__all__ = ["PATIENCE", "Pace", "PlainLines", "View", "work_view"]

PATIENCE = 5.0
"""Seconds between two plain lines."""

_FIRST = 3  # steps before the time left is estimated: the first one waits for processes to start


class View(Protocol):
    """Shows the progress of some work while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def progress(self, stage: str, done: int, total: int) -> None:
        """Steps done of a stage; see ``autoprox.measuring.workers.Progress``."""

    def notice(self, text: str) -> None:
        """Say something at once; safe inside a signal handler."""


class Pace:
    """Elapsed and remaining time of one stage, from what was done since it began."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._first: int | None = None

    def times(self, done: int, total: int) -> str:
        """`elapsed 0:12, left 0:40`."""
        elapsed = time.monotonic() - self.began
        if self._first is None:
            self._first = done
        fresh = done - self._first
        left = elapsed * (total - done) / fresh if fresh >= _FIRST else None
        return f"elapsed {clock(elapsed)}, left {clock(left)}"


class PlainLines:
    """Lines for logs and pipes; short work shows none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()
        self._stage = ""
        self._pace = Pace()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def line(self, text: str) -> None:
        """A line of its own, now."""
        self._console.print(text, soft_wrap=True)
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether enough time has passed for the next line."""
        return time.monotonic() - self._last >= PATIENCE

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._stage, self._pace, self._shown = stage, Pace(), False
        times = self._pace.times(done, total)
        if self.due or (self._shown and done == total):
            self.line(f"{stage}: {done} of {total}, {times}")
            self._shown = done < total

    def notice(self, text: str) -> None:
        _write(text)


class Bar:
    """A progress bar a stage."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def notice(self, text: str) -> None:
        for task in self._tasks.values():
            self._bars.update(task, description=text)
        if not self._tasks:
            _write(text)


def _write(text: str) -> None:
    """Past all buffers, whose locks the interrupted code may hold."""
    os.write(2, f"{text}\n".encode())


def work_view() -> View:
    """The view that fits standard error."""
    console = standard_error()
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else PlainLines(console)
