"""Canonical forms: the same value, one form for what is equal by construction, and not more than that."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprox.language.canonical import canonical, is_nonnegative, ranking_key
from autoprox.language.expression import Expression, features, kind
from autoprox.language.text import parse, to_text
from autoprox.measuring.tensors import Tensors, block_values, network_values
from autoprox.proxies.evaluation import Population
from primitives.statistics import STATISTICS
from tests import oracles
from tests.strategies import expressions, feature_expressions, proxies

DEPTHS = [2, 3, 2, 4]
NUMBERS = {
    "depth": DEPTHS,
    "params": [5.0, 7.0, 6.0, 9.5],
    "flops": [1.0, 2.0, 0.5, 4.0],
    "width": [3.0, 2.0, 8.0, 6.0],
}


def block_leaf(seed: int, block: int):
    """Small tensors of a block by name; absolute weights are those of the plain pass."""

    def leaf(name: str) -> Tensors:
        statistic = STATISTICS[name]
        plain = f"{statistic.site}.weight" if statistic.kind == "weight" else name
        rng = np.random.default_rng([seed, block, *plain.encode()])
        members = oracles.block_statistics(rng, plain)
        members = [np.abs(m) for m in members] if plain != name else members
        return Tensors(tuple(torch.from_numpy(m).unsqueeze(0) for m in members))

    return leaf


def raw_scores(e: Expression, seed: int) -> np.ndarray:
    rows, start = [], 0
    for depth in DEPTHS:
        leaves = [block_leaf(seed, start + i) for i in range(depth)]
        whole = [f for f in features(e) if kind(f).level == "score"]
        local = [f for f in features(e) if f not in whole]
        blocks = [block_values(local, leaf) for leaf in leaves]
        values = network_values(whole, leaves)
        rows.append(
            {f: np.array([float(block[f]) for block in blocks]) for f in local} | {f: values[f].numpy() for f in whole}
        )
        start += depth
    return Population(NUMBERS, rows)._value(e, {}, False)[0].numpy()


@settings(max_examples=300)
@given(proxies(), st.integers(0, 5))
def test_canonical_form_has_the_same_scores(e, seed):
    np.testing.assert_allclose(raw_scores(canonical(e), seed), raw_scores(e, seed), rtol=1e-9, atol=1e-12)


@settings(max_examples=300)
@given(expressions())
def test_canonical_form_is_its_own_canonical_form_of_the_same_kind(e):
    once = canonical(e)
    assert canonical(once) == once
    assert kind(once) == kind(e)


@settings(max_examples=300)
@given(feature_expressions(), st.integers(0, 5))
def test_what_shows_as_nonnegative_is(e, seed):
    value = float(block_values([e], block_leaf(seed, 0))[e])
    assert not (is_nonnegative(e) and value < 0)


def mirrored(e: Expression) -> Expression:
    """The same with the arguments of all commutative operators swapped."""
    args = tuple(map(mirrored, e.args))
    return Expression(e.head, args[::-1] if e.head in ("add", "mul", "maximum", "minimum") else args)


@settings(max_examples=300)
@given(expressions())
def test_order_of_commutative_arguments_does_not_matter(e):
    assert canonical(mirrored(e)) == canonical(e)


EQUAL = [
    ("params * depth", "depth * params"),
    ("params + depth", "depth + params"),
    ("maximum(params, depth)", "maximum(depth, params)"),
    ("minimum(params, params)", "params"),
    ("identity(params)", "params"),
    ("abs(-qkv.weight)", "abs(qkv.weight)"),
    ("--qkv.weight", "qkv.weight"),
    ("abs(abs(qkv.weight))", "abs(qkv.weight)"),
    ("abs(square(qkv.weight))", "square(qkv.weight)"),
    ("relu(exp(qkv.weight))", "exp(qkv.weight)"),
    ("relu(relu(qkv.weight))", "relu(qkv.weight)"),
    ("abs(params)", "params"),
    ("abs(attn.map)", "attn.map"),
    ("square(-qkv.weight)", "square(qkv.weight)"),
    ("square(abs(qkv.weight))", "square(qkv.weight)"),
    ("log(abs(-abs(qkv.weight)))", "log(qkv.weight)"),
    ("std(-qkv.weight)", "std(qkv.weight)"),
    ("nuclear(-qkv.weight)", "nuclear(qkv.weight)"),
    ("l1(abs(qkv.weight))", "l1(qkv.weight)"),
    ("sum(abs(qkv.weight))", "l1(qkv.weight)"),
    ("l1(square(qkv.weight))", "sum(square(qkv.weight))"),
    ("abs(params - depth)", "abs(depth - params)"),
    ("-(params - depth)", "depth - params"),
    ("params + -depth", "params - depth"),
    ("-depth + params", "params - depth"),
    ("params - -depth", "params + depth"),
    ("-params + -depth", "-depth + -params"),
    ("-params - depth", "-(depth + params)"),
    ("-params * depth", "-(params * depth)"),
    ("-params * -depth", "params * depth"),
    ("-params / depth", "params / -depth"),
    ("abs(-params * depth)", "params * depth"),
    ("-qkv.weight @ qkv.grad", "-(qkv.weight @ qkv.grad)"),
    ("ones.qkv.weight", "abs(qkv.weight)"),
    ("abs(ones.linear.weight)", "ones.linear.weight"),
    ("sum(ones.qkv.weight)", "l1(qkv.weight)"),
    ("nuclear(ones.qkv.weight)", "nuclear(abs(qkv.weight))"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_known_equalities(left, right):
    assert canonical(parse(left)) == canonical(parse(right))


DIFFERENT = [
    ("nuclear(abs(qkv.weight))", "nuclear(qkv.weight)"),
    ("std(abs(qkv.weight))", "std(qkv.weight)"),
    ("sum(qkv.weight)", "sum(-qkv.weight)"),
    ("max(-qkv.weight)", "max(qkv.weight)"),
    ("relu(-qkv.weight)", "relu(qkv.weight)"),
    ("params - depth", "depth - params"),
    ("params / depth", "depth / params"),
    ("qkv.weight @ qkv.grad", "qkv.grad @ qkv.weight"),
    ("abs(params + depth)", "abs(params - depth)"),
    ("poslog(abs(qkv.weight))", "poslog(qkv.weight)"),
    ("abs(minimum(qkv.weight, square(qkv.weight)))", "minimum(qkv.weight, square(qkv.weight))"),
    ("square(params)", "params"),
    ("l1(qkv.grad)", "sum(qkv.grad)"),
    ("ones.qkv.grad", "abs(qkv.grad)"),
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_different_values_have_different_forms(left, right):
    assert canonical(parse(left)) != canonical(parse(right))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("exp(params)", "params"),
        ("sigmoid(params)", "params"),
        ("sigmoid(exp(rank(params)))", "params"),
        ("exp(-(-params))", "params"),
        ("exp(identity(sigmoid(depth * params)))", "params * depth"),
        ("-exp(params)", "-exp(params)"),
        ("log(params)", "log(params)"),
        ("square(params)", "square(params)"),
        ("sum(exp(mean(qkv.weight)))", "sum(exp(mean(qkv.weight)))"),
    ],
)
def test_ranking_key_drops_increasing_functions_at_the_root_only(text, key):
    assert ranking_key(parse(text)) == canonical(parse(key))


@given(proxies())
def test_ranking_key_is_a_key(e):
    key = ranking_key(e)
    assert ranking_key(Expression("exp", (e,))) == ranking_key(key) == key
    assert parse(to_text(key)) == key
