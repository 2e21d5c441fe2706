"""Everything about a proxy: intervals against loops over resamples, luck against its definition, bands, references."""

import itertools
import json

import numpy as np
import pytest
from scipy import stats

from autoprox.errors import InputError
from autoprox.ranking.agreement import agreement, joint_agreement
from autoprox.ranking.assessment import Assessor, sizes_of
from autoprox.ranking.bands import band_kendall, bands_of
from autoprox.ranking.correlations import KendallTargets, kendall, partial_spearman, weighted_kendall
from autoprox.ranking.evidence import MEASURES, Evidence
from autoprox.ranking.permutation import family_wise, p_value, permutations, permuted_kendall
from autoprox.ranking.problem import Group
from autoprox.ranking.resampling import bootstrap
from autoprox.ranking.selection import ndcg, precision, regret

NAN = float("nan")


def ground(seed: int = 0, n: int = 40, space: str = "s", missing: int = 0) -> tuple[Group, np.ndarray]:
    """A space with two data sets, and scores that know the quality of its architectures with some noise."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n)
    labels = {"a": 70 + quality + rng.normal(size=n), "b": 50 + 3 * quality + rng.normal(size=n)}
    labels["b"][:missing] = NAN
    numbers = {
        "params": np.round(1e6 * np.exp(quality + rng.normal(size=n)), -5) + 1e6,
        "flops": np.exp(rng.normal(size=n)),
        "depth": rng.integers(2, 9, n).astype(float),
        "width": np.full(n, 16.0),
    }
    networks = tuple((space, f"{i}") for i in range(n))
    group = Group(space, networks, labels, {"a": "kd", "b": "kd"}, {name: list(row) for name, row in numbers.items()})
    return group, quality + rng.normal(size=n)


def band_by_pairs(x, y, band):
    agreeing = untied_x = untied_y = 0.0
    for i, j in itertools.combinations(range(len(x)), 2):
        if band[i] == band[j]:
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            agreeing, untied_x, untied_y = agreeing + a * b, untied_x + abs(a), untied_y + abs(b)
    return agreeing / np.sqrt(untied_x * untied_y)


def test_bands_are_equal_parts_that_part_no_ties():
    rng = np.random.default_rng(0)
    params = rng.normal(size=40)
    band = bands_of(params)
    assert np.bincount(band).tolist() == [10] * 4
    assert (np.diff(band[np.argsort(params)]) >= 0).all()
    tied = rng.integers(0, 9, 40).astype(float)
    assert all(len(set(bands_of(tied)[tied == value])) == 1 for value in set(tied))
    assert bands_of(np.arange(12.0)).tolist() == [0] * 6 + [1] * 6, "5 architectures a band at least"
    assert bands_of(np.arange(9.0)) is None
    assert bands_of(np.ones(40)) is None


def test_band_kendall_counts_the_pairs_inside_bands():
    group, scores = ground(3)
    x, y, params = np.round(scores, 1), np.round(group.labels["a"], 1), np.array(group.numbers["params"])
    expected = band_by_pairs(x, y, bands_of(params))
    assert band_kendall(x, y, params) == pytest.approx(expected)
    assert band_kendall(np.append(x, 9), np.append(y, NAN), np.append(params, 1)) == pytest.approx(expected)
    assert np.isnan(band_kendall(x[:8], y[:8], params[:8]))


def test_counting_parameters_says_little_in_narrow_bands():
    rng = np.random.default_rng(1)
    params = rng.uniform(0, 1, 400)
    accuracy = params + 0.2 * rng.normal(size=400)
    wide, narrow = band_kendall(params, accuracy, params, 4), band_kendall(params, accuracy, params, 40)
    assert kendall(params, accuracy) > 0.6
    assert 0.1 < wide < 0.35, "a band of a quarter is wide, and does not hide it"
    assert abs(narrow) < 0.1
    beyond = accuracy - params
    assert band_kendall(beyond, accuracy, params, 40) > 0.9


def test_estimates_are_those_of_the_plain_functions():
    group, scores = ground(1, missing=4)
    found = Assessor([group], resamples=20, permutations=20).assess([scores]).pairs["s", "b"]
    y, params = group.labels["b"], group.numbers["params"]
    expected = {
        "weighted_kendall": weighted_kendall(scores, y),
        "partial_spearman": partial_spearman(scores, y, params),
        "band_kendall": band_kendall(scores, y, params),
        "ndcg": ndcg(scores, y, 10),
        "precision": precision(scores, y, 10),
        "regret_1": regret(scores, y),
        "regret_5": regret(scores, y, 5),
    }
    for name, value in expected.items():
        assert found.measures[name].value == pytest.approx(value), name
    assert (found.agreement.n, found.top, found.bands) == (36, 10, 4)
    assert found.chance["regret_5"] == pytest.approx(regret(np.zeros(40), y, 5))
    assert found.chance["precision"] == pytest.approx(10 / 36)


@pytest.mark.parametrize("missing", [0, 4])
def test_correlations_are_those_of_agreement_to_the_last_digit(missing):
    (one, x), (two, z) = ground(1, missing=missing), ground(2, 30, "t")
    evidence = Assessor([one, two], seed=3, resamples=200, permutations=20).assess([x, z])
    for group, scores in ((one, x), (two, z)):
        for dataset, labels in group.labels.items():
            alone = agreement(scores, labels, group.numbers["params"], seed=3, resamples=200)
            assert evidence.pairs[group.space, dataset].agreement == alone
    tuples = [(scores, group.labels, group.numbers["params"]) for group, scores in ((one, x), (two, z))]
    assert evidence.joint.agreement == joint_agreement(tuples, spaces=["s", "t"], seed=3, resamples=200)
    for figures in (*evidence.pairs.values(), evidence.joint):
        assert figures.measures["kendall"].value == figures.agreement.kendall
        assert figures.measures["kendall"].ci == figures.agreement.kendall_ci
        assert figures.measures["partial_kendall"].ci == figures.agreement.partial_kendall_ci
        params = figures.against["params"]
        assert params.differences["kendall"].value == pytest.approx(figures.agreement.difference)
        assert params.differences["kendall"].ci == pytest.approx(figures.agreement.difference_ci)
        assert params.likeness == pytest.approx(figures.agreement.kendall_params)


def test_intervals_equal_a_loop_over_resamples():
    group, scores = ground(4, 30)
    rival = scores + np.random.default_rng(0).normal(size=30)
    y, params = group.labels["a"], np.array(group.numbers["params"])
    found = (
        Assessor([group], seed=7, resamples=150, permutations=5).assess([scores], {"rival": [rival]}).pairs["s", "a"]
    )
    band, loop = bands_of(params), []
    for counts in bootstrap((7, 0), 30, 150).astype(int):
        i = np.repeat(np.arange(30), counts)
        row = [
            [
                stats.weightedtau(y[i], x[i], rank=None).statistic,
                partial_spearman(x[i], y[i], params[i]),
                band_by_pairs(x[i], y[i], band[i]),
                ndcg(x[i], y[i], 10),
                precision(x[i], y[i], 10),
                regret(x[i], y[i], 5),
            ]
            for x in (scores, rival)
        ]
        loop.append([row[0], row[1], np.subtract(*row)])
    expected = np.percentile(loop, [2.5, 97.5], axis=0)
    names = ("weighted_kendall", "partial_spearman", "band_kendall", "ndcg", "precision", "regret_5")
    for j, measures in enumerate((found.measures, found.against["rival"].measures, found.against["rival"].differences)):
        np.testing.assert_allclose([measures[name].ci for name in names], expected[:, j].T, atol=1e-10)


def test_paired_differences_are_sharper_than_intervals_apart():
    group, scores = ground(6, 60)
    near = scores + 0.1 * np.random.default_rng(1).normal(size=60)
    found = Assessor([group], resamples=400, permutations=5).assess([scores], {"near": [near]}).joint
    assert found.against["near"].likeness > 0.9
    for name in ("kendall", "weighted_kendall", "band_kendall"):
        gap, alone = found.against["near"].differences[name], found.measures[name]
        assert np.ptp(gap.ci) < np.ptp(alone.ci) / 2, name
        assert gap.ci[0] <= gap.value <= gap.ci[1]


def test_the_means_are_means_over_pairs():
    (one, x), (two, z) = ground(1), ground(2, 24, "t")
    evidence = Assessor([one, two], resamples=100, permutations=50).assess([x, z])
    assert list(evidence.pairs) == [("s", "a"), ("s", "b"), ("t", "a"), ("t", "b")]
    for name in MEASURES:
        values = [figures.measures[name].value for figures in evidence.pairs.values()]
        assert evidence.joint.measures[name].value == pytest.approx(np.mean(values)), name
    assert evidence.joint.agreement.n == 64
    for name, reference in evidence.joint.against.items():
        values = [figures.against[name].likeness for figures in evidence.pairs.values()]
        assert reference.likeness == (None if None in values else pytest.approx(np.mean(values)))


def test_references_are_sizes_unless_others_are_given():
    group, scores = ground()
    assert list(sizes_of([group])) == ["params", "flops", "depth", "width", "depth * width"]
    figures = Assessor([group], resamples=20, permutations=5).assess([scores]).joint
    assert list(figures.against) == ["params", "flops", "depth", "width", "depth * width"]
    width = figures.against["width"]
    assert (width.likeness, width.differences["kendall"].value) == (None, None), "it is constant"
    assert width.measures["precision"].value == pytest.approx(figures.chance["precision"])
    assert not Assessor([group], {}, resamples=20, permutations=5).assess([scores]).joint.against


def test_scores_may_depend_on_the_data_set():
    group, scores = ground(missing=3)
    other = -scores
    assessor = Assessor([group], resamples=50, permutations=20)
    found = assessor.assess([{"a": scores, "b": other}])
    assert found.pairs["s", "a"] == assessor.assess([scores]).pairs["s", "a"]
    assert found.pairs["s", "b"] == assessor.assess([other]).pairs["s", "b"]
    complete = ground()[0]
    apart = [Group("s", complete.networks, {d: complete.labels[d]}, {d: "kd"}, complete.numbers) for d in ("a", "b")]
    one = Assessor([complete], resamples=50, permutations=20).assess([scores])
    two = Assessor(apart, resamples=50, permutations=20).assess([scores, scores])
    assert two.pairs == one.pairs
    assert two.joint.p == one.joint.p
    assert two.joint.measures["ndcg"] == one.joint.measures["ndcg"], "groups of one space share their resamples"


def test_p_is_the_share_of_permutations_that_reach_it():
    group, scores = ground(8, 12)
    y = group.labels["a"]
    orders = permutations(5, 12, 300)
    assert sorted(orders[0]) == list(range(12))
    assert len({tuple(order) for order in orders}) == 300
    taus = permuted_kendall(KendallTargets(y), scores, orders)[:, 0]
    expected = [stats.kendalltau(scores[order], y).statistic for order in orders]
    np.testing.assert_allclose(taus[1:], expected, atol=1e-12)
    reached = sum(tau >= taus[0] - 1e-12 for tau in expected)
    assert p_value(taus[0], taus[1:]) == (1 + reached) / 301
    assert p_value(NAN, taus) == 1
    assert p_value(2, np.array([NAN, 0, 0])) == 2 / 4, "what is undefined may have been as high"


def test_p_of_nothing_is_uniform_and_of_something_small():
    rng = np.random.default_rng(3)
    values = []
    for seed in range(120):
        group, _ = ground(seed, 20)
        evidence = Assessor([group], {}, seed=seed, resamples=2, permutations=99).assess([rng.normal(size=20)])
        values.append(evidence.joint.p)
    assert stats.kstest(values, "uniform").pvalue > 0.01
    group, scores = ground()
    assert Assessor([group], {}, resamples=2, permutations=499).assess([scores]).joint.p == 1 / 500
    assert Assessor([group], {}, resamples=2, permutations=499).assess([-scores]).joint.p > 0.99, "one-sided"


def test_data_sets_that_agree_are_permuted_together():
    group, scores = ground(8, 15)
    twice = Group("s", group.networks, {"a": group.labels["a"], "b": group.labels["a"]}, {}, group.numbers)
    found = Assessor([twice], {}, resamples=2, permutations=300).assess([scores])
    assert found.joint.p == found.pairs["s", "a"].p == found.pairs["s", "b"].p
    single = stats.kendalltau(scores, group.labels["a"]).pvalue
    assert found.joint.p == pytest.approx(single / 2, abs=0.05), "and not twice the evidence"


def test_the_best_of_many_proxies_needs_more_than_one_does():
    group, _ = ground(2, 40)
    good = group.labels["a"] + group.labels["b"]
    assessor = Assessor([group], {}, resamples=2, permutations=400)
    rng = np.random.default_rng(1)
    found = {f"{i}": assessor.assess([rng.normal(size=40)]) for i in range(60)} | {"good": assessor.assess([good])}
    corrected = Evidence.family_wise(found)
    assert list(corrected) == list(found)
    assert corrected["good"] < 0.01
    luckiest = min((name for name in found if name != "good"), key=lambda name: found[name].joint.p)
    assert found[luckiest].joint.p < 0.05 < 0.5 < corrected[luckiest]
    assert all(corrected[name] >= evidence.joint.p for name, evidence in found.items())
    assert Evidence.family_wise({}) == {}
    assert family_wise([0.5], [[0.1, 0.6, 0.2]]).tolist() == [2 / 4]


def test_record_holds_plain_json_of_the_metrics_of_a_proxy_file():
    (one, x), (two, z) = ground(1), ground(2, 9, "t")
    evidence = Assessor([one, two], resamples=30, permutations=5).assess([x, z])
    record = json.loads(json.dumps(evidence.to_json(), allow_nan=False))
    assert list(record) == ["s", "t", "joint"]
    figures = record["s"]["a"]
    assert set(agreement(x, one.labels["a"], one.numbers["params"]).to_json()) <= set(figures)
    assert figures["ndcg_ci"][0] <= figures["ndcg"] <= 1
    assert figures["against"]["flops"]["difference_ci"][0] < figures["against"]["flops"]["difference_ci"][1]
    assert (record["s"]["a"]["bands"], record["t"]["a"]["bands"], record["joint"]["mean"]["bands"]) == (4, None, None)
    assert record["t"]["a"]["band_kendall"] is None
    assert (record["t"]["a"]["top"], record["joint"]["mean"]["top"]) == (9, 10)
    assert evidence.to_json() == Assessor([one, two], resamples=30, permutations=5).assess([x, z]).to_json()
    assert evidence.to_json() != Assessor([one, two], resamples=30, permutations=5, seed=1).assess([x, z]).to_json()


def test_wrong_scores_are_refused():
    group, scores = ground()
    assessor = Assessor([group], resamples=2, permutations=2)
    with pytest.raises(InputError, match="scores of 2 groups; expected those of 1"):
        assessor.assess([scores, scores])
    with pytest.raises(InputError, match="scores of s are given for a, but not for b"):
        assessor.assess([{"a": scores}])
    with pytest.raises(InputError, match="rival: score of architecture 2 is inf; expected finite numbers"):
        assessor.assess([scores], {"rival": [np.where(np.arange(40) == 2, np.inf, scores)]})
    with pytest.raises(InputError, match=r"shapes \(3,\) and \(40,\)"):
        assessor.assess([[1, 2, 3]])
    with pytest.raises(InputError, match="no data set"):
        Assessor([Group("s", (), {}, {}, {"params": [], "flops": [], "depth": [], "width": []})])
