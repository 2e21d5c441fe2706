"""Independent tasks on local processes, with progress; one torch thread each, so their number changes nothing.

A process that dies (kill -9, lack of memory) takes one task with it. That task is done once more, with nothing beside it, and
is given up if its process dies again; the others go on. Work in this process (one worker, or a single short task) cannot
survive such a death. `measuring.cluster` has the same for nodes.
"""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

from autoprox.errors import InputError, MissingError
from autoprox.files import clipped
from autoprox.measuring.agenda import Agenda
from autoprox.registrations import recorded, repeat

__all__ = [
    "DONE",
    "LOST",
    "RAISED",
    "TOLD",
    "Answer",
    "Loss",
    "Notice",
    "Progress",
    "Workers",
    "silent",
    "single_thread",
    "tell",
]

T = TypeVar("T")
Task = TypeVar("Task")

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told (stage, steps done, steps in all) as work goes on."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress of library calls: none is shown."""


class Notice(UserWarning):
    """What a user should know although the work goes on; the command line shows it on standard error."""


Answer: TypeAlias = tuple[str, Any]
"""Of a task: a notice of it (``TOLD``), its result (``DONE``), its error (``RAISED``) or the `Loss` of it (``LOST``)."""

TOLD, DONE, RAISED, LOST = "told", "done", "raised", "lost"
_READY = "ready", None


class Loss(NamedTuple):
    """What took a task with it.

    Attributes:
        what: such as "a worker process".
        fate: how that ended, such as "was killed by SIGKILL".
        alone: whether the task may be to blame, so that it has nothing beside it when it is done once more.
        ready: whether the process had started at all.
    """

    what: str
    fate: str
    alone: bool = True
    ready: bool = True


class Workers:
    """A pool of ``count`` processes, started when they are needed; with one worker the tasks run in this process.

    A task that is a tuple is called by its first element where the user is told about it.
    """

    local = True
    """Whether the tasks run on this machine, and take its memory."""

    lost_twice = "two worker processes died at"
    remedy = "use fewer --workers or a smaller --batch-size, and --resume what was running"
    """What is said of a task that was lost twice, before its name, and what to do."""

    def __init__(self, count: int | None = None) -> None:
        self.count = (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) or 1
        if count is not None:
            if count < 1:
                raise InputError(f"the number of workers is {count}; expected 1 or more")
            self.count = count
        self._idle: list[_Worker] = []
        self._busy: dict[Any, _Worker] = {}  # by connection
        self._worked, self._lost = False, 0  # whether any task was done in another process, and how many were given up

    @property
    def threads(self) -> int:
        """How many threads the caller itself may use; what they do must not depend on it."""
        return self.count

    def __enter__(self) -> Self:
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
        here: bool = True,
    ) -> Iterator[T]:
        """Yield function(task) in the order of the tasks; few are in flight at a time, so results do not pile up.

        Args:
            lost: makes the result of a task that was given up, from the task and the reason.
            here: whether a single task may be done in this process, which its death would end.

        Raises:
            MissingError: a task was given up and there is no ``lost``, every process dies, or none can be started.
        """
        one = here and len(tasks) <= 1 and not self._idle and not self._lost  # to start a process takes seconds
        if self.local and (self.count == 1 or one):
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
        if self.local and self.count == 1:
            yield from _here(function, tasks)
            return
        for _, result in self._each(function, tasks, lost, ahead=len(tasks)):
            yield result

    def _each(
        self, function: Callable[[Task], T], tasks: Sequence[Task], lost: Callable[[Task, str], T] | None, ahead: int
    ) -> Iterator[tuple[int, T]]:
        """(index, result) as tasks end; see `Agenda` for ``ahead``."""
        agenda = Agenda(len(tasks), ahead)
        mine: dict[Any, int] = {}  # {place: index} of what is being done
        ended: list[tuple[int, T]] = []
        try:
            while True:
                for index in agenda.begin(self.count):
                    mine[self._give(function, tasks[index])] = index
                yield from ended  # the processes are at work meanwhile
                ended.clear()
                if not mine:
                    return
                for place, (kind, content) in self._answers(list(mine)):
                    if kind == TOLD:
                        tell(content)
                        continue
                    index = mine.pop(place)
                    if kind == LOST and agenda.again(index, content.alone):
                        again = "that is done once more" + ", alone" * content.alone
                        tell(f"{content.what} {content.fate} at {_name(tasks[index])}; {again}")
                        continue
                    agenda.end(index)
                    self._worked |= kind != LOST
                    if kind == LOST:
                        ended.append((index, self._given_up(content, tasks[index], lost)))
                    elif kind == RAISED:
                        yield from ended
                        raise content
                    else:
                        ended.append((index, content))
        finally:
            self._drop(list(mine))

    def _given_up(self, loss: Loss, task: Task, lost: Callable[[Task, str], T] | None) -> T:
        last = f"the last one {loss.fate}, most often for lack of memory"
        if not loss.ready:
            raise MissingError(f"worker processes cannot be started: {last}; {self.remedy}")
        if lost is None:
            raise MissingError(f"{self.lost_twice} {_name(task)}: {last}; {self.remedy}")
        self._lost += 1
        if not self._worked and self._lost == _HOPELESS:
            raise MissingError(
                f"every worker process died, two at each of the first {_HOPELESS} tasks, and none did one: {last}; {self.remedy}"
            )
        reason = f"{self.lost_twice} it: {last}"
        tell(f"{_name(task)} is left out: {reason}")
        return lost(task, reason)

    def _give(self, function: Callable[[Task], T], task: Task) -> Any:
        """Have a free process begin a task; the place that its answers come from: a connection."""
        while self._idle and not self._idle[-1].process.is_alive():
            self._idle.pop().end()
        worker = self._idle.pop() if self._idle else _Worker()
        self._busy[worker.connection] = worker
        worker.give(function, task)
        return worker.connection

    def _answers(self, places: Sequence[Any]) -> Iterator[tuple[Any, Answer]]:
        """Wait until something is to be heard from some of the places, and pass it on."""
        for connection in wait(places):
            worker = self._busy[connection]
            answer = worker.answer()
            if answer[0] in (DONE, RAISED, LOST):
                self._take_back(worker, alive=answer[0] != LOST)
            if answer != _READY:
                yield connection, answer

    def _drop(self, places: Sequence[Any]) -> None:
        """End what nobody waits for any more."""
        for connection in places:
            if connection in self._busy:
                self._take_back(self._busy[connection], alive=False)

    def _take_back(self, worker: _Worker, alive: bool) -> None:
        del self._busy[worker.connection]
        if alive:
            self._idle.append(worker)
        else:
            worker.end()


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

    def answer(self) -> Answer:
        """What the process says next."""
        try:
            answer: Answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(_PATIENCE)  # until it can say how it ended
            return LOST, Loss("a worker process", self._fate, ready=self.ready)
        self.ready = True
        return answer

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()

    @property
    def _fate(self) -> str:
        """How the process ended."""
        code = self.process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


_PATIENCE = 5.0  # seconds
_HOPELESS = 5  # tasks given up, before any was done, after which no more are tried


def _serve(connection: Connection) -> None:
    """Answer tasks until the parent closes the connection; runs in a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    Thread(target=_end_with_parent, daemon=True).start()
    single_thread()
    _notices_to(connection)
    connection.send(_READY)
    with suppress(EOFError, ConnectionError):  # nobody listens any more
        while True:
            function, task, registrations = connection.recv()
            try:
                repeat(registrations)
                connection.send((DONE, function(task)))
            except Exception as error:
                error.add_note(traceback.format_exc())  # the traceback itself cannot be sent
                try:
                    connection.send((RAISED, error))
                except Exception:  # an error that cannot be sent as it is
                    connection.send((RAISED, RuntimeError(f"{type(error).__name__}: {error}")))


def _notices_to(connection: Connection) -> None:
    """Have the parent give each `Notice` of this process; other warnings are shown as Python does."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            with suppress(ConnectionError):  # nobody listens any more
                connection.send((TOLD, str(message)))
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


def single_thread() -> None:
    """Results must not depend on how many cores there are."""
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
    single_thread()
    yield from map(function, tasks)


def _name(task: object) -> str:
    first = task[0] if isinstance(task, tuple) and task else task
    return clipped(" ".join(map(str, first)) if isinstance(first, tuple) else first)


def tell(text: str) -> None:
    """Give the user a `Notice`."""
    warnings.warn(text, Notice, stacklevel=3)
