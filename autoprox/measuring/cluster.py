"""Independent tasks on a Ray cluster that is there already, by the rules and with the results of local processes.

A task is all that travels to a node, and its result all that comes back: nodes share no folder with this machine. They need the
same versions of everything that computes, which each task checks, and images and texts at the same places, which captures
and trainings check.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any, Self, TypeVar

from autoprox.errors import InputError, MissingError
from autoprox.files import clipped
from autoprox.measuring.workers import Agenda, Notice, Workers, give_up, single_thread, task_name, tell
from autoprox.versions import versions

__all__ = ["RayWorkers"]

T = TypeVar("T")
Task = TypeVar("Task")

_PATIENCE = 5.0  # seconds to wait for an answer, before another look at which nodes there are
_ABANDONED = 60.0  # seconds without a node that could do anything, after which nobody waits any more
_LOST_NODES = 3  # that a task may take with it
_DONE, _RAISED = "done", "raised"
_REMEDY = "look at the nodes with 'ray status', and --resume what was running"


class RayWorkers(Workers):
    """Tasks of one processor each on all nodes of a cluster, as many at a time as it has room for.

    A task whose process dies is done once more, with nothing beside it, and then given up, as on local processes. A node that
    is lost takes its tasks with it: they begin anew elsewhere, each at most three times.

    Args:
        address: ``auto``, the cluster that this machine is a node of, or ``HOST:PORT`` of its head.
        count: most tasks at a time; None: as many as there is room for, nodes that join later included.
        device: ``cpu``, or ``cuda``, where Ray gives each task its GPU.
        gpus_per_task: a part of one, or a whole number; None: one with ``cuda``.

    Raises:
        InputError: the address, the device or the number of GPUs mean nothing.
        MissingError: there is no Ray, no cluster, or no room in it for a single task.
    """

    local = False

    def __init__(
        self, address: str, count: int | None = None, device: str = "cpu", gpus_per_task: float | None = None
    ) -> None:
        super().__init__(count)
        if device not in ("cpu", "cuda"):
            raise InputError(f"the device is {clipped(device)!r}; on a cluster it is cpu, or cuda: Ray says which GPU")
        if gpus_per_task is not None and device != "cuda":
            raise InputError(f"{gpus_per_task} GPUs a task were asked for; they need the device cuda")
        self._gpus = 0.0 if device == "cpu" else 1.0 if gpus_per_task is None else gpus_per_task
        if device == "cuda" and not (0 < self._gpus <= 1 or self._gpus == int(self._gpus) > 1):
            raise InputError(f"{gpus_per_task} GPUs a task were asked for; expected a part of one, or a whole number")
        if address != "auto" and not re.fullmatch(r"[^\s/]+:[0-9]{1,5}", address):
            raise InputError(f"the address {clipped(address)!r} is none of a Ray cluster; expected auto or HOST:PORT")
        self._address, self._most = address, count

    @property
    def threads(self) -> int:
        return os.cpu_count() or 1

    def __enter__(self) -> Self:
        try:
            import ray
        except ImportError:
            raise MissingError(
                "Ray is not installed; it is in the extra ray: pip install 'autoprox-vit[ray]'"
            ) from None
        self._ray: Any = ray
        self._own = not ray.is_initialized()
        if self._own:
            _connect(ray, self._address)
        self._looked = self._seen = -_ABANDONED
        try:
            self._look()
            if not self._room:
                wanted = f"one with a processor and {self._gpus:g} GPUs" if self._gpus else "one with a processor"
                raise MissingError(f"the Ray cluster {self._address} has no node for a task; expected {wanted}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._remote: Any = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=0)(_perform)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own:
            self._ray.shutdown()

    def _look(self) -> None:
        """See which nodes there are, now and then, and how many tasks at a time they have room for."""
        if (now := time.monotonic()) - self._looked < _PATIENCE:
            return
        self._looked = now
        self._room = sum(_room(node["Resources"], self._gpus) for node in self._ray.nodes() if node["Alive"])
        if self._room:
            self._seen = now
        elif now - self._seen > _ABANDONED:
            raise MissingError(
                f"the Ray cluster {self._address} has had no node for a task for {_ABANDONED:.0f} seconds; {_REMEDY}"
            )
        self.count = max(1, self._room if self._most is None else min(self._most, self._room))

    def _each(
        self, function: Callable[[Task], T], tasks: Sequence[Task], lost: Callable[[Task, str], T] | None, ahead: int
    ) -> Iterator[tuple[int, T]]:
        agenda = Agenda(len(tasks), self.count, ahead)
        mine: dict[Any, int] = {}  # {reference: index} of what is being done
        nodes: Counter[int] = Counter()  # lost with a task
        ended: list[tuple[int, T]] = []
        here = versions()
        try:
            while True:
                self._look()
                agenda.count = self.count
                for index in agenda.begin():
                    mine[self._remote.remote(function, tasks[index], here)] = index
                yield from ended  # the nodes are at work meanwhile
                ended.clear()
                if not mine:
                    return
                ready, _ = self._ray.wait(list(mine), timeout=_PATIENCE)
                for reference in ready:
                    index = mine.pop(reference)
                    trouble, outcome = self._outcome(reference, task_name(tasks[index]))
                    if trouble == "node":
                        nodes[index] += 1
                        if nodes[index] < _LOST_NODES:
                            agenda.put_back(index)
                            tell(f"a node was lost with {task_name(tasks[index])}, which begins anew on another one")
                            continue
                    elif trouble == "process" and agenda.again(index):
                        tell(f"a process on a node died at {task_name(tasks[index])}; that is done once more, alone")
                        continue
                    agenda.end(index)
                    if trouble is not None:
                        dead = f"{nodes[index]} nodes were lost" if trouble == "node" else "two processes on nodes died"
                        reason = f"{dead} at it, most often for lack of memory"
                        ended.append((index, give_up(tasks[index], reason, _REMEDY, lost)))
                    elif outcome[0] == _RAISED:
                        raise outcome[1]
                    else:
                        ended.append((index, outcome[1]))
        finally:
            for reference in mine:  # nobody waits for these any more
                self._ray.cancel(reference, force=True)

    def _outcome(self, reference: Any, task: str) -> tuple[str | None, Any]:
        """What took a task with it, a node or a process, or else what became of it."""
        broken = self._ray.exceptions
        try:
            outcome, told = self._ray.get(reference)
        except (broken.NodeDiedError, broken.ObjectLostError, broken.LocalRayletDiedError):
            return "node", None
        except (broken.WorkerCrashedError, broken.OutOfMemoryError):
            return "process", None
        except (broken.RayError, RuntimeError) as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise MissingError(
                f"{task} could not be given to a node of the Ray cluster or taken back ({clipped(reason.strip())}); every "
                "node needs the same environment as this machine"
            ) from error
        for text in told:
            tell(text)
        return None, outcome


def _connect(ray: Any, address: str) -> None:
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:  # Ray itself tries for two minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise _unreachable(address, error) from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
    except (Exception, SystemExit) as error:  # whatever goes wrong in there
        raise _unreachable(address, error) from None


def _unreachable(address: str, error: BaseException) -> MissingError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return MissingError(
        f"there is no Ray cluster at {address} to work on ({clipped(reason)}); start one with 'ray start --head', and give "
        "this command on one of its nodes"
    )


def _room(resources: Mapping[str, float], gpus: float) -> int:
    """How many tasks a node can do at a time.

    >>> _room({"CPU": 4.0, "GPU": 2.0}, 0), _room({"CPU": 16.0, "GPU": 2.0}, 0.3), _room({"CPU": 4.0, "GPU": 3.0}, 2)
    (4, 6, 1)
    """
    processors, there = int(resources.get("CPU", 0)), resources.get("GPU", 0)
    if not gpus:
        return processors
    return min(processors, int(there // gpus) if gpus >= 1 else int(there) * int(1 / gpus + 1e-9))


def _perform(
    function: Callable[[Task], T], task: Task, expected: Mapping[str, str]
) -> tuple[tuple[str, Any], list[str]]:
    """What becomes of a task, and the notices that it gave; runs on a node."""
    single_thread()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", Notice)
        outcome = _tried(function, task, expected)
    for warning in told:
        if not issubclass(warning.category, Notice):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return outcome, [str(warning.message) for warning in told if issubclass(warning.category, Notice)]


def _tried(function: Callable[[Task], T], task: Task, expected: Mapping[str, str]) -> tuple[str, Any]:
    try:
        _check_versions(expected)
        return _DONE, function(task)
    except (MissingError, InputError) as error:
        return _RAISED, error
    except Exception as error:
        error.add_note(traceback.format_exc())  # the traceback itself cannot be sent
        try:
            ForkingPickler.dumps(error)
        except Exception:  # an error that cannot be sent as it is
            return _RAISED, RuntimeError(f"{type(error).__name__}: {error}")
        return _RAISED, error


def _check_versions(expected: Mapping[str, str]) -> None:
    found = versions()
    other = [
        f"{name} {found.get(name)} instead of {value}" for name, value in expected.items() if found.get(name) != value
    ]
    if other:
        raise MissingError(
            f"the node {platform.node()} has {', '.join(other)}, so its numbers might differ; install the same versions on "
            "every node"
        )
