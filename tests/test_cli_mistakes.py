"""Mistakes of a user: each is one sentence, found before long work, and leaves nothing behind."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprox.cli import run
from autoprox.spaces import get_space

Captured = pytest.CaptureFixture[str]

SEARCH = ["search", "--proxy", "params", "--space", "pit-tiny", "--evaluations", "4"]
DISCOVER = ["discover", "--bench", "own.csv", "--evaluations", "2", "--batch-size", "1", "--workers", "1"]


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write_table(count: int, **changes: Any) -> None:
    """A table of small networks in the working folder; changes are made to the last one."""
    rng = np.random.default_rng(0)
    space = get_space("pit-tiny")
    found = list(dict.fromkeys(space.key(space.sample(rng)) for _ in range(4 * count)))[:count]
    found[-1] = json.dumps(json.loads(found[-1]) | changes)
    with open("own.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["space", "architecture", "cifar100.kd"])
        writer.writerows(["pit-tiny", key, 50 + i / 10] for i, key in enumerate(found))


def fails(capsys: Captured, arguments: list[str]) -> tuple[int, str]:
    """Exit code and sentence of a command that leaves the working folder as it was."""
    before = sorted(Path().rglob("*"))
    code = run(arguments)
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1, output.err
    assert [path for path in sorted(Path().rglob("*")) if path not in before] in ([], [Path("runs")])
    return code, output.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SEARCH, "--max-params", "1"], "the smallest has 156,612"),
        ([*SEARCH, "--max-flops", "1k", "--run-dir", "own"], "raise --max-flops"),
        ([*SEARCH, "--space", ""], "there is no space ''"),
        ([*SEARCH, "--device", "abacus"], "device 'abacus' cannot be used: torch knows no such kind"),
        ([*SEARCH, "--device", "meta"], "device 'meta' cannot be used"),
        ([*SEARCH, "--device", ""], "device '' cannot be used"),
        ([*SEARCH, "--batch-size", "100000"], "--batch-size"),
        ([*SEARCH, "--seed", str(2**63)], "--seed"),
        ([*SEARCH, "--resume", "--run-dir", "absent"], "there is no run to resume in absent"),
        ([*DISCOVER, "--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        ([*DISCOVER, "--run-dir", "own"], "discovery needs at least"),
        ([*DISCOVER, "--labels", ""], "has a label ''"),
        (["discover", "--resume", "--run-dir", "absent"], "there is no run to resume in absent"),
        (["search", "--proxy", "params", "depth"], "unexpected extra argument"),
        (["rank", "--proxy", "snip", "--bench", "own.csv", "--seed", str(2**64)], "--seed"),
    ],
)
def test_a_mistake_leaves_nothing_behind(arguments: list[str], message: str, capsys: Captured) -> None:
    write_table(12)
    code, text = fails(capsys, arguments)
    assert code == 2
    assert message in text


def test_a_home_that_cannot_be_used_leaves_no_run(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    write_table(36)
    monkeypatch.setenv("AUTOPROX_HOME", str(Path("own.csv").resolve()))
    for arguments in ([*SEARCH, "--proxy", "l2_norm"], DISCOVER):
        code, text = fails(capsys, arguments)
        assert code == 3
        assert "point AUTOPROX_HOME at another folder" in text


def test_the_mended_command_runs_in_the_same_folder(capsys: Captured) -> None:
    assert fails(capsys, [*SEARCH, "--max-params", "1", "--run-dir", "own"])[0] == 2
    assert run([*SEARCH, "--max-params", "9M", "--run-dir", "own"]) == 0


def test_a_failed_start_does_not_hide_the_run_to_resume(capsys: Captured) -> None:
    assert run(SEARCH) == 0
    Path("runs/search-2").mkdir()  # as a killed start leaves it
    capsys.readouterr()
    assert run(["search", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_dir"] == "runs/search-1"


def test_an_architecture_that_the_space_lacks_is_placed(capsys: Captured) -> None:
    write_table(12, base_dim=17)
    code, text = fails(capsys, ["rank", "--proxy", "params", "--bench", "own.csv"])
    assert code == 2
    assert "the benchmark own, architecture 12 of pit-tiny (from own.csv): " in text
    assert "base_dim must be one of 16, 24, 32, 40, found 17; correct the row" in text


@pytest.mark.parametrize("change", [{"evaluations": "many"}, {"proxy": 3}, {"max_params": []}, {"seed": True}])
def test_damaged_options_of_a_run_are_named(change: dict[str, Any], capsys: Captured) -> None:
    assert run([*SEARCH, "--run-dir", "own"]) == 0
    capsys.readouterr()
    options = json.loads(Path("own/options.json").read_text())
    Path("own/options.json").write_text(json.dumps(options | change))
    code, text = fails(capsys, ["search", "--resume", "--run-dir", "own"])
    assert code == 2
    assert f"own/options.json is damaged: {next(iter(change))} is " in text


def test_a_score_among_others_says_so(capsys: Captured) -> None:
    assert run(SEARCH) == 0
    capsys.readouterr()
    assert run(["score", "--proxy", "rank(params)", "--model", "arch.json", "--json"]) == 0
    output = capsys.readouterr()
    (record,) = json.loads(output.out)["scores"]
    assert record == {"model": "arch.json", "params": json.loads(Path("arch.json").read_text())["params"], "score": 1.0}
    assert "do not compare models of different spaces, nor say anything of a model that is alone" in output.err
    assert run(["score", "--proxy", "params", "--model", "arch.json"]) == 0
    assert capsys.readouterr().err == ""


def test_a_result_that_cannot_be_written_is_not_lost(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoprox import files

    monkeypatch.setattr(files, "check_writable", lambda _: None)  # the folder goes away while the search runs
    assert run([*SEARCH, "--run-dir", "own", "--out", "gone/arch.json"]) == 3
    assert "the result is in own/arch.json" in capsys.readouterr().err
    assert os.path.exists("own/arch.json")


@pytest.mark.parametrize("score", [10**400, "x" * 10**6, float("inf"), True, None])
def test_a_score_that_is_none_is_named(score: Any, capsys: Captured) -> None:
    assert run(SEARCH) == 0
    capsys.readouterr()
    record = json.loads(Path("arch.json").read_text())
    Path("arch.json").write_text(json.dumps(record | {"score": score}))
    code, text = fails(capsys, ["score", "--proxy", "params", "--model", "arch.json"])
    assert code == 2
    assert "expected 'score' to be a finite number" in text
    assert len(text) < 300
