"""Importing NAS-Bench-BERT: files written by the tests in the published format, and the real one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchdata import KNOWN, MissingTableError, TableError, add_benchmark, find_benchmarks, load_benchmark

NAME, FILE = "nas-bench-bert", "BERT_benchmark.json"
TASKS = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst", "sts")
REAL = next(
    (
        folder
        for entry in os.environ.get("AUTOPROX_BENCHMARKS", "").split(os.pathsep)
        for folder in (Path(entry), Path(entry) / NAME)
        if entry and (folder / FILE).is_file()
    ),
    None,
)
needs_real = pytest.mark.skipif(REAL is None, reason=f"AUTOPROX_BENCHMARKS names no folder with {FILE}")

LAYER: dict[str, Any] = {
    "operation_type": "SA",
    "operation_parameter": "WMA",
    "num_operation_heads": 4,
    "feed_forward_dimension": 1024,
    "num_feed_forward": 3,
}
DSC = {**LAYER, "operation_type": "DSC", "operation_parameter": 5}


def record(index: int = 0, layers: object = None, hidden: object = 128, **scores: Any) -> dict[str, Any]:
    config = {"encoder_layers": [LAYER, DSC] if layers is None else layers}
    values = dict.fromkeys(TASKS, 60.0 + index) | {"glue": 60.0 + index} | scores
    overrides = {"hidden_size": hidden, "nas_config": config}
    return {
        "id": index,
        "completed": True,
        "scores": values,
        "hparams": {"use_tpu": True, "model_hparam_overrides": overrides},
    }


def with_(**changes: Any) -> dict[str, Any]:
    return {**record(), **changes}


def save(folder: Path, records: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(records))
    return folder / FILE


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))


def test_fields_become_the_projects_names(tmp_path: Path) -> None:
    save(tmp_path / "x", [record(0, cola=-2.07), record(1, hidden=256)])
    read = load_benchmark(tmp_path / "x")
    assert read.spaces == ("flexibert",)
    assert read.rows[0].architecture == {"hidden_size": 128, "encoder_layers": [LAYER, DSC]}
    assert read.datasets("flexibert") == ("glue", *TASKS)
    assert read.default_datasets == ("glue",)
    assert read.labels("flexibert", "cola") == ("score",)
    np.testing.assert_array_equal(read.accuracies("flexibert", "cola", "score"), [-2.07, 61])
    assert [row.origin for row in read.rows] == [f"{FILE} id 0", f"{FILE} id 1"]
    assert read.defects[-1] == f"{FILE} is not the published file: its SHA-256 differs."


def test_an_architecture_trained_twice_is_one_row_with_the_means(tmp_path: Path) -> None:
    again = record(2, cola=-4.0, sts=None)
    read = load_benchmark(save(tmp_path, [record(0, cola=1.0), record(1, hidden=256), again]))
    first = read.rows[0]
    assert len(read.rows) == 2
    assert first.accuracy[("cola", "score")] == -1.5
    assert first.accuracy[("sts", "score")] == 60
    assert first.accuracy[("glue", "score")] == 61
    assert first.origin == f"{FILE} id 0, {FILE} id 2"


def test_missing_scores_are_absent(tmp_path: Path) -> None:
    item = record(0, rte=None, sts=float("nan"))
    del item["scores"]["sst"]
    read = load_benchmark(save(tmp_path, [item, record(1, hidden=256)]))
    assert {task for task, _ in read.rows[0].accuracy} == {"glue", *TASKS} - {"rte", "sts", "sst"}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "a list of records, found an empty list"),
        ({"0": record()}, "a list of records, found dict"),
        ([record(), 7], "row 1: expected a record with 'scores' and 'hparams', found 7"),
        ([with_(seed=1)], "row 0: expected no other fields than completed, hparams, .*, found seed"),
        ([{"id": 0, "hparams": {}}], "row 0: expected the fields scores"),
        ([with_(id="a")], "row 0, id: expected a whole number, found a"),
        ([record(bleu=1.0)], "row 0, scores: expected no other fields than cola, .*, found bleu"),
        ([record(mnli=100.5)], "scores.mnli: expected a score in percent from -100 to 100, found 100.5"),
        ([record(mnli=-100.5)], "from -100 to 100, found -100.5"),
        ([record(mnli="60")], "scores.mnli: .*found 60"),
        ([with_(hparams={"x": 1})], "hparams.model_hparam_overrides: expected an object of choices, found None"),
        ([record(hidden=128.0)], "hidden_size: expected a positive whole number, found 128.0"),
        ([record(layers=[])], "encoder_layers: expected a list of records, found an empty list"),
        ([record(layers=[3])], r"encoder_layers\[0\]: expected an object of choices, found 3"),
        ([record(layers=[LAYER, {**LAYER, "dropout": 1}])], r"encoder_layers\[1\]: .*found dropout"),
        (
            [record(layers=[{**LAYER, "operation_type": "MLP"}])],
            "operation_type: expected one of SA, LT, DSC, found MLP",
        ),
        ([record(layers=[{**LAYER, "operation_parameter": "DFT"}])], "parameter: expected one of SDP, WMA, found DFT"),
        ([record(layers=[{**DSC, "operation_parameter": 7}])], "parameter: expected one of 5, 9, found 7"),
        ([record(layers=[{**LAYER, "operation_parameter": [1]}])], "one of SDP, WMA, found a list of 1 values"),
        ([record(layers=[{**LAYER, "num_operation_heads": True}])], "heads: expected a positive whole number.*True"),
    ],
)
def test_foreign_content_is_refused(tmp_path: Path, records: object, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        load_benchmark(save(tmp_path, records))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[1,", b"[" * 100_000])
def test_garbage_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(TableError, match=r"BERT_benchmark\.json: expected a JSON file"):
        load_benchmark(tmp_path / FILE)


def test_only_the_published_file_or_its_excerpt_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x", [record(0), record(1, hidden=256)])
    with pytest.raises(TableError, match=r"expected the published file \(453164 bytes, SHA-256 fa2ff7198d"):
        add_benchmark(NAME, tmp_path / "x")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (file,) = KNOWN[NAME].files
    whole, part = dataclasses.replace(file, sha256=digest), dataclasses.replace(file, excerpt=digest)
    for pinned, remarks in ((whole, 0), (part, 1)):
        monkeypatch.setitem(KNOWN, NAME, dataclasses.replace(KNOWN[NAME], files=(pinned,)))
        read = load_benchmark(add_benchmark(NAME, tmp_path / "x"))
        assert len(read.defects) == len(KNOWN[NAME].defects) + remarks
    assert read.defects[-1] == f"{FILE} is an excerpt of the published file: it lacks the last rows."


def test_absent_table_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    with pytest.raises(MissingTableError, match="autoprox bench add nas-bench-bert"):
        load_benchmark(NAME)


@needs_real
def test_the_real_file_is_installed_and_has_the_stated_content_and_defects() -> None:
    assert REAL is not None
    raw = json.loads((REAL / FILE).read_text())
    read = load_benchmark(add_benchmark(NAME, REAL))
    assert find_benchmarks()[NAME].problem is None
    by_id = {origin: row for row in read.rows for origin in row.origin.split(", ")}
    assert len(by_id) == len(raw)
    for item in raw:
        row = by_id[f"{FILE} id {item['id']}"]
        choices = item["hparams"]["model_hparam_overrides"]
        assert row.architecture == {"hidden_size": choices["hidden_size"], **choices["nas_config"]}
        if "," not in row.origin:
            assert {task: row.accuracy[task, "score"] for task in item["scores"]} == item["scores"]
    (twice,) = [row for row in read.rows if row.origin == f"{FILE} id 60, {FILE} id 222"]
    assert [round(raw[i]["scores"]["glue"], 2) for i in (60, 222)] == [67.76, 65.74]
    assert twice.accuracy["glue", "score"] == pytest.approx((67.75875 + 65.74) / 2)
    failed = raw[47]["scores"]
    assert failed["rte"] == 0
    assert round(failed["glue"], 2) == 60.32
    assert round(np.mean([failed[task] for task in TASKS if task != "rte"]), 2) == 68.93
    assert min(row.accuracy["cola", "score"] for row in read.rows) < 0


def rank_residuals(features: list[list[float]], scores: list[float]) -> tuple[float, int]:
    """Sum of squares of the ranks of the scores that a linear model leaves, and the degrees of freedom it leaves."""
    x, ranks = np.array(features, dtype=float), scipy.stats.rankdata(scores)
    rest = ranks - x @ np.linalg.lstsq(x, ranks, rcond=None)[0]
    return float(rest @ rest), len(scores) - int(np.linalg.matrix_rank(x))


@needs_real
@pytest.mark.parametrize(("depth", "stated"), [(2, 0.63), (4, 0.72)])
def test_the_operation_does_not_show_in_the_scores(depth: int, stated: float) -> None:
    assert REAL is not None
    plain, full, scores = [], [], []
    for item in json.loads((REAL / FILE).read_text())[:300]:
        choices = item["hparams"]["model_hparam_overrides"]
        layers = choices["nas_config"]["encoder_layers"]
        if len(layers) != depth or item["scores"]["rte"] == 0:
            continue
        sizes = [
            layer[name] == value
            for layer in layers
            for name, value in (("num_operation_heads", 4), ("feed_forward_dimension", 1024), ("num_feed_forward", 3))
        ]
        kinds = [layer["operation_parameter"] == kind for layer in layers for kind in ("WMA", "DFT", "DCT", 5, 9)]
        plain.append([1.0, choices["hidden_size"], *sizes])
        full.append([*plain[-1], *kinds])
        scores.append(item["scores"]["glue"])
    (without, free), (within, left) = rank_residuals(plain, scores), rank_residuals(full, scores)
    f = (without - within) / (free - left) / (within / left)
    assert round(scipy.stats.f.sf(f, free - left, left), 2) == stated
    assert any(str(stated) in defect for defect in KNOWN[NAME].defects)
