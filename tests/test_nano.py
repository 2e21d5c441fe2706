"""The benchmark that comes with the program: whole, as its README describes it, less noise than differences, repeatable."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import benchdata
from autoprox.cli import run
from autoprox.ranking.ceiling import noise_ceiling, seed_labels
from autoprox.spaces import get_space
from autoprox.training import Recipe, recipe_for
from benchdata import Benchmark, load_benchmark

FOLDER = Path(benchdata.__file__).parent / "tables" / "nano"
SPACES = ("autoformer-nano", "pit-nano")
DATASETS = ("digits", "shapes", "textures")


@pytest.fixture(scope="module")
def table() -> Benchmark:
    return load_benchmark(FOLDER)


def test_it_is_what_discover_takes_without_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path))
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    assert run(["rank", "--proxy", "params", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["space"], row["dataset"], row["label"]) for row in rows} == {
        (space, dataset, "mean") for space in SPACES for dataset in DATASETS
    }


def test_every_architecture_has_every_training(table: Benchmark) -> None:
    assert set(table.spaces) == set(SPACES)
    assert table.provenance["seeds"] == [0, 1, 2]
    for name in SPACES:
        space = get_space(name)
        rows = table.select(name)
        assert len(rows) >= 60
        assert len({space.key(space.parse(row.architecture)) for row in rows}) == len(rows)
        assert set(table.datasets(name)) == set(DATASETS)
        for dataset in DATASETS:
            seeds = np.array([table.accuracies(name, dataset, f"seed-{seed}") for seed in range(3)])
            assert np.isfinite(seeds).all()
            np.testing.assert_allclose(table.accuracies(name, dataset, "mean"), seeds.mean(axis=0), atol=1e-3)


def test_its_recipes_are_those_of_the_spaces(table: Benchmark) -> None:
    for name in SPACES:
        assert Recipe.from_json(table.provenance["recipes"][name]) == recipe_for(get_space(name))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dataset", DATASETS)
def test_architectures_differ_by_more_than_chance(table: Benchmark, space: str, dataset: str) -> None:
    ceiling = noise_ceiling(seed_labels(table, space, dataset), resamples=50)
    assert ceiling.spread > 2 * ceiling.seed_noise
    assert ceiling.kendall is not None
    assert ceiling.kendall > 0.5


def test_size_depth_and_tokens_disagree(table: Benchmark) -> None:
    from scipy.stats import kendalltau

    for name in SPACES:
        space = get_space(name)
        chosen = [space.parse(row.architecture) for row in table.select(name)]
        params, flops, depth = ([count(a) for a in chosen] for count in (space.params, space.flops, space.depth))
        assert kendalltau(params, depth).statistic < 0.6
        assert kendalltau(params, flops).statistic < 0.8


def test_the_readme_names_the_files_that_are_there(table: Benchmark) -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.csv"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in text
    assert table.content_hash in text


def test_a_row_trained_again_comes_out_as_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    """The same to the digit where sums are rounded as they were; elsewhere about as another seed would."""
    run(["bench", "retrain", str(FOLDER), "--rows", "1", "--seed", "10", "--workers", "1", "--json"])
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["dataset"] == "digits"
    assert abs(row["difference"]) <= 2 * row["bound"]
