"""Commands as processes: pure standard output, quiet pipes, no tracebacks, and Ctrl-C that can be resumed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import autoprox
from tests.kill import SUBJECTS, killed

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "autoprox"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name != "AUTOPROX_BENCHMARKS"},
        "AUTOPROX_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
    }


def finished(arguments: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=60
    )


def test_version_and_help_of_every_command(environment: dict[str, str], tmp_path: Path) -> None:
    assert finished(["--version"], environment, tmp_path).stdout == f"autoprox {autoprox.__version__}\n"
    assert "Usage: autoprox" in finished([], environment, tmp_path).stdout
    for command in ("discover", "rank", "score", "search", "export", "bench", "bench show", "proxies", "spaces"):
        done = finished([*command.split(), "--help"], environment, tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"Usage: autoprox {command}" in done.stdout
        assert "--json" in done.stdout or command in ("bench", "export")


def test_errors_show_no_traceback(environment: dict[str, str], tmp_path: Path) -> None:
    done = finished(["rank", "--proxy", "().__class__.__bases__", "--bench", "nope.csv"], environment, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"autoprox: [^\n]+\n", done.stderr)


def test_a_closed_pipe_is_no_error(environment: dict[str, str], tmp_path: Path) -> None:
    line = f"{' '.join(COMMAND)} primitives | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("operator")


def test_a_full_disk_is_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "spaces", "--json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            cwd=tmp_path, env=environment,
        )  # fmt: skip
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "autoprox: " in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_greek_letters(encoding: str, environment: dict[str, str], tmp_path: Path) -> None:
    rows = "".join(f'pit-tiny,"{network(depth)}",{60 + depth}\n' for depth in (1, 2, 3))
    (tmp_path / "own.csv").write_text(f"space,architecture,cifar100.kd\n{rows}", encoding="utf-8")
    arguments = ["rank", "--proxy", "params", "--bench", "own.csv"]
    plain = {**environment, "PYTHONIOENCODING": encoding}
    done = finished(arguments, plain, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "? [95 %]" in done.stdout
    json.loads(finished([*arguments, "--json"], plain, tmp_path).stdout)


def network(depth: int) -> str:
    """A CSV cell: an architecture of pit-tiny."""
    text = json.dumps({"base_dim": 16, "mlp_ratio": 2, "num_heads": [2, 2, 2], "depth": [depth, 6, 6]})
    return text.replace('"', '""')


def test_closed_output_is_no_error(environment: dict[str, str], tmp_path: Path) -> None:
    line = f"{' '.join(COMMAND)} spaces --json >&-; echo $?; {' '.join(COMMAND)} nope 2>&-; echo $?"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.stdout.split(), done.stderr) == (["0", "2"], "")


def test_interrupted_search_goes_on_to_the_same_result(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = [
        "search",
        "--proxy",
        "l2_norm",
        "--space",
        "pit-tiny",
        "--evaluations",
        "64",
        "--workers",
        "1",
        "--json",
    ]
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    state = tmp_path / "runs" / "search-1" / "state.json"
    deadline = time.monotonic() + 40
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=40)
    assert process.returncode == 130, errors
    assert output == ""
    assert "stopping at the next safe point" in errors
    assert re.search(r"autoprox: stopped after \d+ of 64 architectures; .*--resume --run-dir runs/search-1", errors)

    resumed = finished(["search", "--resume", "--workers", "1", "--json"], environment, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = finished([*arguments, "--out", "whole.json"], environment, tmp_path)
    first, second = json.loads(resumed.stdout), json.loads(whole.stdout)
    assert first["architecture"] == second["architecture"]
    assert first["score"] == second["score"]


DISCOVER = [
    "discover", "--bench", "nano", "--spaces", "pit-nano", "--datasets", "digits", "--evaluations", "40", "--batch-size", "1",
    "--workers", "1", "--json",
]  # fmt: skip


def test_two_discoveries_share_one_home_from_the_start(environment: dict[str, str], tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [*COMMAND, *DISCOVER, "--run-dir", name, "--out", f"{name}.json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    found = []
    for process in running:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "damaged" not in errors
        record = json.loads(output)
        del record["provenance"]["seconds"]
        found.append({name: record[name] for name in ("expression", "metrics", "provenance")})
    assert found[0] == found[1]
    assert not [path.name for path in (tmp_path / "home").rglob(".*") if path.name != ".features.sqlite.lock"]


def test_a_disk_that_is_too_small_for_samples_is_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of a file")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [*COMMAND, *DISCOVER], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=120,
        preexec_fn=limited,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith("autoprox: the samples of statistics cannot be kept in ")
    assert not list((tmp_path / "home").rglob("*.safetensors*"))


def read_only(folder: Path, arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a command does while the folder ``home`` below is on a read-only disk; root may make one, for itself only."""
    script = 'mount --bind home home && mount -o remount,bind,ro home && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *COMMAND, *arguments],
        capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=120,
    )  # fmt: skip
    return done


SCORE = ["score", "--model", "own/arch.json", "--batch-size", "1", "--workers", "1", "--json", "--proxy"]


def test_a_home_on_a_read_only_disk(environment: dict[str, str], tmp_path: Path) -> None:
    probe = "mount --bind . . && mount -o remount,bind,ro ."
    if (
        not shutil.which("unshare")
        or subprocess.run(
            ["unshare", "-m", "sh", "-c", probe], capture_output=True, check=False, cwd=tmp_path
        ).returncode
    ):
        pytest.skip("only root can have a read-only disk here")
    search = ["search", "--proxy", "params", "--space", "pit-nano", "--evaluations", "1", "--run-dir", "own"]
    assert finished(search, environment, tmp_path).returncode == 0
    home = tmp_path / "home"
    shutil.rmtree(home)
    home.mkdir()
    cold = read_only(tmp_path, [*SCORE, "l2_norm"], environment)
    assert (cold.returncode, cold.stdout) == (3, "")
    assert re.fullmatch(
        r"autoprox: the memo .* cannot be used .*point AUTOPROX_HOME at another folder.*\n", cold.stderr
    )

    warm = finished([*SCORE, "l2_norm"], environment, tmp_path)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for proxy in ("l2_norm", "snip"):  # the second is not in the memo
        done = read_only(tmp_path, [*SCORE, proxy], environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout == warm.stdout or proxy != "l2_norm"
        assert f"{home}/cache/features.sqlite cannot be written; what is in it is used" in done.stderr
    refused = read_only(tmp_path, ["cache", "--clear"], environment)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert re.fullmatch(r"autoprox: [^\n]+\n", refused.stderr)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(environment: dict[str, str], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of a file")
    arguments = [
        "search",
        "--proxy",
        "params",
        "--space",
        "pit-tiny",
        "--evaluations",
        "900",
        "--workers",
        "1",
        "--json",
    ]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))  # the memo has less

    done = subprocess.run(
        [*COMMAND, *arguments, "--run-dir", "own"], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=environment, timeout=60, preexec_fn=limited,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert re.search(r"^autoprox: cannot write own/.*File too large; .*--resume", done.stderr.splitlines()[-1])
    assert (tmp_path / "own" / "state.json").exists()
    assert not [path.name for path in (tmp_path / "own").glob(".*") if path.name != ".lock"]
    resumed = finished(["search", "--resume", "--run-dir", "own", "--json"], environment, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = finished([*arguments, "--out", "whole.json"], environment, tmp_path)
    first, second = json.loads(resumed.stdout), json.loads(whole.stdout)
    assert [first[name] for name in ("architecture", "score")] == [second[name] for name in ("architecture", "score")]


def test_kills_at_random_moments(tmp_path: Path) -> None:
    search = next(subject for subject in SUBJECTS if subject.name == "search")
    shorter = tuple("40" if argument == "120" else argument for argument in search.arguments)
    for line, went_well in killed(replace(search, arguments=shorter), tmp_path, kills=3, seed=1):
        assert went_well, line
