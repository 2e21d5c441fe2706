"""`bench show` of tables that were trained with several seeds, and `bench list` of those that come with the program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprox.cli import run
from autoprox.ranking.ceiling import noise_ceiling, seed_labels
from autoprox.spaces import get_space
from benchdata import Benchmark, Row, load_benchmark, write_benchmark

Captured = pytest.CaptureFixture[str]

MADE = {
    "recipe": {"epochs": 20, "batch_size": 64, "learning_rate": 0.003, "schedule": {"warmup": 0.1}},
    "seeds": [0, 1, 2],
    "datasets": {"digits": "3f2a"},
    "versions": {"autoprox": "0.2.0", "torch": "2.13.0"},
    "seconds": 7384.2,
    "failures": [{"space": "pit-tiny", "dataset": "shapes", "seed": 1, "reason": "the loss is not finite"}],
}


@pytest.fixture(autouse=True)
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tables that come with the program; there is no other."""
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    monkeypatch.setattr("benchdata._lookup._EMBEDDED", tmp_path / "tables")
    return tmp_path / "tables"


def trained(space: str = "pit-tiny", seeds: int = 3, datasets: tuple[str, ...] = ("digits", "shapes")) -> list[Row]:
    """Ten architectures; the fourth failed once on the second data set, the fifth always and everywhere."""
    rng = np.random.default_rng(0)
    known = get_space("pit-tiny")
    found = {known.key(a): a for a in (known.sample(rng) for _ in range(30))}
    rows = []
    for i, architecture in enumerate(list(found.values())[:10]):
        accuracy: dict[tuple[str, str], float] = {}
        for d, dataset in enumerate(datasets):
            labels = {f"seed-{s}": round(50 + 3 * i + rng.normal(), 2) for s in range(seeds)}
            if i == 4:
                labels = {}
            elif (i, d) == (3, 1):
                del labels["seed-1"]
            if len(labels) == seeds:
                labels["mean"] = float(np.mean(list(labels.values())))
            accuracy |= {(dataset, label): value for label, value in labels.items()}
        rows.append(Row(space, known.to_json(architecture), accuracy, "built"))
    return rows


def store(folder: Path, rows: list[Row], name: str = "tiny", **fields: Any) -> str:
    usual = {"default_label": "mean", "default_datasets": ("digits",), "defects": (), "provenance": MADE}
    made = Benchmark(name, "Tiny", "autoprox bench build", "Apache-2.0", rows=tuple(rows), **{**usual, **fields})
    return str(write_benchmark(made, folder))


def printed(capsys: Captured, arguments: list[str]) -> str:
    assert run(arguments) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


def test_json_keeps_all_labels_and_adds_the_ceilings(tables: Path, capsys: Captured) -> None:
    store(tables / "tiny", trained())
    record = json.loads(printed(capsys, ["bench", "show", "tiny", "--json"]), parse_constant=pytest.fail)
    assert record["provenance"] == MADE
    labels = {(r["dataset"], r["label"]): r for r in record["labels"]}
    assert list(labels) == [(d, k) for d in ("digits", "shapes") for k in ("mean", "seed-0", "seed-1", "seed-2")]
    assert {pair for pair, row in labels.items() if "ceiling" in row} == {("digits", "mean"), ("shapes", "mean")}
    assert [labels["shapes", k]["n"] for k in ("mean", "seed-0", "seed-1", "seed-2")] == [8, 9, 8, 9]
    table = load_benchmark("tiny")
    for dataset in ("digits", "shapes"):
        found = labels[dataset, "mean"]
        assert found["ceiling"] == noise_ceiling(seed_labels(table, "pit-tiny", dataset)).to_json()
        accuracies = table.accuracies("pit-tiny", dataset, "mean")
        assert found["median"] == np.nanmedian(accuracies)
        assert found["sd"] == pytest.approx(found["ceiling"]["spread"])
        assert found["n"] == found["ceiling"]["n"]


@pytest.mark.parametrize("width", [80, 100])
def test_seeds_are_folded_into_their_noise(
    width: int, tables: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    store(tables / "tiny", trained())
    text = printed(capsys, ["bench", "show", "tiny"])
    assert max(map(len, text.splitlines())) <= width
    assert "seed-" not in text
    (row,) = (r for r in _record(capsys)["labels"] if (r["dataset"], r["label"]) == ("digits", "mean"))
    lines = [line.split() for line in text.splitlines()]
    points = [f"{value:.2f}" for value in (row["min"], row["median"], row["max"], row["sd"])]
    assert ["digits", "9", *points, f"{row['ceiling']['seed_noise']:.2f}"] in lines
    (ranking,) = (line for line in lines if line[:1] == ["digits"] and "[" in " ".join(line))
    figures = [row["ceiling"][name] for name in ("kendall", "ideal_kendall")]
    assert [float(ranking[1]), float(ranking[4])] == [round(value, 3) for value in figures]
    assert [float(cell) for cell in ranking[5:]] == [round(row["kendall"][n], 3) for n in ("params", "flops", "depth")]
    facts = " ".join(text.split())
    for fact in (
        "recipe epochs 20, batch size 64, learning rate 0.003, schedule (warmup 0.1)",
        "seeds 0, 1, 2",
        "versions autoprox 0.2.0, torch 2.13.0",
        "time of trainings 2:03:04",
        "failed trainings 1",
    ):
        assert fact in facts


def _record(capsys: Captured) -> dict[str, Any]:
    record = json.loads(printed(capsys, ["bench", "show", "tiny", "--json"]))
    assert isinstance(record, dict)
    return record


def test_one_seed_has_no_noise_and_other_label_kinds_stay(tables: Path, capsys: Captured) -> None:
    rows = trained(seeds=1, datasets=("digits",))
    rows[0].accuracy["old", "kd"] = 40.0
    store(tables / "tiny", rows, provenance={})
    assert _record(capsys)["labels"][0]["ceiling"] is None
    lines = [line.split() for line in printed(capsys, ["bench", "show", "tiny"]).splitlines()]
    digits = [line for line in lines if line[:1] == ["digits"]]
    assert digits[0][-1] == "–"
    assert digits[1][1:3] == ["–", "–"]
    assert ["old.kd", "1", "40.00", "40.00", "40.00", "0.00", "–"] in lines
    assert not any(line[:1] in (["recipe"], ["seeds"], ["digits.seed-0"]) for line in lines)


def test_seeds_without_a_mean_are_shown_one_by_one(tables: Path, capsys: Captured) -> None:
    rows = trained(space="unknown-space", datasets=("digits",))
    for row in rows:
        row.accuracy.pop(("digits", "mean"), None)
    store(tables / "tiny", rows, default_label="seed-0")
    text = printed(capsys, ["bench", "show", "tiny"])
    assert [text.count(name) for name in ("digits.seed-1", "digits.seed-2")] == [2, 2]
    (first,) = (row for row in _record(capsys)["labels"] if "ceiling" in row)
    assert (first["label"], first["kendall"]) == ("seed-0", {"params": None, "flops": None, "depth": None})


def test_provenance_in_another_form_is_shown_as_it_is(tables: Path, capsys: Captured) -> None:
    made = {"recipe": "as published", "seconds": "a week", "failures": "none", "seeds": 3, "more": {"x": 1}}
    store(tables / "tiny", trained(), provenance=made)
    facts = " ".join(printed(capsys, ["bench", "show", "tiny"]).split())
    for fact in ("recipe as published seeds 3", "time of trainings a week", "failed trainings none"):
        assert fact in facts


def test_tables_that_come_with_the_program_are_listed_as_embedded(tables: Path, capsys: Captured) -> None:
    folder = store(tables / "nano-dir", trained())
    (Path(folder) / "README.md").write_text("how it was made", encoding="utf-8")
    found = {b["name"]: b for b in json.loads(printed(capsys, ["bench", "list", "--json"]))["benchmarks"]}
    assert found["tiny"] == {
        "problem": None,
        "name": "tiny",
        "where": "embedded",
        "path": folder,
        "spaces": ["pit-tiny"],
        "rows": 10,
        "datasets": ["digits", "shapes"],
    }
    (line,) = (line for line in printed(capsys, ["bench", "list"]).splitlines() if line.startswith("tiny"))
    assert line.split() == ["tiny", "embedded", "10", "pit-tiny", "digits,", "shapes"]


def test_tables_that_nobody_named_are_not_joined(tables: Path, capsys: Captured) -> None:
    rows = trained()
    store(tables / "one", rows[:5], "one")
    store(tables / "two", rows[5:], "two")
    assert run(["rank", "--proxy", "params", "--datasets", "digits"]) == 2
    said = "pit-tiny is in the tables one and two, whose accuracies need not compare; choose with --bench"
    assert said in capsys.readouterr().err
    named = ["--bench", str(tables / "one"), "--bench", str(tables / "two")]
    assert run(["rank", "--proxy", "params", "--datasets", "digits", *named]) == 0


def test_data_sets_that_a_table_does_not_count_by_default_are_pointed_out(tables: Path, capsys: Captured) -> None:
    store(tables / "tiny", trained(), defects=("Shapes are drawn by hand.",))
    assert run(["rank", "--proxy", "params", "--datasets", "shapes", "--json"]) == 0
    said = "autoprox: tiny does not count shapes by default; 'autoprox bench show tiny' says why\n"
    assert capsys.readouterr().err == said
    assert run(["rank", "--proxy", "params"]) == 0
    assert capsys.readouterr().err == ""
