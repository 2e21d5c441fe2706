"""Ctrl-C: the first asks a run to stop at its next safe point, the second ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from autoprox.api.watching import Watch, Watching, unseen

if TYPE_CHECKING:
    from autoprox.report import View

__all__ = ["stoppable", "stopping"]


@contextmanager
def stopping(notice: Callable[[str], None], folder: Path, option: str = "--run-dir") -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether the user asked to stop; the signal's handler is put back at the end.

    Args:
        notice: shows a text at once; called inside the handler.
        folder: where the run can be resumed.
        option: which names it.
    """
    asked = False

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        notice(f"stopping at the next safe point; go on later with --resume {option} {folder} (Ctrl-C again: at once)")

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, previous)


def stoppable(opened: Callable[[], View], option: str = "--run-dir") -> Watching:
    """The watch of a command: a view, opened when the run begins, and Ctrl-C."""

    @contextmanager
    def watched(folder: Path) -> Iterator[Watch]:
        with opened() as view, stopping(view.notice, folder, option) as stop:
            yield Watch(view.progress, getattr(view, "observe", unseen), stop)

    return watched
