"""Noise ceilings against scipy and numpy, and against simulated trainings whose noise is known."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autoprox.errors import InputError
from autoprox.ranking.agreement import bootstrap
from autoprox.ranking.ceiling import ceilings_of, noise_ceiling, seed_labels, seed_of
from autoprox.ranking.problem import gather
from benchdata import Benchmark, Row, TableError, load_benchmark

NAN = math.nan


def trained(rng: np.random.Generator, n: int, seeds: int, spread: float = 3.0, noise: float = 1.0) -> np.ndarray:
    """Accuracies (seeds, n) of architectures whose noise-free ones have the spread."""
    return 70 + spread * rng.normal(size=n) + noise * rng.normal(size=(seeds, n))


def leave_one_out(accuracies: np.ndarray) -> list[float]:
    """Kendall's tau of each training with the mean of the others, (seeds, n)."""
    count = len(accuracies)
    return [
        stats.kendalltau(accuracies[[j for j in range(count) if j != i]].mean(0), accuracies[i]).statistic
        for i in range(count)
    ]


@given(st.integers(0, 99), st.integers(2, 5), st.integers(4, 30))
def test_figures_equal_scipy_and_numpy(seed, count, n):
    # whole percents: many ties, and means without rounding errors that could break them
    accuracies = np.round(trained(np.random.default_rng(seed), n, count)) * 4
    accuracies /= 1 if count == 4 else 4  # whatever they are multiples of
    found = noise_ceiling(dict(enumerate(accuracies)), resamples=10)
    taus = leave_one_out(accuracies)
    assert (found.n, found.seeds) == (n, tuple(range(count)))
    assert found.spread == pytest.approx(np.std(np.mean(accuracies, 0), ddof=1))
    within = sum((column - column.mean()) @ (column - column.mean()) for column in accuracies.T)
    assert found.seed_noise == pytest.approx(math.sqrt(within / (n * (count - 1))))
    np.testing.assert_allclose([np.nan if v is None else v for v in found.held_out.values()], taus, atol=1e-12)
    if np.isnan(taus).any():
        assert found.kendall is None
    else:
        assert found.kendall == pytest.approx(np.mean(taus))
    pairs = [stats.kendalltau(*pair).statistic for pair in itertools.combinations(accuracies, 2)]
    if np.isnan(pairs).any():
        assert found.reliability is found.ideal_kendall is None
    else:
        rho = max(0, np.sin(np.pi * np.mean(pairs) / 2))
        assert found.reliability == pytest.approx(1 - (1 - rho) / (1 + (count - 1) * rho))
        assert np.sin(np.pi * found.ideal_kendall / 2) ** 2 == pytest.approx(found.reliability, abs=1e-12)
    json.dumps(found.to_json(), allow_nan=False)


def test_interval_equals_a_loop_over_resamples():
    accuracies = trained(np.random.default_rng(1), 25, 3)
    found = noise_ceiling(dict(enumerate(accuracies)), seed=5, resamples=300)
    loop = []
    for counts in bootstrap((5, 0), 25, 300).astype(int):
        loop.append(np.mean(leave_one_out(accuracies[:, np.repeat(np.arange(25), counts)])))
    np.testing.assert_allclose(found.kendall_ci, np.percentile(loop, [2.5, 97.5]), atol=1e-9)
    assert found == noise_ceiling(dict(enumerate(accuracies)), seed=5, resamples=300)
    for counts in bootstrap((5, 0), 25, 300).astype(int):
        drawn = accuracies[:, np.repeat(np.arange(25), counts)]
        loop.append(np.mean([stats.kendalltau(*pair).statistic for pair in itertools.combinations(drawn, 2)]))
    rho = np.sin(np.pi / 2 * np.percentile(loop[300:], [2.5, 97.5]))
    ideal = 2 / np.pi * np.arcsin(np.sqrt(3 * rho / (1 + 2 * rho)))
    np.testing.assert_allclose(found.ideal_kendall_ci, ideal, atol=1e-9)
    assert found.kendall_ci != noise_ceiling(dict(enumerate(accuracies)), seed=6, resamples=300).kendall_ci


@pytest.mark.parametrize(("count", "noise"), [(2, 1.0), (3, 0.5), (3, 3.0), (5, 1.5)])
def test_known_noise_is_found(count, noise):
    n, spread = 1500, 2.0
    rng = np.random.default_rng(7)
    accuracies = trained(rng, n, count, spread, noise)
    found = noise_ceiling(dict(enumerate(accuracies)), resamples=1)
    assert found.seed_noise == pytest.approx(noise, rel=0.05)
    assert found.spread == pytest.approx(math.hypot(spread, noise / math.sqrt(count)), rel=0.05)

    def reliability(k: int) -> float:
        return spread**2 / (spread**2 + noise**2 / k)

    assert found.reliability == pytest.approx(reliability(count), abs=0.03)
    # Greiner: tau = 2/pi·asin(r) for normal variables; r of one training with the mean of the others
    expected = 2 / math.pi * math.asin(math.sqrt(reliability(1) * reliability(count - 1)))
    assert found.kendall == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("shape", ["normal", "skewed", "some collapsed"])
@pytest.mark.parametrize("noise", [0.3, 0.7])
def test_noise_free_accuracies_reach_what_is_said(shape, noise):
    n, rng = 2000, np.random.default_rng(3)
    quality = rng.lognormal(size=n) if shape == "skewed" else rng.normal(size=n)
    if shape == "some collapsed":
        quality[: n // 20] -= 30
    accuracies = 60 + quality + noise * rng.normal(size=(3, n))
    found = noise_ceiling(dict(enumerate(accuracies)), resamples=1)
    ideal = stats.kendalltau(quality, accuracies.mean(0)).statistic
    assert found.ideal_kendall == pytest.approx(ideal, abs=0.04)
    one = np.mean([stats.kendalltau(quality, row).statistic for row in accuracies])
    assert found.kendall < one < ideal, "no strict bound for a proxy without noise"
    if shape == "normal":
        assert np.corrcoef(quality, accuracies.mean(0))[0, 1] == pytest.approx(math.sqrt(found.reliability), abs=0.02)


def test_architectures_with_a_failed_training_do_not_count():
    accuracies = trained(np.random.default_rng(2), 12, 3)
    gaps = accuracies.copy()
    gaps[0, 3] = gaps[2, 7] = NAN
    gaps[:, 9] = NAN
    whole = np.delete(accuracies, [3, 7, 9], axis=1)
    assert noise_ceiling(dict(enumerate(gaps))) == noise_ceiling(dict(enumerate(whole)))
    assert noise_ceiling(dict(enumerate(gaps))).n == 9


def test_seeds_keep_their_names_in_any_order():
    accuracies = trained(np.random.default_rng(4), 20, 3)
    found = noise_ceiling({12: accuracies[0], 0: accuracies[1], 3: accuracies[2]})
    assert found.seeds == (0, 3, 12)
    assert list(found.held_out) == [0, 3, 12]
    assert found.held_out[12] == pytest.approx(leave_one_out(accuracies)[0])
    assert found == noise_ceiling({0: accuracies[1], 12: accuracies[0], 3: accuracies[2]})
    record = found.to_json()
    assert (record["seeds"], set(record["held_out"]), len(record["kendall_ci"])) == ([0, 3, 12], {"0", "3", "12"}, 2)


def test_means_that_are_equal_but_for_rounding_are_ties():
    # (a + b) + c differs from a + (b + c) in its last digit
    first = np.array([0.1, 0.3, 50.0, 60.0])
    others = {1: [0.2, 0.2, 50, 60], 2: [0.3, 0.1, 50, 60]}
    found = noise_ceiling({0: [1.0, 2.0, 50.0, 60.0], **others, 3: first}, resamples=1)
    assert others[1][0] + others[2][0] + first[0] != others[1][1] + others[2][1] + first[1]
    tied = stats.kendalltau([1, 1, 2, 3], [1, 2, 3, 4]).statistic
    assert found.held_out[0] == pytest.approx(tied)


def test_accuracies_that_are_all_equal():
    found = noise_ceiling({0: [70.1] * 5, 1: [70.1] * 5, 2: [70.1] * 5})
    assert (found.spread, found.seed_noise) == (0, pytest.approx(0))
    assert (found.kendall, found.kendall_ci, found.reliability) == (None, None, None)
    assert (found.ideal_kendall, found.ideal_kendall_ci) == (None, None)
    assert found.held_out == {0: None, 1: None, 2: None}
    noisy = noise_ceiling({0: [1, 2, 3], 1: [3, 2, 1.5]})
    assert noisy.kendall == -1
    assert (noisy.reliability, noisy.ideal_kendall) == (0, 0), "a negative share counts as none"
    perfect = noise_ceiling({0: [1, 2, 3, 4], 1: [2, 3, 4, 5], 2: [3, 5, 6, 7]})
    assert (perfect.kendall, perfect.reliability, perfect.ideal_kendall) == (1, 1, 1)


def test_too_little_to_say_anything():
    with pytest.raises(InputError, match="the labels have 1 training seeds; a noise ceiling needs at least 2"):
        noise_ceiling({0: [1.0, 2.0, 3.0]})
    with pytest.raises(InputError, match=r"2 architectures have an accuracy of each of the 2 training seeds.*least 3"):
        noise_ceiling({0: [1.0, 2.0, 3.0], 1: [1.0, 2.0, NAN]})


@pytest.mark.parametrize("label", ["seed-", "seed-01", "seed-1x", "seeds-1", "seed--1", "xseed-1", "mean", "seed1"])
def test_other_label_kinds_are_no_seeds(label):
    assert seed_of(label) is None


def test_seed_labels_of_a_table():
    rows = []
    for i in range(3):
        accuracy = {("digits", f"seed-{s}"): 10.0 * i + s for s in (10, 2, 0)} | {("digits", "mean"): 1.0}
        if i == 1:
            del accuracy["digits", "seed-2"]
        rows.append(Row("s", {"i": i}, {**accuracy, ("other", "kd"): 5.0}, ""))
    table = Benchmark("t", "t", "t", "t", "mean", ("digits",), (), tuple(rows))
    found = seed_labels(table, "s", "digits")
    assert list(found) == [0, 2, 10]
    np.testing.assert_array_equal(found[2], [2, NAN, 22])
    assert seed_labels(table, "s", "other") == {}
    with pytest.raises(TableError, match="data set in space 's'"):
        seed_labels(table, "s", "absent")


def test_ceilings_of_groups_are_of_their_architectures():
    table = load_benchmark("nano")
    groups = gather([table])
    whole = ceilings_of(groups, [table], resamples=20)
    assert set(whole) == {(group.space, dataset) for group in groups for dataset in group.labels}
    for (space, dataset), found in whole.items():
        assert found == noise_ceiling(seed_labels(table, space, dataset), resamples=20)
    test = [group.part("test") for group in groups]
    rows = [
        [group.networks.index(network) for network in part.networks] for group, part in zip(groups, test, strict=True)
    ]
    for (space, dataset), found in ceilings_of(test, [table], resamples=20).items():
        number = [group.space for group in groups].index(space)
        labels = {seed: row[rows[number]] for seed, row in seed_labels(table, space, dataset).items()}
        assert found == noise_ceiling(labels, resamples=20)
        assert found.n == 24


def test_no_ceiling_where_labels_are_no_means_over_seeds():
    table = load_benchmark("nano")
    assert ceilings_of(gather([table], label="seed-0"), [table], resamples=2) == {}
    group = gather([table])[0]
    assert ceilings_of([group], [], resamples=2) == {}
    assert ceilings_of([group.take([0, 1])], [table], resamples=2) == {}
    digits = np.where(np.arange(60) == 3, group.labels["digits"] + 1, group.labels["digits"])
    changed = replace(group, labels=group.labels | {"digits": digits})
    assert set(ceilings_of([changed], [table], resamples=2)) == {(group.space, "shapes"), (group.space, "textures")}


def test_ceilings_join_tables_by_architecture():
    table = load_benchmark("nano")
    group = gather([table], datasets=["digits"])[0]
    parts = [
        Benchmark(
            "a", "a", "a", "a", "mean", ("digits",), (), tuple(row for i, row in enumerate(table.rows) if i % 2 == k)
        )
        for k in (1, 0)
    ]
    assert ceilings_of([group], parts, resamples=20) == ceilings_of([group], [table], resamples=20)
