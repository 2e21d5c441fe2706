"""Work on a Ray cluster of two nodes: the results of local processes, also where processes and nodes are lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoprox.cli import run
from autoprox.errors import InputError, MissingError
from autoprox.measuring import cluster as subject
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.cluster import RayWorkers
from autoprox.measuring.screening import take_samples
from autoprox.measuring.workers import Notice, Workers
from autoprox.spaces import get_space
from tests.commands import fails, prints

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402 - only where there is Ray

ROOT = Path(__file__).parent.parent
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
QUICK = {"health_check_period_ms": 500, "health_check_failure_threshold": 2, "health_check_initial_delay_ms": 500}

pytestmark = pytest.mark.xdist_group("cluster")  # one process, one cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and another node, of one processor each; the other one is said to have a GPU."""
    folder = tempfile.mkdtemp(prefix="ray-")  # a short path: sockets lie below it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        nodes = Cluster()
        nodes.add_node(**NODE, include_dashboard=False, _system_config=QUICK, temp_dir=folder)
        nodes.add_node(**NODE, num_gpus=1)
        yield nodes
        nodes.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pool(cluster: Any) -> Iterator[RayWorkers]:
    with RayWorkers(cluster.address) as workers:
        yield workers


def node_of(_: object = None) -> str:
    return str(ray.get_runtime_context().get_node_id())


def doubled(task: tuple[str, int, Path | None, str]) -> int:
    """Twice the number; while the folder has fewer marks than it asks for, the process dies, or the node if it is not the head."""
    name, number, folder, head = task
    time.sleep(0.05)
    if folder is not None and (folder / name).exists():
        what, times = (folder / name).read_text().split()
        if len(list(folder.glob(f"{name}.*"))) < int(times) and (what == "process" or node_of() != head):
            (folder / f"{name}.{time.monotonic_ns()}").touch()
            os.kill(os.getpid() if what == "process" else os.getppid(), signal.SIGKILL)
            time.sleep(60)
    return 2 * number


def tasks_that_die(folder: Path, deaths: dict[int, str], head: str = "") -> list[tuple[str, int, Path | None, str]]:
    for number, how in deaths.items():
        (folder / f"task-{number}").write_text(how)
    return [(f"task-{number}", number, folder, head) for number in range(8)]


def lost(task: tuple[str, int, Path | None, str], reason: str) -> int:
    assert reason.startswith("two nodes, or processes on nodes, were lost at it")
    return -task[1]


# The rules of worker processes


def test_tasks_run_on_both_nodes_and_their_order_is_kept(pool: RayWorkers, cluster: Any, tmp_path: Path) -> None:
    assert pool.count == 2
    assert list(pool.map(doubled, tasks_that_die(tmp_path, {}))) == list(range(0, 16, 2))
    assert sorted(pool.completed(abs, range(0, -5, -1))) == list(range(5))
    assert len({*pool.map(slow_node_of, range(4))}) == 2
    assert list(pool.map(abs, [])) == []


def slow_node_of(_: int) -> str:
    time.sleep(0.3)
    return node_of()


def test_a_process_that_dies_once_costs_nothing_and_twice_its_task(pool: RayWorkers, tmp_path: Path) -> None:
    tasks = tasks_that_die(tmp_path, {2: "process 1", 5: "process 9"})
    with pytest.warns(Notice) as told:
        found = list(pool.map(doubled, tasks, lost))
    assert found == [0, 2, 4, 6, 8, -5, 12, 14]
    notices = sorted(str(notice.message) for notice in told)
    assert [notice.split(":")[0].split(" at ")[0] for notice in notices] == [
        "a process on a node died",
        "a process on a node died",
        "task-5 is left out",
    ]
    with pytest.warns(Notice), pytest.raises(MissingError, match="were lost at task-3: .* 'ray status'"):
        list(pool.map(doubled, tasks_that_die(tmp_path, {3: "process 9"})))


def troubled(task: int) -> int:
    warnings.warn(f"about {task}", Notice, stacklevel=1)
    return 1 // task


def test_notices_and_errors_of_nodes_reach_the_caller(pool: RayWorkers) -> None:
    with pytest.warns(Notice, match="about 3"):
        assert list(pool.map(troubled, [3])) == [0]
    with pytest.warns(Notice), pytest.raises(ZeroDivisionError) as caught:
        list(pool.map(troubled, [0]))
    assert "in troubled" in "".join(caught.value.__notes__)


def awkward(_: int) -> object:
    return (number for number in range(3))


def test_what_cannot_travel_is_one_sentence(pool: RayWorkers) -> None:
    with pytest.raises(MissingError, match=r"could not be given to a node .*\(.*generator.*\); every node needs"):
        list(pool.map(awkward, [1]))


def resources_of(_: int) -> tuple[dict[str, float], str | None]:
    return ray.get_runtime_context().get_assigned_resources(), os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_task_gets_its_part_of_a_gpu(pool: RayWorkers, cluster: Any) -> None:
    with RayWorkers(cluster.address, device="cuda", gpus_per_task=0.25) as parts:
        assert parts.count == 1  # of the one processor of the node with a GPU
        assert list(parts.map(resources_of, range(2))) == [({"CPU": 1.0, "GPU": 0.25}, "0")] * 2
    with RayWorkers(cluster.address, device="cuda") as wholes:
        assert next(wholes.map(resources_of, range(2)))[0] == {"CPU": 1.0, "GPU": 1.0}
    assert next(pool.map(resources_of, range(2)))[0] == {"CPU": 1.0}


def running_at_once(task: tuple[int, Path]) -> int:
    number, folder = task
    mark = folder / str(number)
    mark.touch()
    time.sleep(0.1)
    found = len(list(folder.iterdir()))
    mark.unlink()
    return found


def test_few_tasks_are_under_way_at_a_time(pool: RayWorkers, cluster: Any, tmp_path: Path) -> None:
    tasks = [(number, tmp_path) for number in range(6)]
    assert max(pool.map(running_at_once, tasks)) == 2
    with RayWorkers(cluster.address, 1) as one:
        assert set(one.map(running_at_once, tasks)) == {1}
        begun = []
        iteration = one.map(abs, (begun.append(number) or number for number in range(100)).__class__ and range(100))
        next(iteration)
        iteration.close()


# Commands


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps({key: value for key, value in record.items() if key not in ("out", "run_dir")})
    return json.loads(text, object_hook=lambda found: {k: v for k, v in found.items() if "seconds" not in k})


def test_a_search_is_the_same_with_one_worker_two_and_a_cluster(cluster: Any, home: Path) -> None:
    files = []
    for name, place in (("one", ["--workers", "1"]), ("two", ["--workers", "2"]), ("ray", ["--ray", cluster.address])):
        arguments = ["search", "--proxy", "snip", "--space", "pit-nano", "--evaluations", "12", "--out", f"{name}.json", *place]
        environment = {**os.environ, "AUTOPROX_HOME": str(home / name), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "autoprox", *arguments, "--json"],
            capture_output=True, text=True, check=False, cwd=home, env=environment, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        print(done.stderr)
        files.append(json.loads((home / f"{name}.json").read_text()))
        assert without_times(json.loads(done.stdout)) == without_times(files[-1])
    assert without_times(files[0]) == without_times(files[1]) == without_times(files[2])
