"""What the highest scores are worth, against scikit-learn, enumeration, and resampling one row at a time."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import ndcg_score

from autoprox.errors import InputError
from autoprox.ranking.resampling import Variable, bootstrap
from autoprox.ranking.selection import Choice, ndcg, precision, regret

NAN = float("nan")

cases = st.integers(3, 20).flatmap(
    lambda n: st.tuples(
        arrays(float, n, elements=st.sampled_from([-2.0, 0.0, 1.0, 1.5, 3.0])),
        arrays(float, n, elements=st.sampled_from([50.0, 60.0, 60.5, 70.0])),
        st.integers(1, n),
    )
)


def relevance(accuracy: np.ndarray) -> np.ndarray:
    """The share of the others that an accuracy beats, ties half."""
    return (stats.rankdata(accuracy) - 1) / (len(accuracy) - 1)


@given(cases)
def test_ndcg_equals_scikit_learn(case):
    scores, accuracy, k = case
    expected = ndcg_score([relevance(accuracy)], [scores], k=k)
    assert ndcg(scores, accuracy, k) == pytest.approx(expected)
    assert ndcg(accuracy, accuracy, k) == pytest.approx(1)


def test_precision_and_regret_are_those_of_all_orders_of_ties():
    rng = np.random.default_rng(0)
    for _ in range(30):
        n = int(rng.integers(3, 7))
        scores, accuracy = rng.integers(0, 3, n), rng.integers(60, 64, n).astype(float)
        for k in range(1, n + 1):
            best = accuracy >= np.sort(accuracy)[-k]
            orders = [o for o in itertools.permutations(range(n)) if (np.diff(scores[list(o)]) <= 0).all()]
            hits = np.mean([best[list(order[:k])].sum() / k for order in orders])
            assert precision(scores, accuracy, k) == pytest.approx(hits)
            lost = np.mean([accuracy.max() - accuracy[list(order[:k])].max() for order in orders])
            assert regret(scores, accuracy, k) == pytest.approx(lost)


def test_regret():
    accuracy = [70.0, 72.0, 75.0, NAN, 71.0]
    assert regret([5, 4, 1, 9, 2], accuracy) == 5
    assert regret([5, 4, 1, 9, 2], accuracy, k=2) == 3
    assert regret([0, 1, 2, 3, 0], accuracy) == 0
    assert regret([1, 1, 1, 1, 1], accuracy) == pytest.approx(75 - 72), "as a random one"
    with pytest.raises(InputError, match="k is 5; expected 1 to 4"):
        regret([5, 4, 1, 9, 2], accuracy, k=5)
    with pytest.raises(InputError, match="score of architecture 1 is nan; expected numbers"):
        regret([5, NAN, 1, 9, 2], accuracy)


def test_precision_of_the_first_places():
    accuracy = np.arange(20.0)
    assert precision(accuracy, accuracy) == 1
    assert precision(-accuracy, accuracy) == 0
    assert precision(np.zeros(20), accuracy, 5) == pytest.approx(5 / 20), "chance"
    assert precision([1, 2, 3, 4], [3, 3, 3, 1], 1) == 0
    assert precision([1, 2, 3, 0], [3, 3, 3, 1], 1) == 1, "equal to the best is among the best"


@given(cases)
def test_an_increasing_function_changes_nothing_that_looks_at_order(case):
    scores, accuracy, k = case
    for measure in (ndcg, precision):
        assert measure(np.exp(scores), accuracy**3, k) == pytest.approx(measure(scores, accuracy, k))


def test_chance_is_the_mean_over_all_choices():
    accuracy = np.array([60.0, 71.0, 71.0, 80.0, 55.0, 62.0])
    for k in range(1, 7):
        best = [max(chosen) for chosen in itertools.combinations(accuracy, k)]
        assert len(best) == math.comb(6, k)
        assert regret(np.ones(7), [*accuracy, NAN], k) == pytest.approx(80 - np.mean(best))


def test_scores_of_nothing_reach_chance():
    rng = np.random.default_rng(1)
    accuracy = rng.normal(70, 3, 40)
    random = rng.normal(size=(1000, 40))
    for measure, chance in (
        (ndcg, ndcg(np.zeros(40), accuracy)),
        (precision, 10 / 40),
        (lambda x, y: regret(x, y, 5), regret(np.zeros(40), accuracy, 5)),
    ):
        found = [measure(scores, accuracy) for scores in random]
        assert abs(np.mean(found) - chance) < 4 * np.std(found) / math.sqrt(1000)


def test_resamples_equal_a_loop_over_copies():
    rng = np.random.default_rng(5)
    n, k = 18, 4
    scores, accuracy = rng.integers(0, 8, n).astype(float), np.round(rng.normal(70, 2, n), 1)
    there = np.arange(n) != 3
    weights = bootstrap(0, n, 200) * there
    choice, x = Choice(weights, np.where(there, accuracy, 70), Variable(accuracy)), Variable(scores)
    for measure in (ndcg, precision, regret):
        ours = getattr(choice, measure.__name__)(x, k)
        loop = []
        for row in weights.astype(int):
            drawn = np.repeat(np.arange(n), row)
            loop.append(measure(scores[drawn], accuracy[drawn], k))
        np.testing.assert_allclose(ours, loop, atol=1e-12, err_msg=measure.__name__)


def test_more_places_than_a_resample_has():
    choice = Choice(np.array([[1.0, 2, 0], [0, 0, 0]]), np.array([1.0, 2, 3]), Variable(np.array([1.0, 2, 3])))
    x = Variable(np.array([1.0, 2, 3]))
    np.testing.assert_array_equal(choice.precision(x, 5), [1, NAN])
    np.testing.assert_array_equal(choice.regret(x, 5), [0, NAN])
    np.testing.assert_allclose(choice.ndcg(x, 5), [1, NAN])
