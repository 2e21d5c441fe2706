"""Work on a Ray cluster of two nodes: the results of local processes, also where processes and nodes are lost."""

from __future__ import annotations

import csv
import json
import os
import re
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

from autoprox.building import stratified
from autoprox.errors import MissingError
from autoprox.measuring.cluster import RayWorkers
from autoprox.measuring.workers import Notice
from autoprox.spaces import get_space
from tests.commands import fails, prints

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402 - only where there is Ray

Captured = pytest.CaptureFixture[str]

ROOT = Path(__file__).parent.parent
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
QUICK = {
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
    "health_check_initial_delay_ms": 500,
    "worker_niceness": 0,  # tests beside it would leave it no time
}

pytestmark = pytest.mark.xdist_group("cluster")  # one process, one cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and another node, of one processor each; the other one is said to have a GPU."""
    folder = tempfile.mkdtemp(prefix="ray-")  # a short path: sockets lie below it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        Path("/tmp/ray").mkdir(exist_ok=True)  # the address of a head is written there, whatever its temp_dir
        nodes = Cluster()
        nodes.add_node(**NODE, include_dashboard=False, _system_config=QUICK, temp_dir=folder)
        nodes.add_node(**NODE, num_gpus=1)
        yield nodes
        nodes.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pool(cluster: Any) -> Iterator[RayWorkers]:
    """One connection; what Ray's listener prints, whenever it likes, is kept out of what commands print meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray._private.worker._worker_logs_enabled", False)
        with RayWorkers(cluster.address) as workers:
            yield workers


def node_of(_: object = None) -> str:
    return str(ray.get_runtime_context().get_node_id())


# The rules of worker processes


def test_tasks_run_on_both_nodes_and_their_order_is_kept(pool: RayWorkers, tmp_path: Path) -> None:
    tasks = [(number, tmp_path) for number in range(8)]
    found = list(pool.map(company, tasks))
    assert [number for number, _, _ in found] == list(range(8))
    assert len({node for _, node, _ in found}) == 2
    assert max(at_once for _, _, at_once in found) == pool.count == 2
    assert sorted(pool.completed(abs, range(0, -5, -1))) == list(range(5))
    assert list(pool.map(abs, [])) == []


def company(task: tuple[int, Path]) -> tuple[int, str, int]:
    """The number, the node, and how many are at work at once; the first two wait for each other."""
    number, folder = task
    mark = folder / str(number)
    mark.touch()
    (folder / f"begun-{number}").touch()
    deadline = time.monotonic() + 120
    while number < 2 and not (folder / f"begun-{1 - number}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    at_once = len(list(folder.glob("[0-9]")))
    mark.unlink()
    return number, node_of(), at_once


def test_a_process_that_dies_once_costs_nothing_and_twice_its_task(pool: RayWorkers, tmp_path: Path) -> None:
    tasks = tasks_that_die(tmp_path, {2: 1, 5: 9})
    with pytest.warns(Notice) as told:
        found = list(pool.map(doubled, tasks, lost))
    assert found == [0, 2, 4, 6, 8, -5, 12, 14]
    assert sorted(re.sub(r" at it: .*", "", str(notice.message)) for notice in told) == [
        "a process on a node died at task-2; that is done once more, alone",
        "a process on a node died at task-5; that is done once more, alone",
        "task-5 is left out: two nodes, or processes on nodes, were lost",
    ]


def doubled(task: tuple[str, int, Path]) -> int:
    """Twice the number; kills its process as often as the folder says."""
    name, number, folder = task
    if (folder / name).exists() and len(list(folder.glob(f"{name}.*"))) < int((folder / name).read_text()):
        (folder / f"{name}.{time.monotonic_ns()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def tasks_that_die(folder: Path, deaths: dict[int, int]) -> list[tuple[str, int, Path]]:
    for number, times in deaths.items():
        (folder / f"task-{number}").write_text(str(times))
    return [(f"task-{number}", number, folder) for number in range(8)]


def lost(task: tuple[str, int, Path], reason: str) -> int:
    return -task[1]


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


def test_a_task_gets_its_part_of_a_gpu(cluster: Any) -> None:
    with RayWorkers(cluster.address, device="cuda", gpus_per_task=0.25) as parts:
        assert parts.count == 1  # the node with a GPU has one processor
        assert list(parts.map(resources_of, range(2))) == [({"CPU": 1.0, "GPU": 0.25}, "0")] * 2


# Commands


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def at_home(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Nothing is remembered there."""
    monkeypatch.setenv("AUTOPROX_HOME", str(Path(name).absolute()))


def without_times(record: object) -> object:
    return json.loads(
        json.dumps(record),
        object_hook=lambda found: {k: v for k, v in found.items() if k not in ("seconds", "out", "run_dir")},
    )


def test_a_search_is_the_same_with_one_worker_two_and_a_cluster(
    cluster: Any, pool: RayWorkers, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    arguments = ["search", "--proxy", "snip", "--space", "pit-nano", "--evaluations", "12", "--out"]
    found = []
    for name, where in (("one", ["--workers", "1"]), ("two", ["--workers", "2"]), ("ray", ["--ray", cluster.address])):
        at_home(monkeypatch, name)
        shown = prints(capsys, [*arguments, f"{name}.json", *where])
        found.append(without_times(json.loads((folder / f"{name}.json").read_text())))
        assert without_times(shown) == found[-1]
    assert found[0] == found[1] == found[2]


def test_a_build_is_the_same_on_a_cluster(
    cluster: Any, pool: RayWorkers, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    arguments = ["bench", "build", "--space", "pit-nano", "--dataset", "digits", "--architectures", "2", "--seeds", "2"]
    tables = []
    for name, where in (("local", ["--workers", "1"]), ("ray", ["--ray", cluster.address])):
        prints(
            capsys, [*arguments, "--epochs", "1", "--name", "small", "--out", name, "--run-dir", f"run-{name}", *where]
        )
        table = {path.name: path.read_bytes() for path in (folder / name).iterdir()}
        tables.append((without_times(json.loads(table.pop("benchmark.json"))), table))
        assert not (folder / f"run-{name}" / "unfinished").exists()
    assert tables[0] == tables[1]
    assert set(tables[0][1]) == {"pit-nano.csv"}


def test_a_node_that_is_lost_in_the_middle_of_captures_changes_nothing(
    cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    space = get_space("pit-nano")
    chosen = [space.key(architecture) for architecture in stratified(space, 12, seed=1)]
    rows = [{"space": space.name, "architecture": key, "digits.base": 50 + i} for i, key in enumerate(chosen)]
    with Path("own.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    arguments = ["rank", "--proxy", "snip", "--bench", "own.csv", "--json"]
    at_home(monkeypatch, "ray")
    command = [sys.executable, "-m", "autoprox", *arguments, "--ray", cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        (other,) = cluster.worker_nodes
        while not at_work(other):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        cluster.remove_node(other, allow_graceful=False)
        shown, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert "autoprox: a node of the cluster was lost at pit-nano" in told
    assert [line for line in told.splitlines() if not re.match("autoprox: |capture pit-nano", line)] == []
    at_home(monkeypatch, "local")
    assert json.loads(shown) == prints(capsys, [*arguments, "--workers", "1"])


def at_work(node: Any) -> bool:
    """Whether a process of the node is at a task."""
    (raylet,) = node.all_processes["raylet"]
    done = subprocess.run(
        ["ps", "--ppid", str(raylet.process.pid), "-o", "args="], capture_output=True, text=True, check=False
    )
    return "ray::_perform" in done.stdout


# What is missing


def test_nodes_with_other_versions_are_refused(pool: RayWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_versions", {**pool._versions, "torch": "1.0"})
    with pytest.raises(MissingError, match=r"the node .* has torch .* instead of 1\.0, .* install the same versions"):
        list(pool.map(abs, [1]))


@pytest.fixture
def disconnected() -> None:
    """A process that is on no cluster, as a command is when it begins."""
    ray.shutdown()


def test_what_is_abandoned_does_not_connect_again(cluster: Any, disconnected: None) -> None:
    with RayWorkers(cluster.address) as workers:
        answers = workers.completed(abs, range(4))
        next(answers)
    del answers
    assert not ray.is_initialized()


def test_a_cluster_of_another_version_is_one_sentence(
    cluster: Any, disconnected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "__version__", "1.0.0")
    with pytest.raises(MissingError) as caught, RayWorkers(cluster.address):
        pass
    assert re.search(r"\(Version mismatch: .* Ray: 1\.0\.0 .*\); install the same versions", str(caught.value))


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--ray", "127.0.0.1:1"], 3, "there is no Ray cluster at 127.0.0.1:1 to work on"),
        (["--ray", "here"], 2, "expected auto or HOST:PORT"),
        (["--ray", "127.0.0.1:1", "--device", "mps"], 2, "on a cluster it is cpu, or cuda"),
        (["--ray", "127.0.0.1:1", "--gpus-per-task", "0.5"], 2, "0.5 GPUs a task were asked for"),
        (["--ray", "127.0.0.1:1", "--device", "cuda", "--gpus-per-task", "2"], 2, "expected 1 or a part of it"),
        (["--gpus-per-task", "0.5"], 2, "--gpus-per-task is for --ray"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str],
    code: int,
    message: str,
    folder: Path,
    disconnected: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    at_home(monkeypatch, "home")
    found, told = fails(capsys, ["rank", "--proxy", "params", "--bench", "nano", *options])
    assert found == code
    assert message in told


def test_a_cluster_without_gpus_is_one_sentence(cluster: Any, disconnected: None) -> None:
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=True)
    with (
        pytest.raises(MissingError, match=r"has no node for a task; expected one with a processor and 0\.5 GPUs"),
        RayWorkers(cluster.address, device="cuda", gpus_per_task=0.5),
    ):
        pass
    assert not ray.is_initialized()


def test_without_ray_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    at_home(monkeypatch, "home")
    monkeypatch.setitem(sys.modules, "ray", None)
    code, told = fails(capsys, ["rank", "--proxy", "params", "--bench", "nano", "--ray", "auto"])
    assert code == 3
    assert "pip install 'autoprox-vit[ray]'" in told
