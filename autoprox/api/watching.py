"""Who watches a run: progress, a way to stop it, and what is logged of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from autoprox.measuring.workers import Progress, Workers, silent

if TYPE_CHECKING:
    from autoprox.discovery import Standing

__all__ = ["Watch", "Watching", "never", "pool_of", "shown", "unseen", "watching"]


def never() -> bool:
    """The answer of who never wants a run to stop."""
    return False


def unseen(standing: Standing) -> None:
    """The view of a discovery that nobody looks at."""


@dataclass(frozen=True)
class Watch:
    """What a run tells while it goes on, and what it asks.

    Attributes:
        progress: told (stage, steps done, steps in all).
        observe: told where a discovery stands.
        stop: asked at every safe point; true ends the run where it can be resumed.
    """

    progress: Progress = silent
    observe: Callable[[Standing], None] = unseen
    stop: Callable[[], bool] = never


Watching: TypeAlias = Callable[[Path], AbstractContextManager[Watch]]
"""Watches a run, in a folder, for as long as it is entered."""


def watching(progress: Progress | None, observe: Callable[[Standing], None], stop: Callable[[], bool]) -> Watching:
    """The watch of a library call; without a progress function lines on standard error, as a command writes them."""

    @contextmanager
    def watched(_: Path) -> Iterator[Watch]:
        with shown(progress) as told:
            yield Watch(told, observe, stop)

    return watched


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """The progress function that was given, or lines on standard error."""
    if progress is not None:
        yield progress
        return
    from autoprox.report import work_view

    with work_view() as view:
        yield view.progress


@contextmanager
def pool_of(workers: int | Workers | None) -> Iterator[Workers]:
    """A pool of so many processes; one that is there already stays open."""
    if isinstance(workers, Workers):
        yield workers
        return
    with Workers(workers) as pool:
        yield pool
