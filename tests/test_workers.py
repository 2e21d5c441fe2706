"""Worker processes: order, errors and deaths. A process that dies costs nothing but the time of one task."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch  # noqa: F401 - before the substitute of the processes is on the path

from autoprox.errors import InputError, MissingError
from autoprox.measuring.workers import Answer, Loss, Notice, Workers

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two processes, which take seconds to import torch and need none here: they find a substitute before it."""
    substitute = tmp_path_factory.mktemp("path")
    (substitute / "torch.py").write_text("def set_num_threads(count): assert count == 1")
    with pytest.MonkeyPatch.context() as patch, Workers(2) as workers:
        patch.syspath_prepend(substitute)  # processes that are started take over the path
        yield workers


def doubled(task: tuple[str, int, Path | None]) -> int:
    """Twice the number, unless the folder says that this task kills its process, and has not done so often enough."""
    name, number, folder = task
    if folder is not None:
        deaths = len(list(folder.glob(f"{name}.*")))
        if deaths < int((folder / name).read_text() if (folder / name).exists() else "0"):
            (folder / f"{name}.{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def tasks_that_die(folder: Path, deaths: dict[int, int], count: int = 12) -> list[tuple[str, int, Path | None]]:
    """Tasks of which the given ones kill their process so many times."""
    for number, times in deaths.items():
        (folder / f"task-{number}").write_text(str(times))
    return [(f"task-{number}", number, folder) for number in range(count)]


def lost(task: tuple[str, int, Path | None], reason: str) -> int:
    assert "two worker processes died at it" in reason
    return -task[1]


@pytest.mark.parametrize("method", [Workers.map, Workers.completed])
def test_one_death_changes_nothing(method: Callable[..., Iterator[int]], pool: Workers, tmp_path: Path) -> None:
    tasks = tasks_that_die(tmp_path, {0: 1, 5: 1, 11: 1})
    with pytest.warns(Notice, match=r"a worker process was killed by SIGKILL at task-\d+; .* once more, alone") as told:
        found = list(method(pool, doubled, tasks))
    assert sorted(found) == [2 * number for number in range(12)]
    assert method is Workers.completed or found == sorted(found)
    assert sorted(re.findall(r"task-\d+", " ".join(str(notice.message) for notice in told))) == [
        "task-0", "task-11", "task-5"
    ]  # fmt: skip


@pytest.mark.parametrize("method", [Workers.map, Workers.completed])
def test_a_task_that_kills_twice_is_given_up(
    method: Callable[..., Iterator[int]], pool: Workers, tmp_path: Path
) -> None:
    tasks = tasks_that_die(tmp_path, {3: 9, 4: 1, 7: 2})
    with pytest.warns(Notice) as told:
        found = list(method(pool, doubled, tasks, lost))
    expected = [-number if number in (3, 7) else 2 * number for number in range(12)]
    assert sorted(found) == sorted(expected)
    assert method is Workers.completed or found == expected
    assert len(list(tmp_path.glob("task-3.*"))) == 2
    left_out = [text for notice in told if "left out" in (text := str(notice.message))]
    assert [text.split()[0] for text in sorted(left_out)] == ["task-3", "task-7"]
    assert "two worker processes died at it: the last one was killed by SIGKILL" in left_out[0]


def test_without_a_substitute_the_task_is_named_and_the_pool_spared(pool: Workers, tmp_path: Path) -> None:
    tasks = tasks_that_die(tmp_path, {6: 9})
    with (
        pytest.warns(Notice),
        pytest.raises(MissingError, match=r"two worker processes died at task-6: .*SIGKILL, .* --workers .*--resume"),
    ):
        list(pool.map(doubled, tasks))
    assert list(pool.map(doubled, tasks_that_die(tmp_path, {}, 4))) == [0, 2, 4, 6]


def crowded(task: tuple[int, Path]) -> int:
    """Dies once, in company or alone, and says how many were at work meanwhile."""
    number, folder = task
    mark = folder / f"{number}.{os.getpid()}"
    mark.touch()
    if number == 1 and len(list(folder.glob("dead.*"))) < 1:
        mark.rename(folder / "dead.1")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    company = len(list(folder.glob("[0-9]*")))
    mark.unlink()
    return company


def test_what_is_done_once_more_is_alone(pool: Workers, tmp_path: Path) -> None:
    with pytest.warns(Notice):
        found = list(pool.map(crowded, [(number, tmp_path) for number in range(6)]))
    assert found[1] == 1


def test_processes_that_cannot_start_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit(7)")
    code = "from autoprox.measuring.workers import Workers\nwith Workers(2) as workers: print(list(workers.map(abs, [1, 2])))"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert "MissingError: worker processes cannot be started: the last one ended with exit code 7" in done.stderr


def test_the_order_of_tasks_is_kept(pool: Workers) -> None:
    tasks = list(range(50, 0, -1))
    assert list(pool.map(abs, [-t for t in tasks])) == tasks
    assert list(Workers(1).map(abs, [-t for t in tasks])) == tasks
    assert sorted(pool.completed(abs, tasks)) == sorted(tasks)
    assert list(pool.map(abs, [])) == list(pool.completed(abs, [])) == []


def slow_first(task: int) -> int:
    time.sleep(0.5 if task == 0 else 0)
    return task


def test_what_ends_first_is_there_first(pool: Workers) -> None:
    found = list(pool.completed(slow_first, range(6)))
    assert sorted(found) == list(range(6))
    assert found[0] != 0


def test_two_iterations_at_once_do_not_mix(pool: Workers) -> None:
    pairs = list(zip(pool.map(slow_first, range(8)), pool.map(abs, range(0, -8, -1)), strict=True))
    assert pairs == [(i, i) for i in range(8)]


def inverse_of(number: int) -> float:
    return 1 / number


def test_a_failing_task_reaches_the_caller_with_its_place_and_spares_the_pool(pool: Workers) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(pool.map(inverse_of, [1, 0, 2]))
    assert "in inverse_of" in "".join(caught.value.__notes__)
    assert list(pool.map(abs, [-1, -2])) == [1, 2]


def noticing(number: int) -> int:
    warnings.warn(f"about {number}", Notice, stacklevel=1)
    return number


def test_a_notice_of_a_process_is_given_by_its_parent(pool: Workers) -> None:
    with pytest.warns(Notice) as told:
        assert list(pool.map(noticing, range(4))) == list(range(4))
    assert sorted(str(notice.message) for notice in told) == [f"about {number}" for number in range(4)]


class AwkwardError(Exception):
    def __reduce__(self) -> str:
        return "not to be found"


def awkward(_: int) -> None:
    raise AwkwardError("what happened")


def test_an_error_that_cannot_be_sent_is_told(pool: Workers) -> None:
    with pytest.raises(RuntimeError, match="AwkwardError: what happened"):
        list(pool.map(awkward, [1, 2]))


def test_an_iteration_that_is_left_ends_its_processes(pool: Workers) -> None:
    start = time.monotonic()
    iteration = pool.map(time.sleep, [0, 300, 300])
    next(iteration)
    iteration.close()
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
    assert time.monotonic() - start < 60


def process_id(_: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def test_a_process_that_died_while_it_had_nothing_to_do_is_replaced(pool: Workers) -> None:
    before = set(pool.map(process_id, range(4)))
    for process in before:
        os.kill(process, signal.SIGKILL)
    time.sleep(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert before.isdisjoint(pool.map(process_id, range(4)))


def test_no_worker_outlives_an_interruption() -> None:
    processes: list[int] = []

    def interrupted() -> None:
        with Workers(2) as workers:
            for process in workers.completed(process_id, [0, 1]):
                processes.append(process)
            for _ in workers.map(time.sleep, [0, 300, 300, 300]):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(set(processes)) == 2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.parametrize("count", [0, -3])
def test_fewer_than_one_worker_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"the number of workers is {count}; expected 1 or more"):
        Workers(count)


class Elsewhere(Workers):
    """Somewhere else, where places are lost with the tasks that ``losses`` names."""

    local = False

    def __init__(self, count: int, losses: dict[int, list[Loss]]) -> None:
        super().__init__(count)
        self.losses, self.given, self.company = losses, [], {}

    def _give(self, function: Callable[[int], int], task: int) -> tuple[int, int]:
        self.given.append(task)
        return task, function(task)

    def _answers(self, places: list[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], Answer]]:
        place = places[-1]  # the last one ends first
        self.company[place[0]] = len(places)
        losses = self.losses.get(place[0], [])
        yield place, ("lost", losses.pop()) if losses else ("done", place[1])

    def _drop(self, places: list[tuple[int, int]]) -> None:
        self.losses.clear()


NODE = Loss("a node", "was lost", alone=False)


def test_what_a_lost_node_took_begins_anew_in_company_and_is_given_up_after_the_second() -> None:
    pool = Elsewhere(3, {1: [NODE], 2: [NODE, NODE], 4: [Loss("a process", "died")]})
    with pytest.warns(Notice) as told:
        found = list(pool.map(abs, range(8), lambda task, reason: -task))
    assert found == [0, 1, -2, 3, 4, 5, 6, 7]
    assert [str(notice.message).partition(";")[0] for notice in told if "once more" in str(notice.message)] == [
        "a node was lost at 2",
        "a process died at 4",
        "a node was lost at 1",
    ]
    assert "2 is left out: two worker processes died at it: the last one was lost" in str(
        [notice.message for notice in told]
    )
    assert max(pool.company[1], pool.company[2]) > 1
    assert pool.company[4] == 1


def test_tasks_are_given_only_as_results_are_taken() -> None:
    pool = Elsewhere(2, {})
    iteration = pool.map(abs, range(100))
    next(iteration)
    assert len(pool.given) <= 10
    assert len(list(iteration)) == 99
