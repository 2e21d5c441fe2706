"""Joint fitness against scipy, one pair of space and data set at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from autoprox.ranking.fitness import FITNESS, Fitness
from autoprox.ranking.problem import Group

NAN = float("nan")


def make_group(rng: np.random.Generator, space: str, n: int, datasets: int, missing: float = 0.0) -> Group:
    params = rng.integers(1, 12, n).astype(float)
    labels = {}
    for d in range(datasets):
        column = np.round(70 + params / 3 + rng.normal(size=n) * 2, 1)
        column[rng.random(n) < missing] = NAN
        column[:4] = [70, 71, 72.5, 69]  # enough of them stay
        labels[f"set{d}"] = column
    networks = tuple((space, str(i)) for i in range(n))
    return Group(space, networks, labels, dict.fromkeys(labels, "kd"), {"params": params.tolist(), "depth": [3.0] * n})


def expected_taus(groups: list[Group], scores: list[np.ndarray], partial: bool) -> np.ndarray:
    taus = []
    for group, x in zip(groups, scores, strict=True):
        for y in group.labels.values():
            there = ~np.isnan(y)
            z = np.array(group.numbers["params"])[there]
            xy, xz, zy = (kendalltau(a, b).statistic for a, b in ((x[there], y[there]), (x[there], z), (z, y[there])))
            rest = (1 - xz**2) * (1 - zy**2)
            beyond = (xy - xz * zy) / np.sqrt(rest) if rest > 1e-12 else 0.0  # what orders like size adds nothing
            taus.append(beyond if partial else xy)
    return np.array(taus)


JOIN = {"mean": np.mean, "min": np.min, "mean-abs": lambda t: np.mean(np.abs(t)), "partial": np.mean}


@pytest.mark.parametrize("mode", FITNESS)
@given(seed=st.integers(0, 999), missing=st.sampled_from([0.0, 0.4]), sign=st.sampled_from([1, -1]))
def test_fitness_equals_scipy(mode, seed, missing, sign):
    rng = np.random.default_rng(seed)
    groups = [make_group(rng, "a", 14, 2, missing), make_group(rng, "b", 9, 3, missing)]
    scores = [sign * np.round(rng.normal(size=n) + np.array(g.numbers["params"]) / 4, 1)
              for n, g in zip((14, 9), groups, strict=True)]  # fmt: skip
    fitness = Fitness(groups, mode)
    value, taus = fitness.joint(scores)
    assert fitness.pairs == (("a", "set0"), ("a", "set1"), ("b", "set0"), ("b", "set1"), ("b", "set2"))
    np.testing.assert_allclose(taus, expected_taus(groups, scores, False), atol=1e-12)
    assert value == pytest.approx(JOIN[mode](expected_taus(groups, scores, mode == "partial")), abs=1e-12)
    np.testing.assert_allclose(fitness.taus(scores), taus)
    size = expected_taus(groups, [np.array(g.numbers["params"]) for g in groups], False)
    np.testing.assert_allclose(fitness.params, size, atol=1e-12)
    assert fitness.of_params() == pytest.approx(0 if mode == "partial" else JOIN[mode](size))


def test_every_mode_is_covered():
    assert set(JOIN) == set(FITNESS)


@pytest.mark.parametrize("mode", FITNESS)
def test_an_undefined_tau_makes_the_fitness_undefined(mode):
    group = make_group(np.random.default_rng(0), "a", 10, 2)
    value, taus = Fitness([group], mode).joint([np.zeros(10)])
    assert np.isnan(value)
    assert np.isnan(taus).all()
    group.labels["set1"][:] = 50.0
    assert np.isnan(Fitness([group], mode).joint([np.arange(10.0)])[0])


def test_what_orders_like_size_knows_nothing_beyond_it():
    group = make_group(np.random.default_rng(0), "a", 10, 2)
    group = Group(
        "a", group.networks, group.labels, group.label_kinds, {"params": list(range(10)), "depth": [1.0] * 10}
    )
    for sign in (1, -1):
        assert Fitness([group], "partial").joint([sign * np.exp(np.arange(10.0))])[0] == 0


def test_modes_differ_in_what_they_reward():
    group = make_group(np.random.default_rng(0), "a", 10, 2)
    group.labels["set0"][:], group.labels["set1"][:] = np.arange(10.0), -np.arange(10.0)
    values = {mode: Fitness([group], mode).joint([np.arange(10.0)])[0] for mode in ("mean", "min", "mean-abs")}
    assert values == {"mean": 0, "min": -1, "mean-abs": 1}
