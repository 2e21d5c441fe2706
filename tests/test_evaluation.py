"""Scores of populations against a loop over networks in numpy; what cannot be used is Invalid, never an exception."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features, kind
from autoprox.language.text import parse_proxy
from autoprox.proxies.evaluation import CONSTANT, Invalid, Population
from tests import oracles
from tests.strategies import proxies

DEPTHS = [3, 2, 4, 2, 3]
NUMBERS = {"depth": DEPTHS, "params": [5.0, 7.0, 6.0, 9.5, 1.0], "flops": [1.0, 2.0, 0.5, 4.0, 8.0],
           "width": [3.0, 2.0, 8.0, 6.0, 5.0]}  # fmt: skip
AWKWARD = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 1.0, -1.0]


def random_rows(
    e: Expression, seed: int, awkward: float = 0.0, wobble: float = 0.0
) -> list[dict[Expression, np.ndarray]]:
    rng, noise = np.random.default_rng(seed), np.random.default_rng(1)
    rows = []
    for depth in DEPTHS:
        row = {}
        for f in features(e):
            size = depth if kind(f).level == "block" else 1
            values, odd = rng.normal(size=size), rng.random(size) < awkward
            values[odd] = rng.choice(AWKWARD, odd.sum())
            row[f] = values * (1 + wobble * noise.normal(size=size))
        rows.append(row)
    return rows


def population(e: Expression, rows: list[dict[Expression, np.ndarray]]) -> Population:
    made = Population(NUMBERS)
    made.add({f: [row[f] for row in rows] for f in features(e)})
    return made


@settings(max_examples=300)
@given(proxies(6), st.integers(0, 9))
def test_scores_equal_a_loop_over_networks(e, seed):
    with np.errstate(all="ignore"):
        expected, again = (oracles.scores(e, NUMBERS, random_rows(e, seed, wobble=w)) for w in (0.0, 1e-11))
    trusted = np.isclose(expected, again, rtol=1e-7, atol=1e-8, equal_nan=True)
    found = population(e, random_rows(e, seed)).score(e)
    if isinstance(found, Invalid):
        spread = np.ptp(expected)
        assert not np.isfinite(spread) or spread <= 2 * CONSTANT * np.abs(expected).max() or not trusted.all()
    else:
        np.testing.assert_allclose(found[trusted], expected[trusted], rtol=1e-6, atol=1e-7)


@settings(max_examples=300)
@given(proxies(6), st.integers(0, 9), st.sampled_from([0.1, 0.5, 1.0]), st.booleans())
def test_awkward_features_give_scores_or_a_reason(e, seed, awkward, strict):
    found = population(e, random_rows(e, seed, awkward)).score(e, strict)
    if isinstance(found, Invalid):
        assert found.reason
    else:
        assert found.shape == (len(DEPTHS),)
        assert np.isfinite(found).all()
        assert np.ptp(found) > 0


def values_of(text: str, blocks: list[list[float]], numbers: dict[str, list[float]] | None = None) -> Population:
    e = canonical(parse_proxy(text))
    rows = [{f: np.array(row, dtype=float) for f in features(e)} for row in blocks]
    depths = [len(row) for row in blocks]
    return Population(numbers or {"depth": depths, "params": list(range(1, len(blocks) + 1))}, rows)


def score(text: str, blocks: list[list[float]], strict: bool = False, **numbers: list[float]) -> object:
    made = values_of(text, blocks, {"depth": [len(row) for row in blocks], **numbers} if numbers else None)
    found = made.score(canonical(parse_proxy(text)), strict)
    return found.tolist() if isinstance(found, np.ndarray) else found.reason


def test_reasons():
    assert score("sum(mean(qkv.weight))", [[1, 2], [3, np.nan], [1, 1]]) == "not finite on 1 of 3 networks"
    assert score("sum(mean(qkv.weight))", [[1, np.inf], [3, -np.inf], [1, 1]]) == "not finite on 2 of 3 networks"
    assert score("sum(mean(qkv.weight))", [[1, 2], [3, 0]]) == "constant over the 2 networks"
    assert score("sum(mean(qkv.weight))", [[1, 2], [3, 1e-5]]) == "constant over the 2 networks"
    assert score("sum(mean(qkv.weight))", [[0, 0], [0, 0]]) == "constant over the 2 networks"
    assert score("std(mean(qkv.weight))", [[1], [3, 1]]) == "not finite on 1 of 2 networks"


def test_constant_is_relative_to_the_size():
    assert score("sum(mean(qkv.weight))", [[1e-9], [3e-9]]) == [1e-9, 3e-9]
    assert score("sum(mean(qkv.weight))", [[1e9], [1e9 + 1e4]]) == "constant over the 2 networks"
    assert score("sum(mean(qkv.weight))", [[-1e-5], [1e-5]]) == [-1e-5, 1e-5]


def test_a_constant_branch_matters_under_strict_only():
    text = "sum(mean(qkv.weight)) * sum(mean(depth_is_one.weight))".replace("depth_is_one", "proj")
    e = canonical(parse_proxy(text))
    proj, qkv = (next(f for f in features(e) if f.args[0].head == f"{site}.weight") for site in ("proj", "qkv"))
    made = Population({"depth": [1, 1]}, [{proj: np.array([2.0]), qkv: np.array([x])} for x in (3.0, 5.0)])
    assert made.score(e).tolist() == [6.0, 10.0]
    found = made.score(e, strict=True)
    assert isinstance(found, Invalid)
    assert found.reason == "the branch sum(mean(proj.weight)) is constant over the networks"


def test_a_constant_branch_is_seen_at_block_level_too():
    e = canonical(parse_proxy("sum(mean(qkv.weight) + mean(proj.weight))"))
    one, other = features(e)
    rows = [{one: np.full(n, 2.0), other: np.arange(n) + n} for n in (2, 3)]
    found = Population({"depth": [2, 3]}, rows).score(e, strict=True)
    assert isinstance(found, Invalid)
    assert "is constant over the networks" in found.reason


def test_an_infinite_branch_is_not_called_constant():
    e = canonical(parse_proxy("params / sum(mean(qkv.weight))"))
    (f,) = features(e)
    rows = [{f: np.array([x])} for x in (1.0, np.inf, 4.0)]
    found = Population({"depth": [1, 1, 1], "params": [1.0, 2.0, 3.0]}, rows).score(e, strict=True)
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [1.0, 0.0, 0.75]


def test_ranks_are_taken_over_the_population():
    assert score("rank(sum(mean(qkv.weight)))", [[5, 1], [1], [9, 9, 9]]) == [2 / 3, 1 / 3, 1]
    assert score("rank(params) + rank(depth)", [[1], [1, 1], [1, 1]], params=[3, 2, 1]) == pytest.approx(
        [4 / 3, 1.5, 7 / 6]
    )


def test_networks_of_different_depths_keep_their_order():
    blocks = [[1.0] * n for n in (4, 1, 3, 1, 2)]
    assert score("sum(mean(qkv.weight))", blocks) == [4, 1, 3, 1, 2]


def test_one_network_alone_has_a_score():
    assert score("sum(mean(qkv.weight))", [[1, 2]]) == [3]
    assert score("normalise(sum(mean(qkv.weight)))", [[1, 2]]) == "not finite on 1 of 1 networks"


def test_missing_features_are_named_until_they_are_added():
    e = parse_proxy("sum(mean(qkv.weight)) + params * sum(nuclear(fc1.grad))")
    made = Population(NUMBERS)
    assert made.missing([e, e]) == features(e)
    made.add({features(e)[0]: [np.ones(d) for d in DEPTHS]})
    assert made.missing([e]) == features(e)[1:]


def test_scores_of_numbers_alone_need_no_features():
    e = parse_proxy("params / depth")
    assert Population(NUMBERS).missing([e]) == []
    np.testing.assert_allclose(Population(NUMBERS).score(e), np.array(NUMBERS["params"]) / DEPTHS)


def test_what_a_caller_does_to_scores_does_not_reach_the_population():
    made = Population(NUMBERS)
    made.score(parse_proxy("params"))[:] = 0
    assert made.score(parse_proxy("params")).tolist() == NUMBERS["params"]
