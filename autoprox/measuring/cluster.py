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
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any, Self, TypeVar

from autoprox.errors import InputError, MissingError
from autoprox.files import clipped
from autoprox.measuring.workers import DONE, LOST, RAISED, TOLD, Answer, Loss, Notice, Workers, single_thread
from autoprox.registrations import Registration, recorded, repeat
from autoprox.versions import versions

__all__ = ["RayWorkers"]

T = TypeVar("T")
Task = TypeVar("Task")

_PATIENCE = 5.0  # seconds to wait for an answer, before another look at which nodes there are
_ABANDONED = 60.0  # seconds without a node that could do anything, after which nobody waits any more


class RayWorkers(Workers):
    """Tasks of one processor each on all nodes of a cluster, as many at a time as it has room for.

    A node that is lost takes its tasks with it, which begin anew on others; a task whose process dies is done once more with
    nothing beside it, as on local processes. What is lost twice is given up.

    Args:
        address: ``auto``, the cluster that this machine is a node of, or ``HOST:PORT`` of its head.
        count: most tasks at a time; None: as many as there is room for, nodes that join later included.
        device: ``cpu``, or ``cuda``, where Ray gives each task its GPU.
        gpus_per_task: 1 or a part of it, since a network runs on one GPU; None: 1 with ``cuda``.

    Raises:
        InputError: the address, the device or the number of GPUs mean nothing.
        MissingError: there is no Ray, no cluster, or no room in it for a single task.
    """

    local = False
    lost_twice = "two nodes, or processes on nodes, were lost at"
    remedy = "look at the nodes with 'ray status', and --resume what was running"

    def __init__(
        self, address: str, count: int | None = None, device: str = "cpu", gpus_per_task: float | None = None
    ) -> None:
        super().__init__(count)
        if device not in ("cpu", "cuda"):
            raise InputError(f"the device is {clipped(device)!r}; on a cluster it is cpu, or cuda: Ray says which GPU")
        if gpus_per_task is not None and (device == "cpu" or not 0 < gpus_per_task <= 1):
            raise InputError(
                f"{gpus_per_task:g} GPUs a task were asked for; expected 1 or a part of it, with --device cuda"
            )
        self._gpus = 0.0 if device == "cpu" else gpus_per_task or 1.0
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
        self._looked, self._seen = -_PATIENCE, time.monotonic()
        self._look()
        if not self._room:
            self.__exit__(None, None, None)
            wanted = f"one with a processor and {self._gpus:g} GPUs" if self._gpus else "one with a processor"
            raise MissingError(f"the Ray cluster {self._address} has no node for a task; expected {wanted}")
        self._versions = versions()
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
                f"the Ray cluster {self._address} has had no node for a task for {_ABANDONED:.0f} seconds; {self.remedy}"
            )
        self.count = max(1, self._room if self._most is None else min(self._most, self._room))

    def _give(self, function: Callable[[Task], T], task: Task) -> Any:
        return self._remote.remote(function, task, self._versions, recorded())

    def _answers(self, places: Sequence[Any]) -> Iterator[tuple[Any, Answer]]:
        self._look()
        ready, _ = self._ray.wait(places, timeout=_PATIENCE)
        for reference in ready:
            for answer in self._answers_of(reference):
                yield reference, answer

    def _answers_of(self, reference: Any) -> list[Answer]:
        """What a task that has ended says, its fate last."""
        broken = self._ray.exceptions
        try:
            answers: list[Answer] = self._ray.get(reference)
        except (broken.NodeDiedError, broken.ObjectLostError, broken.LocalRayletDiedError):
            return [(LOST, Loss("a node of the cluster", "was lost", alone=False))]
        except (broken.WorkerCrashedError, broken.OutOfMemoryError):
            return [(LOST, Loss("a process on a node", "died"))]
        except (broken.RayError, RuntimeError) as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise MissingError(
                f"a task could not be given to a node of the Ray cluster or taken back ({clipped(reason.strip())}); every node "
                "needs the same environment as this machine"
            ) from error
        return answers

    def _drop(self, places: Sequence[Any]) -> None:
        """Nothing: tasks that nobody waits for end by themselves, or with the connection.

        To cancel one by force aborts the process that asks, where it ends at that very moment (Ray 2.60); to cancel it without
        force can leave a node's process with half of its modules imported.
        """


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
    reason = " ".join(str(error).split()) or type(error).__name__
    if reason.startswith("Version mismatch"):
        return MissingError(
            f"the Ray cluster at {address} cannot be worked on ({reason}); install the same versions on every machine"
        )
    return MissingError(
        f"there is no Ray cluster at {address} to work on ({clipped(reason.rstrip('.'))}); start one with 'ray start --head', "
        "and give this command on one of its nodes"
    )


def _room(resources: Mapping[str, float], gpus: float) -> int:
    """How many tasks a node can do at a time.

    >>> _room({"CPU": 4.0, "GPU": 2.0}, 0), _room({"CPU": 16.0, "GPU": 2.0}, 0.3), _room({"CPU": 4.0}, 1)
    (4, 6, 0)
    """
    processors = int(resources.get("CPU", 0))
    return min(processors, int(resources.get("GPU", 0)) * int(1 / gpus + 1e-9)) if gpus else processors


def _perform(
    function: Callable[[Task], T], task: Task, expected: Mapping[str, str], registrations: Sequence[Registration]
) -> list[Answer]:
    """The notices that a task gave, and what became of it; runs on a node."""
    single_thread()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", Notice)
        outcome = _tried(function, task, expected, registrations)
    notices = []
    for warning in told:
        if issubclass(warning.category, Notice):
            notices.append((TOLD, str(warning.message)))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return [*notices, outcome]


def _tried(
    function: Callable[[Task], T], task: Task, expected: Mapping[str, str], registrations: Sequence[Registration]
) -> Answer:
    try:
        _check_versions(expected)
        repeat(registrations)
        return DONE, function(task)
    except Exception as error:
        error.add_note(traceback.format_exc())  # the traceback itself cannot be sent
        try:
            ForkingPickler.dumps(error)
        except Exception:  # an error that cannot be sent as it is
            return RAISED, RuntimeError(f"{type(error).__name__}: {error}")
        return RAISED, error


def _check_versions(expected: Mapping[str, str]) -> None:
    """MissingError where this node computes with other versions than those expected."""
    found = versions()
    if other := [f"{name} {found.get(name)} instead of {v}" for name, v in expected.items() if found.get(name) != v]:
        raise MissingError(
            f"the node {platform.node()} has {', '.join(other)}, so its numbers might differ; install the same versions on "
            "every node"
        )
