"""Independent tasks on local processes, with progress; one torch thread each, so their number changes nothing.

A process that dies (kill -9, lack of memory) takes one task with it. That task is done once more, with nothing beside it, and
is given up if its process dies again; the others go on. Work in this process (one worker, or a single short task) cannot
survive such a death.
"""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from autoprox.errors import InputError, MissingError
from autoprox.files import clipped
from autoprox.registrations import recorded, repeat

__all__ = ["Notice", "Progress", "Workers", "silent"]

T = TypeVar("T")
Task = TypeVar("Task")

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told (stage, steps done, steps in all) as work goes on."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress of library calls: none is shown."""


class Notice(UserWarning):
    """What a user should know although the work goes on; the command line shows it on standard error."""


class Workers:
    """A pool of ``count`` processes, started when they are needed; with one worker the tasks run in this process.

    A task that is a tuple is called by its first element where the user is told about it.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) or 1
        if count is not None:
            if count < 1:
                raise InputError(f"the number of workers is {count}; expected 1 or more")
            self.count = count
        self._idle: list[_Worker] = []
        self._busy: dict[Any, _Worker] = {}  # by connection

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in (*self._idle, *self._busy.values()):
            worker.end()
        self._idle.clear()
        self._busy.clear()

    def map(
        self,
        function: Callable[[Task], T],
        tasks: Sequence[Task],
        lost: Callable[[Task, str], T] | None = None,
    ) -> Iterator[T]:
        """Yield function(task) in the order of the tasks; few are in flight at a time, so results do not pile up.

        Args:
            lost: makes the result of a task that was given up, from the task and the reason.

        Raises:
            MissingError: a task was given up and there is no ``lost``, or no process can be started.
        """
        if self.count == 1 or (len(tasks) <= 1 and not self._idle):  # to start a process takes seconds
            yield from _here(function, tasks)
            return
        early: dict[int, T] = {}
        position = 0
        for index, result in self._each(function, tasks, lost, ahead=4 * self.count):
            early[index] = result
            while position in early:
                yield early.pop(position)
                position += 1

    def completed(
        self,
        function: Callable[[Task], T],
        tasks: Sequence[Task],
        lost: Callable[[Task, str], T] | None = None,
    ) -> Iterator[T]:
        """Yield function(task) as soon as each ends, in any order; otherwise as `map` does."""
        if self.count == 1:
            yield from _here(function, tasks)
            return
        for _, result in self._each(function, tasks, lost, ahead=len(tasks)):
            yield result

    def _each(
        self, function: Callable[[Task], T], tasks: Sequence[Task], lost: Callable[[Task, str], T] | None, ahead: int
    ) -> Iterator[tuple[int, T]]:
        """(index, result) as tasks end; see `_Agenda` for ``ahead``."""
        agenda = _Agenda(len(tasks), self.count, ahead)
        mine: dict[Any, int] = {}  # {connection: index} of what is being done
        ended: list[tuple[int, T]] = []
        try:
            while True:
                for index in agenda.begin():
                    mine[self._give(function, tasks[index])] = index
                yield from ended  # the processes are at work meanwhile
                ended.clear()
                if not mine:
                    return
                for connection in wait(list(mine)):
                    worker = self._busy[connection]
                    answer = worker.answer()
                    if answer == _READY:
                        continue
                    if answer is not None and answer[0] == _TOLD:
                        _tell(answer[1])
                        continue
                    index = mine.pop(connection)
                    self._take_back(worker, alive=answer is not None)
                    if answer is None and agenda.again(index):
                        _tell(f"a worker process {worker.fate} at {_name(tasks[index])}; that is done once more, alone")
                        continue
                    agenda.end(index)
                    if answer is None:
                        ended.append((index, _given_up(worker, tasks[index], lost)))
                    elif answer[0] == _RAISED:
                        yield from ended
                        raise answer[1]
                    else:
                        ended.append((index, answer[1]))
        finally:
            for connection in mine:  # nobody waits for these any more
                if connection in self._busy:
                    self._take_back(self._busy[connection], alive=False)

    def _give(self, function: Callable[[Task], T], task: Task) -> Any:
        """Have a free process begin a task; the connection that its answers come through."""
        while self._idle and not self._idle[-1].process.is_alive():
            self._idle.pop().end()
        worker = self._idle.pop() if self._idle else _Worker()
        self._busy[worker.connection] = worker
        worker.give(function, task)
        return worker.connection

    def _take_back(self, worker: _Worker, alive: bool) -> None:
        del self._busy[worker.connection]
        if alive:
            self._idle.append(worker)
        else:
            worker.end()


class _Agenda:
    """What may begin: tasks in order, at most ``count`` at a time, none ``ahead`` or more beyond the first that is not done;
    a task whose process died has to be alone, since it may have been another one that took the memory."""

    def __init__(self, total: int, count: int, ahead: int) -> None:
        self._total, self._count, self._ahead = total, count, ahead
        self._next = 0
        self._underway: set[int] = set()
        self._again: deque[int] = deque()
        self._died: set[int] = set()

    def begin(self) -> list[int]:
        if self._again or self._underway & self._died:
            chosen = [self._again.popleft()] if self._again and not self._underway else []
        else:
            first = min(self._underway, default=self._next)
            room = min(self._count - len(self._underway), first + self._ahead - self._next, self._total - self._next)
            chosen = list(range(self._next, self._next + room))
            self._next += len(chosen)
        self._underway.update(chosen)
        return chosen

    def end(self, index: int) -> None:
        self._underway.remove(index)

    def again(self, index: int) -> bool:
        """Whether a task whose process died is done once more."""
        if index in self._died:
            return False
        self._underway.remove(index)
        self._died.add(index)
        self._again.append(index)
        return True


class _Worker:
    """A process that does one task at a time, so that what it had when it died is known."""

    def __init__(self) -> None:
        context = get_context("spawn")  # not fork: a forked torch may hang, and a GPU cannot be used after a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _interrupts_held():
            self.process.start()
        theirs.close()  # theirs alone is open now: it closes when the process ends, however that happens
        self.ready = False

    def give(self, function: Callable[[Task], T], task: Task) -> None:
        with suppress(ConnectionError):  # it has died, and `answer` says so
            self.connection.send((function, task, recorded()))

    def answer(self) -> tuple[str, Any] | None:
        """What the process says next; None where it has died."""
        try:
            answer: tuple[str, Any] = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(_PATIENCE)  # until it can say how it ended
            return None
        self.ready = True
        return answer

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()

    @property
    def fate(self) -> str:
        """How the process ended."""
        code = self.process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


_READY, _TOLD, _RAISED, _DONE = ("ready", None), "told", "raised", "done"
_PATIENCE = 5.0  # seconds


def _serve(connection: Connection) -> None:
    """Answer tasks until the parent closes the connection; runs in a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    Thread(target=_end_with_parent, daemon=True).start()
    _single_thread()
    _notices_to(connection)
    connection.send(_READY)
    with suppress(EOFError, ConnectionError):  # nobody listens any more
        while True:
            function, task, registrations = connection.recv()
            try:
                repeat(registrations)
                connection.send((_DONE, function(task)))
            except Exception as error:
                error.add_note(traceback.format_exc())  # the traceback itself cannot be sent
                try:
                    connection.send((_RAISED, error))
                except Exception:  # an error that cannot be sent as it is
                    connection.send((_RAISED, RuntimeError(f"{type(error).__name__}: {error}")))


def _notices_to(connection: Connection) -> None:
    """Have the parent give each `Notice` of this process; other warnings are shown as Python does."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            with suppress(ConnectionError):  # nobody listens any more
                connection.send((_TOLD, str(message)))
        else:
            usual(message, category, *place, **more)

    warnings.simplefilter("always", Notice)
    warnings.showwarning = show


def _end_with_parent() -> None:
    """A killed parent cannot end its workers; they would wait for tasks for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that is started here never sees Ctrl-C, not even before it can say so itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _here(function: Callable[[Task], T], tasks: Sequence[Task]) -> Iterator[T]:
    _single_thread()
    yield from map(function, tasks)


def _given_up(worker: _Worker, task: Task, lost: Callable[[Task, str], T] | None) -> T:
    advice = (
        "most often for lack of memory; use fewer --workers or a smaller --batch-size, and --resume what was running"
    )
    if not worker.ready:
        raise MissingError(f"worker processes cannot be started: the last one {worker.fate}, {advice}")
    if lost is None:
        raise MissingError(f"two worker processes died at {_name(task)}: the last one {worker.fate}, {advice}")
    reason = f"two worker processes died at it: the last one {worker.fate}, most often for lack of memory"
    _tell(f"{_name(task)} is left out: {reason}")
    return lost(task, reason)


def _name(task: object) -> str:
    first = task[0] if isinstance(task, tuple) and task else task
    return clipped(" ".join(map(str, first)) if isinstance(first, tuple) else first)


def _tell(text: str) -> None:
    warnings.warn(text, Notice, stacklevel=3)
