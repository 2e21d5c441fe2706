"""Building a table: which architectures, what is recorded, what becomes of failures, and what may grow."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprox.building import BuildSettings, Record, build, built_table, stratified
from autoprox.building.records import Key
from autoprox.errors import InputError, InterruptedRunError
from autoprox.measuring.workers import Workers
from autoprox.spaces import SPACES, Space, get_space
from benchdata import load_benchmark, write_benchmark

NANO = ("autoformer-nano", "pit-nano")
SETTINGS = BuildSettings("tiny", ("pit-nano",), ("digits",), architectures=2, seeds=(0, 1), epochs=1)

every_nano = pytest.mark.parametrize("space", [SPACES[name] for name in NANO], ids=NANO)


# Architectures


@every_nano
def test_architectures_cover_the_sizes_of_the_space(space: Space) -> None:
    sizes = np.array([space.params(a) for a in stratified(space, 60, seed=0)])
    rng = np.random.default_rng(1)
    usual = np.array([space.params(space.sample(rng)) for _ in range(2000)])
    assert sizes.min() <= np.quantile(usual, 0.02)
    assert sizes.max() >= np.quantile(usual, 0.98)
    # no gap larger than a factor of 1.6: the smallest is some thirty times smaller than the largest
    assert np.diff(np.log(np.sort(sizes))).max() < math.log(1.6)


@settings(max_examples=10, deadline=None)
@given(short=st.integers(1, 30), more=st.integers(0, 30), seed=st.integers(0, 1000))
def test_a_longer_list_begins_with_the_shorter_one(short: int, more: int, seed: int) -> None:
    space = get_space("pit-nano")
    assert stratified(space, short + more, seed)[:short] == stratified(space, short, seed)


def test_architectures_differ_and_follow_the_seed() -> None:
    space = get_space("pit-nano")
    one = stratified(space, 100, 0)
    assert len({space.key(a) for a in one}) == 100
    assert one != stratified(space, 100, 1)


def test_more_architectures_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match=r"5000 architectures of pit-nano were asked for, but 4000 draws hold \d+"):
        stratified(get_space("pit-nano"), 5000, 0)


# Records and tables


def keys(count: int = 3, seeds: Sequence[int] = (0, 1)) -> list[Key]:
    space = get_space("pit-nano")
    chosen = [space.key(a) for a in stratified(space, count, 0)]
    return [("pit-nano", key, dataset, seed) for seed in seeds for dataset in ("digits", "shapes") for key in chosen]


def record(key: Key, accuracy: float | None = 50.0, failure: str | None = None) -> Record:
    return Record(*key, "data", accuracy, accuracy, failure, 1.5)


def test_a_table_has_each_seed_and_their_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {key: float(rng.uniform(10, 90)) for key in keys()}
    table = built_table("mine", list(values), [record(k, v) for k, v in reversed(values.items())], {"seeds": [0, 1]})
    assert (table.default_label, table.default_datasets) == ("mean", ("digits", "shapes"))
    assert table.labels("pit-nano", "digits") == ("mean", "seed-0", "seed-1")
    for i, row in enumerate(table.select("pit-nano")):
        mine = [values[key] for key in keys() if key[1] == keys()[i][1] and key[2] == "shapes"]
        assert row.accuracy["shapes", "mean"] == pytest.approx(np.mean(mine), abs=1e-4)
        assert row.accuracy["shapes", "seed-1"] == pytest.approx(mine[1], abs=1e-4)
    assert table.provenance["seconds"] == 1.5 * len(values)
    assert table.provenance["failures"] == []
    assert load_benchmark(write_benchmark(table, tmp_path / "mine")) == table


def test_a_failure_is_kept_and_leaves_no_mean() -> None:
    lost = keys()[4]
    records = [record(k) if k != lost else record(k, None, "the loss became nan in epoch 1") for k in keys()]
    table = built_table("mine", keys(), records, {})
    row = next(
        r for r in table.rows if get_space("pit-nano").key(get_space("pit-nano").parse(r.architecture)) == lost[1]
    )
    assert set(row.accuracy) == {("digits", "mean"), ("digits", "seed-0"), ("digits", "seed-1"), ("shapes", "seed-1")}
    (failure,) = table.provenance["failures"]
    assert (failure["dataset"], failure["seed"], failure["failure"]) == ("shapes", 0, "the loss became nan in epoch 1")
    assert table.defects == ("1 of 12 trainings failed; see provenance.",)


def test_a_space_without_any_success_makes_no_table() -> None:
    with pytest.raises(InputError, match=r"no architecture of pit-nano was trained well with every seed \(nan\)"):
        built_table("mine", keys(), [record(k, None, "nan") for k in keys()], {})


# Builds


def run(folder: Path, asked: BuildSettings = SETTINGS, **options: Any) -> Any:
    with Workers(options.pop("workers", 1)) as workers:
        return build(asked, folder, (folder / "settings.json").exists(), workers, **options)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_build_stops_goes_on_and_grows(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    for stopped in (1, 2):
        with pytest.raises(InterruptedRunError, match=rf"stopped after {stopped} of 4 trainings"):
            run(tmp_path / "run", stop=lambda: True)
        assert len(lines(tmp_path / "run")) == stopped
    assert run(tmp_path / "run").rows == whole.rows
    before = lines(tmp_path / "run")
    grown = run(tmp_path / "run", replace(SETTINGS, architectures=3, seeds=(0, 1, 2)))
    assert lines(tmp_path / "run")[: len(before)] == before
    assert len(lines(tmp_path / "run")) == 9
    assert [row.architecture for row in grown.rows][:2] == [row.architecture for row in whole.rows]
    for row, old in zip(grown.rows, whole.rows, strict=False):
        assert row.accuracy["digits", "seed-0"] == old.accuracy["digits", "seed-0"]
    assert not list((tmp_path / "run").glob("unfinished/*"))


def test_other_recipes_do_not_mix(tmp_path: Path) -> None:
    run(tmp_path / "run", replace(SETTINGS, architectures=1, seeds=(0,)))
    with pytest.raises(InputError, match=r"has changes\.epochs = 1, now 2 is asked for"):
        run(tmp_path / "run", replace(SETTINGS, epochs=2))


def test_a_training_that_diverges_is_a_record(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table was made"):
        run(tmp_path / "run", replace(SETTINGS, architectures=1, seeds=(0,), learning_rate=1e30))
    (line,) = lines(tmp_path / "run")
    assert line["accuracy"] is None
    assert "loss became" in line["failure"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (1, 2, 1)}, "the seed 1 is given twice"),
        ({"seeds": ()}, "at least one seed"),
        ({"spaces": ("pit-nano", "pit-nano")}, "the space pit-nano is given twice"),
        ({"datasets": ("digits", "digits")}, "the data set digits is given twice"),
    ],
)
def test_repetitions_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run(tmp_path / "run", replace(SETTINGS, **changes))
    assert not (tmp_path / "run").exists()


def _first_waits(task: tuple[int, Path]) -> int:
    """The first task goes on as soon as the last one is through."""
    number, mark = task
    if number == 5:
        mark.touch()
    end = time.monotonic() + 60
    while number == 0 and not mark.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return number


def test_what_ends_first_is_there_first(tmp_path: Path) -> None:
    with Workers(2) as workers:
        found = list(workers.completed(_first_waits, [(number, tmp_path / "mark") for number in range(6)]))
    assert sorted(found) == list(range(6))
    assert found[0] != 0
