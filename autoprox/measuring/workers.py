"""Independent tasks on local processes, in order, with progress; one torch thread each, so their number changes nothing."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from types import TracebackType
from typing import TypeAlias, TypeVar

from autoprox.errors import InputError, MissingError

__all__ = ["Progress", "Workers", "silent"]

T = TypeVar("T")
Task = TypeVar("Task")

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told (stage, steps done, steps in all) as work goes on."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress of library calls: none is shown."""


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    Thread(target=_end_with_parent, daemon=True).start()
    _single_thread()


def _end_with_parent() -> None:
    """A killed parent cannot end its workers; they would wait for tasks for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


class Workers:
    """A pool of ``count`` processes, started at the first use; with one worker the tasks run in this process."""

    def __init__(self, count: int | None = None) -> None:
        self.count = (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) or 1
        if count is not None:
            if count < 1:
                raise InputError(f"the number of workers is {count}; expected 1 or more")
            self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())  # the pool forgets them at its shutdown
            self._pool.shutdown(wait=kind is None, cancel_futures=True)
            if kind is not None:
                for process in processes:
                    process.terminate()
            self._pool = None

    def map(self, function: Callable[[Task], T], tasks: Sequence[Task]) -> Iterator[T]:
        """Yield function(task) in the order of the tasks; few are in flight at a time, so results do not pile up."""
        return self._each(function, tasks, _in_order)

    def completed(self, function: Callable[[Task], T], tasks: Sequence[Task]) -> Iterator[T]:
        """Yield function(task) as soon as each ends, in any order; one task a worker is in flight."""
        return self._each(function, tasks, _as_they_end)

    def _each(
        self,
        function: Callable[[Task], T],
        tasks: Sequence[Task],
        taken: Callable[[Iterator[Future[T]], int], Iterator[T]],
    ) -> Iterator[T]:
        if self.count == 1 or len(tasks) <= 1:
            _single_thread()
            yield from map(function, tasks)
            return
        pool = self._started()
        try:
            yield from taken((pool.submit(function, task) for task in tasks), self.count)
        except (BrokenProcessPool, BrokenPipeError) as error:  # timing decides which of the two is seen
            raise MissingError(_LOST) from error

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # spawn, not fork: a forked torch may hang, and a GPU cannot be used after a fork
            self._pool = ProcessPoolExecutor(self.count, mp_context=get_context("spawn"), initializer=_start)
        return self._pool


def _in_order(source: Iterator[Future[T]], count: int) -> Iterator[T]:
    """Results of the futures that a source starts when it is asked for them."""
    waiting = deque(islice(source, 4 * count))
    while waiting:
        result = waiting.popleft().result()
        waiting += islice(source, 1)
        yield result


def _as_they_end(source: Iterator[Future[T]], count: int) -> Iterator[T]:
    running = set(islice(source, count))
    while running:
        ended, running = wait(running, return_when=FIRST_COMPLETED)
        running |= set(islice(source, len(ended)))
        for future in ended:
            yield future.result()


_LOST = (
    "a worker process ended unexpectedly, most often for lack of memory; use fewer --workers or a smaller --batch-size, "
    "and --resume what was running"
)
