"""``--track``: what TensorBoard's own reader finds in the events of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from autoprox.cli import run
from tests.commands import Captured, fails, prints

SEARCH = ["search", "--proxy", "params", "--space", "pit-nano", "--evaluations", "16", "--workers", "1"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, sampled_home: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROX_HOME", sampled_home)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def events(folder: str) -> tuple[dict[str, list[tuple[int, float]]], set[str]]:
    """{name: (step, value) pairs} of the scalars, and the names of the texts."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Any = EventAccumulator(folder)
    found.Reload()
    tags = found.Tags()
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in tags["scalars"]}, set(tags["tensors"])


def test_a_discovery(capsys: Captured) -> None:
    asked = ["discover", "--spaces", "pit-nano", "--datasets", "digits", "--evaluations", "150", "--workers", "1"]
    record = prints(capsys, [*asked, "--track", "tensorboard:log"])
    scalars, texts = events("log")
    steps = [step for step, _ in scalars["discovery/fitness"]]
    assert steps == sorted(set(steps))
    assert steps[-1] == 150
    for space, rows in record["metrics"].items():
        for dataset, row in rows.items():
            assert scalars[f"test/tau {space} {dataset}"] == [(150, pytest.approx(row["kendall"], abs=1e-6))]
    assert "discovery/tau pit-nano digits" in scalars
    assert "proxy/text_summary" in texts


def test_a_search_and_its_training(here: Path, capsys: Captured) -> None:
    record = prints(capsys, [*SEARCH, "--track", "tensorboard:log/search"])
    scalars, _ = events("log/search")
    assert [step for step, _ in scalars["search/best score"]] == [8, 16]
    assert scalars["search/best params"][-1] == (16, record["params"])

    asked = ["train", "arch.json", "--dataset", "digits", "--epochs", "2", "--out", "trained"]
    trained = prints(capsys, [*asked, "--track", "tensorboard:log/training"])
    scalars, _ = events("log/training")
    lines = [json.loads(line) for line in (here / "trained" / "journal.jsonl").read_text().splitlines()]
    assert scalars["training/loss"] == [(line["epoch"], pytest.approx(line["loss"], abs=1e-5)) for line in lines]
    assert scalars["test/accuracy"] == [(2, pytest.approx(trained["test_accuracy"], abs=1e-4))]


def test_nothing_is_logged_unless_it_is_asked_for(here: Path) -> None:
    assert run(SEARCH) == 0
    assert not list(here.rglob("events.out*"))


@pytest.mark.parametrize("where", ["log", "tensorboard:", "wandb:mine"])
def test_another_log_is_refused_before_any_work(where: str, here: Path, capsys: Captured) -> None:
    code, line = fails(capsys, [*SEARCH, "--track", where])
    assert code == 2
    assert "names no log; expected tensorboard:DIR" in line
    assert not (here / "runs").exists()


def test_without_tensorboard_the_extra_is_named(here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    code, line = fails(capsys, [*SEARCH, "--track", "tensorboard:log"])
    assert code == 3
    assert "pip install 'autoprox-vit[tracking]'" in line
    assert not (here / "runs").exists()
