"""The supervised reference: descriptions of any space, ridge against its normal equations, and fits that cannot peek."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge as Oracle

from autoprox.errors import InputError
from autoprox.ranking.agreement import kendall
from autoprox.ranking.assessment import Assessor
from autoprox.ranking.problem import Group, gather, numbers_of
from autoprox.ranking.supervised import (
    SUPERVISED,
    Descriptors,
    Ridge,
    cross_predicted,
    describe,
    normal_scores,
    predicted,
)
from autoprox.spaces import SPACES, get_space
from benchdata import load_benchmark

NAN = float("nan")


def sampled(name: str, n: int = 12) -> Group:
    space, rng = get_space(name), np.random.default_rng(0)
    networks = tuple((name, space.key(space.sample(rng))) for _ in range(n))
    return Group(name, networks, {}, {}, numbers_of(networks))


def table(rng: np.random.Generator, n: int = 40, columns: int = 6) -> Descriptors:
    prior = np.where(np.arange(columns) < columns // 2, 1.0, 0.5)
    return Descriptors(tuple("abcdef"[:columns]), rng.normal(2, 3, (n, columns)), prior, prior == 1)


@pytest.mark.parametrize("name", SPACES)
def test_every_space_is_described(name):
    group = sampled(name)
    found = describe(group)
    assert found.values.shape == (12, len(found.names))
    assert found.prior.shape == found.coarse.shape == (len(found.names),)
    assert len(set(found.names)) == len(found.names)
    assert np.isfinite(found.values).all()
    np.testing.assert_allclose(found.values[:, found.names.index("log params")], np.log(group.numbers["params"]))


def test_lists_are_described_by_position_sum_and_mean():
    records = [{"width": 8, "ratios": [2, 4], "kind": ["a", "b"]}, {"width": 9, "ratios": [3], "kind": ["b"]}]
    networks = tuple(("s", json.dumps(record)) for record in records)
    found = describe(Group("s", networks, {}, {}, {"params": [10.0, 100.0]}))
    columns = dict(zip(found.names, found.values.T.tolist(), strict=True))
    assert columns == {
        "width": [8, 9],
        "ratios[0]": [2, 3],
        "ratios[1]": [4, 0],
        "sum of ratios": [6, 3],
        "mean of ratios": [3, 3],
        "kind=a[0]": [1, 0],
        "kind=b[0]": [0, 1],
        "kind=b[1]": [1, 0],
        "sum of kind=b": [1, 1],
        "mean of kind=b": [1, 1],
        "log params": pytest.approx(np.log([10, 100])),
    }
    assert found.prior[found.names.index("ratios[1]")] == pytest.approx(0.5**0.5)
    assert not found.coarse[found.names.index("ratios[1]")]
    assert found.coarse[found.names.index("sum of ratios")]


def test_ridge_equals_scikit_learn_at_the_penalty_it_chose():
    rng = np.random.default_rng(1)
    for noise in (0.1, 3.0, 30.0):
        x = table(rng)
        y = x.values @ rng.normal(size=6) + noise * rng.normal(size=40)
        fitted = Ridge.fit(x, y)
        used = np.where(x.coarse, 1.0, 0.0) if fitted.coarse else x.prior
        scaled = (x.values - x.values.mean(0)) / x.values.std(0) * used
        oracle = Oracle(alpha=fitted.penalty).fit(scaled, y)
        np.testing.assert_allclose(fitted.predict(x.values), oracle.predict(scaled))


def test_the_penalty_has_the_least_generalised_cross_validation_error():
    rng = np.random.default_rng(2)
    x = table(rng)
    y = x.values[:, 5] + 2 * rng.normal(size=40)
    fitted = Ridge.fit(x, y)
    scaled = (x.values - x.values.mean(0)) / x.values.std(0) * x.prior

    def error(penalty: float) -> float:
        design = np.column_stack([np.ones(40), scaled])
        hat = design @ np.linalg.solve(design.T @ design + penalty * np.diag([0] + [1] * 6), design.T)
        return float(np.mean((y - hat @ y) ** 2) / (1 - np.trace(hat) / 40) ** 2)

    assert not fitted.coarse, "what counts is known by position alone"
    assert error(fitted.penalty) <= min(error(fitted.penalty * factor) for factor in (0.3, 0.6, 1.6, 3))


def test_noise_is_shrunk_away():
    rng = np.random.default_rng(3)
    fits = [Ridge.fit(x := table(rng), rng.normal(size=40)).predict(x.values).std() for _ in range(20)]
    assert np.median(fits) < 0.3


def test_constant_descriptors_count_nothing():
    rng = np.random.default_rng(4)
    x = table(rng)
    x.values[:, 2] = 7.0
    fitted = Ridge.fit(x, x.values[:, 0] + rng.normal(size=40))
    assert fitted.slopes[2] == 0
    moved = x.values.copy()
    moved[:, 2] = 1e9
    np.testing.assert_array_equal(fitted.predict(moved), fitted.predict(x.values))


def test_normal_scores_keep_order_and_ties_and_tame_outliers():
    y = np.array([3.0, 1.0, 3.0, -1e9])
    np.testing.assert_allclose(normal_scores(y), stats.norm.ppf([3.5 / 5, 2 / 5, 3.5 / 5, 1 / 5]))


def test_labels_of_the_test_architectures_are_never_read():
    group = gather([load_benchmark("nano")])[0]
    train, test = list(range(0, 60, 2)), list(range(1, 60, 2))
    found = predicted(group, train, test)
    assert set(found) == set(group.labels)
    blind = {dataset: np.where(np.isin(np.arange(60), test), NAN, row) for dataset, row in group.labels.items()}
    again = predicted(Group(group.space, group.networks, blind, group.label_kinds, group.numbers), train, test)
    for dataset, labels in group.labels.items():
        np.testing.assert_array_equal(found[dataset], again[dataset])
        assert kendall(found[dataset], labels[test]) > 0.6
    crossed = cross_predicted(group)
    changed = {dataset: np.where(np.arange(60) == 7, 0.0, row) for dataset, row in group.labels.items()}
    other = cross_predicted(Group(group.space, group.networks, changed, group.label_kinds, group.numbers))
    for dataset, labels in group.labels.items():
        assert crossed[dataset][7] == other[dataset][7]
        assert not np.array_equal(crossed[dataset], other[dataset])
        assert kendall(crossed[dataset], labels) > 0.6


def test_it_is_a_reference_like_any_other():
    group = gather([load_benchmark("nano")])[0]
    scores = cross_predicted(group)
    figures = Assessor([group], resamples=50, permutations=20).assess([group.numbers["params"]], {SUPERVISED: [scores]})
    reference = figures.joint.against[SUPERVISED]
    assert reference.differences["kendall"].ci[1] < 0, "labels buy more than the parameter count"
    assert reference.likeness == pytest.approx(np.mean([kendall(group.numbers["params"], x) for x in scores.values()]))


def test_too_few_labels():
    group = gather([load_benchmark("nano")])[0]
    with pytest.raises(InputError, match="9 labels to fit the supervised reference on; it needs at least 10"):
        predicted(group, range(9), range(9, 20))
    labels = {"digits": np.where(np.arange(60) < 20, group.labels["digits"], NAN)}
    missing = Group(group.space, group.networks, labels, group.label_kinds, group.numbers)
    with pytest.raises(InputError, match="8 labels"):
        predicted(missing, range(12, 60), range(12))
