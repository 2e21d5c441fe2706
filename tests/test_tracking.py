"""``--track``: what the readers of TensorBoard and MLflow find of a run."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from autoprox.cli import run
from tests.commands import Captured, fails, prints

SEARCH = ["search", "--proxy", "params", "--space", "pit-nano", "--evaluations", "16", "--workers", "1"]

mlflow = pytest.mark.skipif(
    find_spec("mlflow") is None or find_spec("sqlalchemy") is None, reason="MLflow is not installed (extra mlflow)"
)


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


@mlflow
def test_a_search_in_mlflow(here: Path, capsys: Captured) -> None:
    assert run([*SEARCH, "--json", "--track", "mlflow:log"]) == 0
    output = capsys.readouterr()
    record = json.loads(output.out)
    assert "mlflow" not in output.err.lower(), "what it makes of a new store is none of a user's business"
    from mlflow import MlflowClient  # not before: it reads its environment when it is imported

    client = MlflowClient(tracking_uri=f"sqlite:///{here}/log/mlflow.db")
    experiment = client.get_experiment_by_name("autoprox")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["search/best params"] == record["params"]
    history = client.get_metric_history(logged.info.run_id, "search/best score")
    assert sorted(point.step for point in history) == [8, 16]
    assert json.loads(logged.data.tags["architecture"]) == json.loads(Path("arch.json").read_text())["architecture"]
    prints(capsys, [*SEARCH, "--track", "mlflow:log", "--seed", "1"])
    assert len(client.search_runs([experiment.experiment_id])) == 2


@mlflow
def test_a_place_that_cannot_be_written_is_named(here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").write_text("")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for place in ("file", "http://127.0.0.1:9"):  # no service has that port
        code, line = fails(capsys, [*SEARCH, "--track", f"mlflow:{place}"])
        assert code == 3
        assert f"cannot log to MLflow at {place}: " in line
    assert not (here / "runs").exists()


@pytest.mark.parametrize("where", ["log", "tensorboard:", "mlflow:", "wandb:mine"])
def test_another_log_is_refused_before_any_work(where: str, here: Path, capsys: Captured) -> None:
    code, line = fails(capsys, [*SEARCH, "--track", where])
    assert code == 2
    assert "names no log; expected tensorboard:DIR" in line
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("module", "where", "extra"),
    [("torch.utils.tensorboard", "tensorboard:log", "tracking"), ("mlflow", "mlflow:log", "mlflow")],
)
def test_without_its_library_the_extra_is_named(
    module: str, where: str, extra: str, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    code, line = fails(capsys, [*SEARCH, "--track", where])
    assert code == 3
    assert f"pip install 'autoprox-vit[{extra}]'" in line
    assert not (here / "runs").exists()
