"""Rank statistics against scipy, against resampling one row at a time, and against known answers."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from autoprox.errors import InputError
from autoprox.ranking import agreement as ranking
from autoprox.ranking import correlations
from autoprox.ranking.agreement import KendallTargets, agreement, bootstrap, joint_agreement, kendalls
from autoprox.ranking.resampling import interval

NAN = float("nan")


def tied(n: int) -> st.SearchStrategy:
    """Vectors with many ties, infinities and both signs of zero."""
    return arrays(float, n, elements=st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 1.0, 1.5, 3.0, np.inf]))


pairs = st.integers(2, 25).flatmap(lambda n: st.tuples(tied(n), tied(n)))


def ranked(seed: int, n: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, accuracies and parameter counts (n,) that are correlated, the last one with ties."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n)
    scores, accuracy = quality + noise * rng.normal(size=n), 70 + quality
    return scores, accuracy, np.round(quality + 2 * rng.normal(size=n), 1)


@given(pairs)
def test_kendall_equals_scipy(pair):
    x, y = pair
    np.testing.assert_allclose(ranking.kendall(x, y), stats.kendalltau(x, y).statistic, atol=1e-12)


@given(pairs)
def test_spearman_and_pearson_equal_scipy(pair):
    x, y = (np.clip(values, -5, 5) for values in pair)
    constant = len(set(x)) == 1 or len(set(y)) == 1
    for ours, theirs in ((ranking.spearman, stats.spearmanr), (ranking.pearson, stats.pearsonr)):
        expected = NAN if constant else theirs(x, y).statistic
        np.testing.assert_allclose(ours(x, y), expected, atol=1e-12)


@given(pairs)
def test_sign_matrix_is_antisymmetric_and_orders(pair):
    signs = ranking.sign_matrix(pair[0])
    assert (signs == -signs.T).all()
    assert signs[0, 1] == (pair[0][0] > pair[0][1]) - int(pair[0][0] < pair[0][1])


@pytest.mark.parametrize("n", [40, 700], ids=["products", "sorting"])
def test_many_scores_against_labels_with_gaps(n):
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 12, (7, n)).astype(float), rng.integers(0, 9, (3, n)).astype(float)
    labels[0, :5] = labels[2, 10:] = NAN
    scores[4] = 1.0
    scores[5, 2] = NAN
    taus = kendalls(scores, labels)
    assert taus.shape == (7, 3)
    for i, x in enumerate(scores):
        for j, y in enumerate(labels):
            there = ~np.isnan(y)
            expected = NAN if i in (4, 5) else stats.kendalltau(x[there], y[there]).statistic
            np.testing.assert_allclose(taus[i, j], expected, atol=1e-12)
    np.testing.assert_array_equal(KendallTargets(labels).of(scores[0]), taus[0])


def test_scores_are_cut_into_pieces(monkeypatch):
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(10, 20)), rng.normal(size=(2, 20))
    whole = kendalls(scores, labels)
    monkeypatch.setattr(correlations, "_CHUNK", 1200)
    np.testing.assert_array_equal(kendalls(scores, labels), whole)


def test_no_scores_and_wrong_lengths():
    targets = KendallTargets(np.arange(12.0).reshape(2, 6))
    assert targets.of(np.empty((0, 6))).shape == (0, 2)
    with pytest.raises(InputError, match=r"scores have shape \(5,\); expected \(6,\) or \(k, 6\)"):
        targets.of(np.arange(5.0))


def test_kendall_on_values_far_from_one():
    x = [1e-320, 2e-320, 1e300, 1.5e308]
    assert ranking.kendall(x, [1, 2, 3, 4]) == 1
    assert np.isnan(ranking.kendall([0.1] * 4, [1, 2, 3, 4]))
    assert ranking.pearson([1e300, -1e300, 0], [1, -1, 0]) == pytest.approx(1)


def test_partial_kendall_of_kendall_1942():
    x, y, z = ranked(3, 60)
    xy, xz, zy = (stats.kendalltau(a, b).statistic for a, b in ((x, y), (x, z), (z, y)))
    expected = (xy - xz * zy) / np.sqrt((1 - xz**2) * (1 - zy**2))
    assert ranking.partial_kendall(x, y, z) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(ranking.partial_kendall(z, y, z))
    assert ranking.partial_kendall(x, y, np.exp(z)) == ranking.partial_kendall(x, y, z)
    missing = np.append(y, NAN)
    assert ranking.partial_kendall(np.append(x, 9), missing, np.append(z, -9)) == ranking.partial_kendall(x, y, z)


@given(pairs, st.integers(0, 9))
def test_weighted_kendall_equals_scipy(pair, seed):
    x, y = (np.clip(values, -5, 5) for values in pair)  # scipy takes no infinities
    expected = stats.weightedtau(y, x, rank=None).statistic
    np.testing.assert_allclose(correlations.weighted_kendall(x, y), expected, atol=1e-12)
    x, y = np.random.default_rng(seed).normal(size=(2, 30))
    assert correlations.weighted_kendall(x, y) == pytest.approx(stats.weightedtau(y, x, rank=None).statistic)
    assert correlations.weighted_kendall(np.append(x, 9), np.append(y, NAN)) == correlations.weighted_kendall(x, y)


def test_weighted_kendall_looks_at_the_best():
    y = np.arange(20.0)
    best_right, best_wrong = y.copy(), y.copy()
    best_right[:5], best_wrong[15:] = y[:5][::-1], y[15:][::-1]
    assert ranking.kendall(best_right, y) == ranking.kendall(best_wrong, y)
    assert correlations.weighted_kendall(best_right, y) > 0.96
    assert correlations.weighted_kendall(best_wrong, y) < 0.75


def test_partial_spearman_is_the_correlation_of_what_ranks_leave():
    x, y, z = ranked(3, 60)
    y[4] = NAN
    there = ~np.isnan(y)
    a, b, c = (stats.rankdata(values[there]) for values in (x, y, z))
    left = [values - np.polyval(np.polyfit(c, values, 1), c) for values in (a, b)]
    assert correlations.partial_spearman(x, y, z) == pytest.approx(np.corrcoef(*left)[0, 1])
    assert correlations.partial_spearman(x, y, np.exp(z)) == pytest.approx(correlations.partial_spearman(x, y, z))
    assert np.isnan(correlations.partial_spearman(z, y, z))
    assert np.isnan(correlations.partial_spearman(np.append(x[:-1], NAN), y, z))


def test_partial_tau_is_above_0_for_a_noisy_copy_of_size_and_partial_rho_is_not():
    rng = np.random.default_rng(0)
    z, a, b = rng.normal(size=(3, 2500))
    x, y = 0.95 * z + np.sqrt(1 - 0.95**2) * a, 0.8 * z + 0.6 * b
    assert ranking.partial_kendall(x, y, z) == pytest.approx(0.16, abs=0.03)
    assert correlations.partial_spearman(x, y, z) == pytest.approx(0.01, abs=0.06)


def test_bootstrap_is_seeded_and_draws_n():
    weights = bootstrap(7, 20, 300)
    assert weights.shape == (300, 20)
    assert (weights.sum(axis=1) == 20).all()
    np.testing.assert_array_equal(weights, bootstrap(7, 20, 300))
    assert (weights != bootstrap(8, 20, 300)).any()
    np.testing.assert_allclose(weights.mean(), 1)
    np.testing.assert_allclose(weights.var(), 19 / 20, rtol=0.1)  # of one architecture's count: n·(1/n)·(1 - 1/n)


def test_intervals_equal_a_loop_over_resamples():
    x, y, z = ranked(5, 30)
    found = agreement(x, y, z, seed=11, resamples=400)
    loop = []
    for counts in bootstrap((11, 0), 30, 400).astype(int):
        drawn = np.repeat(np.arange(30), counts)
        a, b, c = x[drawn], y[drawn], z[drawn]
        tau, size, both = (stats.kendalltau(*pair).statistic for pair in ((a, b), (c, b), (a, c)))
        partial = (tau - both * size) / np.sqrt((1 - both**2) * (1 - size**2))
        rho, size_rho = (stats.spearmanr(*pair).statistic for pair in ((a, b), (c, b)))
        r, size_r = (stats.pearsonr(*pair).statistic for pair in ((a, b), (c, b)))
        loop.append((tau, rho, r, size, tau - size, partial, size_rho, size_r))
    ours = [found.kendall_ci, found.spearman_ci, found.pearson_ci, found.params.kendall_ci, found.difference_ci]
    ours += [found.partial_kendall_ci, found.params.spearman_ci, found.params.pearson_ci]
    np.testing.assert_allclose(ours, np.percentile(loop, [2.5, 97.5], axis=0).T, atol=1e-10)


def test_estimates_equal_the_plain_functions():
    x, y, z = ranked(6, 50)
    y[[3, 8]] = NAN
    found = agreement(x, y, z)
    there = ~np.isnan(y)
    assert found.n == 48
    assert found.kendall == pytest.approx(ranking.kendall(x, y), abs=1e-12)
    assert found.spearman == pytest.approx(stats.spearmanr(x[there], y[there]).statistic)
    assert found.pearson == pytest.approx(stats.pearsonr(x[there], y[there]).statistic)
    assert found.params.kendall == pytest.approx(ranking.kendall(z, y), abs=1e-12)
    assert found.difference == pytest.approx(found.kendall - found.params.kendall)
    assert found.kendall_params == pytest.approx(ranking.kendall(x[there], z[there]), abs=1e-12)
    assert found.partial_kendall == pytest.approx(ranking.partial_kendall(x, y, z), abs=1e-12)
    assert found == agreement(x[there], y[there], z[there])


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # Kendall's tau of a bivariate normal with correlation r is 2/pi * asin(r).
    truth, hits, rng = 2 / np.pi * np.arcsin(0.6), 0, np.random.default_rng(2)
    for _ in range(150):
        x, e, z = rng.normal(size=(3, 60))
        low, high = agreement(x, 0.6 * x + 0.8 * e, z, seed=1, resamples=300).kendall_ci
        hits += low <= truth <= high
    assert 0.88 <= hits / 150 <= 0.99


def test_paired_interval_is_narrower_than_the_two_apart():
    x, y, _ = ranked(9, 80, noise=0.5)
    near = x + 0.05 * np.random.default_rng(1).normal(size=80)
    found = agreement(near, y, x)
    assert np.diff(found.difference_ci) < np.diff(found.kendall_ci) / 2


def test_joint_agreement_is_the_mean_over_pairs():
    x, y, z = ranked(1, 40)
    x2, y2, z2 = ranked(2, 30)
    labels = {"a": y, "b": np.where(np.arange(40) < 10, NAN, -y)}
    found = joint_agreement([(x, labels, z), (x2, {"a": y2}, z2)], seed=4)
    parts = [agreement(x, labels["a"], z), agreement(x, labels["b"], z), agreement(x2, y2, z2)]
    assert found.n == 70
    for name in ("kendall", "spearman", "pearson", "difference", "partial_kendall", "kendall_params"):
        assert getattr(found, name) == pytest.approx(np.mean([getattr(part, name) for part in parts])), name
    assert found.params.kendall == pytest.approx(np.mean([part.params.kendall for part in parts]))
    assert found.kendall_ci[0] < found.kendall < found.kendall_ci[1]


def test_data_sets_of_a_space_share_their_resamples():
    x, y, z = ranked(1, 40)
    same = joint_agreement([(x, {"a": y, "b": y}, z)], seed=4)
    opposite = joint_agreement([(x, {"a": y, "b": -y}, z)], seed=4)
    assert same.kendall_ci == pytest.approx(agreement(x, y, z, seed=4).kendall_ci)
    assert opposite.kendall_ci == pytest.approx((0, 0)), "opposite labels cancel in every single resample"


def test_agreement_is_reproducible_and_depends_on_the_seed():
    x, y, z = ranked(1, 40)
    assert agreement(x, y, z, seed=3) == agreement(x, y, z, seed=3)
    assert agreement(x, y, z, seed=3).kendall_ci != agreement(x, y, z, seed=4).kendall_ci


def test_json_has_null_for_the_undefined_and_lists_for_intervals():
    x, y, _ = ranked(1, 40)
    found = agreement(np.ones(40), y, np.ones(40))
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["params"]["kendall"] is None
    assert json.loads(text)["kendall_ci"] is None
    itself = agreement(x, y, x).to_json()
    assert itself["difference"] == 0
    assert itself["difference_ci"] == [0, 0]
    assert itself["partial_kendall"] is None
    assert itself["partial_kendall_ci"] is None
    assert isinstance(itself["kendall_ci"], list)


def test_interval_needs_the_statistic_in_half_of_the_resamples():
    assert interval(np.array([NAN, NAN, 1.0])) is None
    assert interval(np.array([NAN, 1.0, 1.0])) == (1, 1)
    assert interval(np.array([])) is None


@pytest.mark.parametrize(
    ("scores", "labels", "params", "message"),
    [
        ([1, 2, 3], [70, NAN, 71], [1, 2, 3], "2 architectures with a label; rank statistics need at least 3"),
        ([1, NAN, 3], [70, 71, 72], [1, 2, 3], "score of architecture 1 is nan; expected finite numbers"),
        ([1, 2, 3], [70, 71, 72], [1, 2, np.inf], "parameter count of architecture 2 is inf"),
        ([1, 2], [70, 71, 72], [1, 2], r"shapes \(2,\) and \(3,\)"),
    ],
)
def test_agreement_refuses(scores, labels, params, message):
    with pytest.raises(InputError, match=message):
        agreement(scores, labels, params)


def test_joint_agreement_refuses_nothing_to_do():
    with pytest.raises(InputError, match="no data set"):
        joint_agreement([])
    with pytest.raises(InputError, match="no data set"):
        joint_agreement([([1, 2, 3], {}, [1, 2, 3])])


def test_groups_of_one_space_share_their_resamples():
    rng = np.random.default_rng(8)
    x, z, a, b = rng.normal(size=(4, 30))
    together = ranking.joint_agreement([(x, {"a": x + a, "b": x + b}, z)], resamples=200)
    apart = ranking.joint_agreement([(x, {"a": x + a}, z), (x, {"b": x + b}, z)], spaces=["s", "s"], resamples=200)
    assert apart == together
    assert ranking.joint_agreement([(x, {"a": x + a}, z), (x, {"b": x + b}, z)], resamples=200).n == 60
    a[:4] = b[-3:] = np.nan  # an architecture without one of the labels is drawn as often for the other
    together = ranking.joint_agreement([(x, {"a": x + a, "b": x + b}, z)], resamples=200)
    apart = ranking.joint_agreement([(x, {"a": x + a}, z), (x, {"b": x + b}, z)], spaces=["s", "s"], resamples=200)
    assert apart == together
