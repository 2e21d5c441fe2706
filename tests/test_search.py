"""Search: budgets, duplicates, the same result however it is run, and what it says when it cannot."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprox.errors import InputError, InterruptedRunError
from autoprox.language.text import parse_proxy
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.search import Found, SearchSettings, search
from autoprox.spaces import get_space
from autoprox.spaces.architecture_file import load_architecture
from autoprox.spaces.budget import parse_size

PIT = SearchSettings("pit-tiny", max_params=5_000_000, evaluations=60)
SUB = SearchSettings("autoformer-sub", max_params=6_000_000, evaluations=60)
WEIGHTS = "sum(std(proj.weight) * l2(fc1.weight))"  # reads weights only: no network is run

every_algorithm = pytest.mark.parametrize("algorithm", ["random", "evolution"])

Runner = Callable[..., Found]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Runner]:
    with FeatureStore(tmp_path / "memo.sqlite") as store:

        def once(
            proxy: str,
            settings: SearchSettings,
            name: str = "run",
            *,
            count: int = 1,
            resume: bool = False,
            progress: Progress = silent,
            stop: Callable[[], bool] = lambda: False,
        ) -> Found:
            with Workers(count) as workers:
                return search(
                    parse_proxy(proxy),
                    settings,
                    run_dir=tmp_path / name,
                    store=store,
                    workers=workers,
                    resume=resume,
                    progress=progress,
                    stop=stop,
                )

        yield once


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless(found: Found) -> Found:
    return replace(found, seconds=0.0)


# Results


@every_algorithm
@pytest.mark.parametrize("settings", [PIT, replace(SUB, max_flops=1_500_000_000)], ids=["pit", "autoformer"])
def test_budgets_hold_and_nothing_is_scored_twice(
    algorithm: str, settings: SearchSettings, run: Runner, tmp_path: Path
) -> None:
    found = run("params", replace(settings, algorithm=algorithm))
    records, space = lines(tmp_path / "run" / "scores.jsonl"), get_space(settings.space)
    architectures = [space.parse(record["architecture"]) for record in records]
    assert len(set(architectures)) == len(records) == found.evaluations == settings.evaluations
    for record, architecture in zip(records, architectures, strict=True):
        assert record["params"] == record["score"] == space.params(architecture)
        assert record["flops"] == space.flops(architecture)
        assert record["params"] <= (settings.max_params or 0)
        assert settings.max_flops is None or record["flops"] <= settings.max_flops
    assert [record["batch"] for record in records] == [place // 8 for place in range(len(records))]
    assert found.score == max(record["score"] for record in records)
    assert found.params == space.params(space.parse(found.architecture))
    assert (found.invalid, found.exhausted) == (0, False)


def test_the_result_depends_on_the_seed_alone(run: Runner) -> None:
    first = timeless(run("params", SUB, "a"))
    assert timeless(run("params", SUB, "b")) == first
    assert run("params", replace(SUB, seed=1), "c").architecture != first.architecture


def test_evolution_climbs_higher_than_random_search(run: Runner) -> None:
    for seed in range(3):  # the most parameters: every block's MLP has to be the wide one
        settings = SearchSettings("autoformer-sub", evaluations=150, seed=seed)
        evolved = run("params", settings, f"evolution-{seed}")
        drawn = run("params", replace(settings, algorithm="random"), f"random-{seed}")
        assert evolved.score > drawn.score


def test_a_small_space_is_searched_to_its_end(run: Runner) -> None:
    space = get_space("pit-tiny")
    rng = np.random.default_rng(0)
    small = {a for a in (space.sample(rng) for _ in range(40_000)) if space.params(a) <= 250_000}
    found = run("params", replace(PIT, max_params=250_000, evaluations=100))
    assert found.exhausted
    assert found.evaluations == len(small)
    assert found.params == max(map(space.params, small))


def rank_of(value: int, column: list[int]) -> float:
    """From 1 / n to 1; equals share the mean of their places."""
    return float((np.less(column, value).sum() + (np.equal(column, value).sum() + 1) / 2) / len(column))


def test_relative_scores_are_among_all_that_were_scored(run: Runner, tmp_path: Path) -> None:
    found = run("rank(params) + rank(depth)", PIT)
    records = lines(tmp_path / "run" / "scores.jsonl")
    space = get_space("pit-tiny")
    depths = [space.depth(space.parse(record["architecture"])) for record in records]
    by_hand = [
        rank_of(record["params"], [r["params"] for r in records]) + rank_of(depth, depths)
        for record, depth in zip(records, depths, strict=True)
    ]
    assert [record["score"] for record in records] == pytest.approx(by_hand)
    assert found.score == max(record["score"] for record in records)


@pytest.mark.parametrize("max_params", [5_000_000, 250_000])
def test_random_picks_stand_beside_the_winner(max_params: int, run: Runner, tmp_path: Path) -> None:
    found = run("flops", replace(PIT, max_params=max_params))
    picks = found.random
    assert picks["count"] == 10
    assert picks["score_mean"] <= picks["score_max"]
    assert picks["score_winner"] == found.score
    if max_params == 250_000:  # too few of the winner's size
        assert picks["matched"] == "the same budget"
        assert picks["params_mean"] <= max_params
    else:
        assert picks["matched"] == "parameters within 5% of the winner's"
        assert picks["params_mean"] == pytest.approx(found.params, rel=0.05)


def test_the_file_says_how_it_was_found(run: Runner, tmp_path: Path) -> None:
    found = run("params", replace(PIT, capture=CaptureSettings(classes=10)))
    file = load_architecture(tmp_path / "run" / "arch.json")
    assert file == found.file()
    space = get_space("pit-tiny")
    assert file.params == space.params(space.parse(file.architecture), classes=10)
    known = file.provenance
    assert (known["proxy"], known["algorithm"], known["classes"]) == ("params", "evolution", 10)
    assert (known["max_params"], known["max_flops"]) == (5_000_000, None)
    assert (known["evaluations"], known["evaluated"], known["seed"]) == (60, 60, 0)
    assert known["random"] == found.random
    assert {"autoprox", "python", "numpy", "torch"} <= set(known["versions"])
    assert known["capture"]["batch_size"] == 8
    assert known["seconds"] >= 0


def test_progress_counts_architectures(run: Runner) -> None:
    told: list[tuple[str, int, int]] = []
    run(WEIGHTS, replace(PIT, evaluations=12), progress=lambda *step: told.append(step))
    assert {stage for stage, _, _ in told} == {"search"}
    assert {total for _, _, total in told} == {12}
    counts = [done for _, done, _ in told]
    assert counts == sorted(counts)
    assert counts[-1] == 12


def test_the_number_of_workers_changes_nothing(run: Runner, tmp_path: Path) -> None:
    settings = replace(SUB, evaluations=20)
    alone = run(WEIGHTS, settings, "alone")
    with FeatureStore(tmp_path / "other.sqlite") as store, Workers(2) as workers:
        both = search(parse_proxy(WEIGHTS), settings, run_dir=tmp_path / "both", store=store, workers=workers)
    assert timeless(both) == timeless(alone)
    assert (tmp_path / "both" / "scores.jsonl").read_text() == (tmp_path / "alone" / "scores.jsonl").read_text()


# Interruption


KILLED = """
import os, signal, sys
from pathlib import Path
from autoprox.search import SearchSettings, search
from autoprox.measuring.store import FeatureStore
from autoprox.language.text import parse_proxy
from autoprox.measuring.workers import Workers

def progress(stage, done, total):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

settings = SearchSettings("autoformer-sub", max_params=6_000_000, evaluations=30)
with FeatureStore(Path(sys.argv[1]) / "killed.sqlite") as store, Workers(1) as workers:
    search(parse_proxy(sys.argv[2]), settings, run_dir=Path(sys.argv[1]) / "run", store=store, workers=workers,
           progress=progress)
"""


@pytest.mark.parametrize("at", [1, 13], ids=["first batch", "second batch"])
def test_a_killed_search_goes_on_as_if_nothing_had_happened(at: int, run: Runner, tmp_path: Path) -> None:
    settings = replace(SUB, evaluations=30)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), WEIGHTS, str(at)], check=False, cwd=Path(__file__).parent.parent
    )
    assert done.returncode == -signal.SIGKILL
    resumed = run(WEIGHTS, settings, resume=True)
    assert timeless(resumed) == timeless(run(WEIGHTS, settings, "whole"))
    assert (tmp_path / "run" / "scores.jsonl").read_text() == (tmp_path / "whole" / "scores.jsonl").read_text()


@pytest.mark.parametrize("proxy", ["params", "rank(params) - rank(depth)"])
@pytest.mark.parametrize("settings", [PIT, replace(PIT, max_params=250_000)], ids=["wide", "exhausted"])
def test_a_search_stopped_after_every_batch_ends_the_same(
    proxy: str, settings: SearchSettings, run: Runner, tmp_path: Path
) -> None:
    whole = run(proxy, settings, "whole")
    stops = (whole.evaluations - 1) // 8
    for done in range(stops):
        with pytest.raises(InterruptedRunError, match=r"continue with the same command and --resume --run-dir"):
            run(proxy, settings, resume=done > 0, stop=lambda: True)
        assert len(lines(tmp_path / "run" / "scores.jsonl")) == 8 * (done + 1)
    found = run(proxy, settings, resume=True, stop=lambda: True)
    assert timeless(found) == timeless(whole)
    assert (tmp_path / "run" / "scores.jsonl").read_text() == (tmp_path / "whole" / "scores.jsonl").read_text()


def test_lines_of_an_unfinished_batch_are_dropped(run: Runner, tmp_path: Path) -> None:
    whole = run("params", PIT, "whole")
    with pytest.raises(InterruptedRunError, match="stopped after 8 of 60 architectures"):
        run("params", PIT, stop=lambda: True)
    journal = tmp_path / "run" / "journal.jsonl"
    first = journal.read_text().splitlines(keepends=True)[0]
    with journal.open("a") as file:
        file.write(first + first[:20])  # a whole line and one that the kill cut off
    assert timeless(run("params", PIT, resume=True)) == timeless(whole)
    assert len(lines(journal)) == 60


def test_a_finished_search_can_be_resumed(run: Runner) -> None:
    found = run("params", PIT)
    assert timeless(run("params", PIT, resume=True)) == timeless(found)


def test_a_folder_with_a_run_is_not_overwritten(run: Runner) -> None:
    run("params", PIT)
    with pytest.raises(InputError, match="already holds a run; continue it with --resume"):
        run("params", PIT)


def test_there_must_be_a_run_to_resume(run: Runner) -> None:
    with pytest.raises(InputError, match="there is no run to resume in"):
        run("params", PIT, resume=True)


@pytest.mark.parametrize(
    ("proxy", "settings", "message"),
    [
        ("flops", PIT, 'proxy = "params", now "flops"'),
        ("params", replace(PIT, seed=1), "seed = 0, now 1"),
        ("params", replace(PIT, max_params=None), "max_params = 5000000, now null"),
        ("params", replace(PIT, algorithm="random"), 'algorithm = "evolution", now "random"'),
        ("params", replace(PIT, capture=CaptureSettings(classes=10)), "capture classes = null, now 10"),
    ],
)
def test_a_run_is_resumed_with_its_own_settings(
    proxy: str, settings: SearchSettings, message: str, run: Runner
) -> None:
    run("params", PIT)
    with pytest.raises(InputError, match=message):
        run(proxy, settings, resume=True)


# What cannot be done


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(PIT, max_params=100_000), "at most 100,000 parameters: the smallest has 156,612 .*raise --max-params"),
        (replace(SUB, max_flops=10**9), "at most 1,000,000,000 FLOPs: the smallest has 1,166,363,904 .*--max-flops"),
        (replace(PIT, max_params=156_612, max_flops=86_080_672), "none of 30,000 .*156,612 parameters and at most 86,"),
        (replace(SUB, max_params=5_100_196), "none of 30,000 random architectures .* has at most 5,100,196"),
        (replace(PIT, space="pit-tini"), r"no space 'pit-tini' \(did you mean"),
        (
            replace(PIT, algorithm="genetic"),
            "no search algorithm 'genetic'; choose one of random, evolution, blockwise",
        ),
        (replace(PIT, evaluations=0), "number of evaluations is 0; expected 1 or more"),
        (replace(PIT, seed=-1), "the seed is -1"),
    ],
)
def test_impossible_searches_leave_no_folder(
    settings: SearchSettings, message: str, run: Runner, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run("params", settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("proxy", ["depth", "rank(depth)", "width"])
def test_a_constant_proxy_cannot_choose(proxy: str, run: Runner) -> None:
    with pytest.raises(InputError, match=r"the 3 architectures of pit-tiny .*choose another proxy") as error:
        run(proxy, replace(PIT, max_params=156_700))
    assert "constant" in str(error.value)


def test_a_hopeless_proxy_is_given_no_more_than_it_takes_to_see_it(run: Runner) -> None:
    with pytest.raises(InputError, match=r"constant \(1\) over the 56 architectures"):
        run("depth / depth", replace(PIT, evaluations=300))


def overflowing(text: str) -> str:
    """The 64th power: not finite above 65,000."""
    return "square(" * 6 + text + ")" * 6


def test_a_proxy_that_is_finite_nowhere_is_refused(run: Runner) -> None:
    with pytest.raises(InputError, match=r"no usable score on any of the 56 architectures .*\(not finite\)"):
        run(overflowing("params"), PIT)


def test_architectures_without_a_score_are_kept_with_the_reason(run: Runner, tmp_path: Path) -> None:
    found = run(overflowing("params / depth"), PIT)
    records = lines(tmp_path / "run" / "scores.jsonl")
    without = [record for record in records if "reason" in record]
    assert 0 < found.invalid == len(without) < found.evaluations == len(records)
    assert {record["reason"] for record in without} == {"not finite"}
    assert all("score" not in record for record in without)
    assert found.score == max(record["score"] for record in records if "score" in record)


# Sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [("6.2M", 6_200_000), ("1.4G", 1_400_000_000), ("500k", 500_000), ("5000000", 5_000_000), (" 0.001m ", 1000)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-3M", "0", "0k", "1.5", "6,2M", "nan", "1e6", "6MB", "٣M", "9" * 5000])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is not a size: expected a positive number such as 6\.2M"):
        parse_size(text)


@given(st.integers(1, 10**12))
def test_whole_numbers_are_read_exactly(size: int) -> None:
    assert parse_size(str(size)) == parse_size(f"{size / 1:.0f}") == size
    assert parse_size(f"{size}k") == 1000 * size
