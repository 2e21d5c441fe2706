"""Commands as processes: pure standard output, quiet pipes, no tracebacks, and Ctrl-C that can be resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import autoprox

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
