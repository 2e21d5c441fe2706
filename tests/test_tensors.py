"""Features of blocks against numpy: groups are block-diagonal matrices, samples that hold everything are exact."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprox.errors import InputError
from autoprox.language.expression import Expression
from autoprox.language.text import parse
from autoprox.measuring.tensors import Tensors, block_values, network_values
from primitives.operators import OPERATORS, Form
from primitives.statistics import STATISTICS
from tests import oracles
from tests.strategies import feature_expressions, network_features

ROWS = 3


def row_statistics(seed: int, row: int, name: str) -> list[np.ndarray]:
    return oracles.block_statistics(np.random.default_rng([seed, row, *name.encode()]), name)


def stacked(seed: int, counts: bool = False):
    def leaf(name: str) -> Tensors:
        rows = [row_statistics(seed, row, name) for row in range(ROWS)]
        members = tuple(torch.from_numpy(np.stack(member)) for member in zip(*rows, strict=True))
        return Tensors(members, torch.ones(ROWS) if counts else None)

    return leaf


def stable(e: Expression, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What numpy says, and whether it says the same about data that differ in the last digits."""
    found = []
    for wobble in (0.0, 1e-10):
        rng = np.random.default_rng(9)

        def leaf(name: str, row: int, wobble: float = wobble, rng: np.random.Generator = rng) -> list[np.ndarray]:
            return [m * (1 + wobble * rng.normal(size=m.shape)) for m in row_statistics(seed, row, name)]

        with np.errstate(all="ignore"):
            found.append(np.array([oracles.feature(e, lambda name, row=row: leaf(name, row)) for row in range(ROWS)]))
    return found[0], np.isclose(*found, rtol=1e-6, atol=1e-7, equal_nan=True)


@settings(max_examples=300)
@given(feature_expressions(), st.integers(0, 9))
def test_features_equal_numpy(e, seed):
    expected, trusted = stable(e, seed)
    found = block_values([e], stacked(seed))[e]
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy()[trusted], expected[trusted], rtol=1e-5, atol=1e-6)


@settings(max_examples=200)
@given(network_features(), st.integers(0, 9))
def test_features_of_networks_equal_numpy(e, seed):
    found = []
    for wobble in (0.0, 1e-10):
        rng = np.random.default_rng(9)

        def leaf(name: str, row: int, wobble: float = wobble, rng: np.random.Generator = rng) -> list[np.ndarray]:
            return [m * (1 + wobble * rng.normal(size=m.shape)) for m in row_statistics(seed, row, name)]

        with np.errstate(all="ignore"):
            leaves = [lambda name, row=row, leaf=leaf: leaf(name, row) for row in range(ROWS)]
            found.append(oracles.network_feature(e, leaves))

    def tensors(row: int):
        return lambda name: Tensors(tuple(torch.from_numpy(m).unsqueeze(0) for m in row_statistics(seed, row, name)))

    value = network_values([e], [tensors(row) for row in range(ROWS)])[e]
    assert value.shape == (1,)
    assert value.dtype == torch.float64
    if np.isclose(*found, rtol=1e-6, atol=1e-7, equal_nan=True):
        np.testing.assert_allclose(value.numpy()[0], found[0], rtol=1e-5, atol=1e-6)


def test_only_matrices_of_one_height_are_joined():
    narrow, wide = (Tensors((torch.ones(1, rows, 4),)) for rows in (3, 5))
    with pytest.raises(InputError, match=r"join\(qkv.weight\) puts matrices side by side, and these have 3 and 5 rows"):
        network_values([parse("sum(join(qkv.weight))")], [lambda _: narrow, lambda _: wide])
    joined = network_values([parse("sum(join(qkv.weight))")], [lambda _: narrow, lambda _: narrow])
    assert [float(value) for value in joined.values()] == [24]


def test_each_statistic_of_each_block_is_read_once_for_all_features_of_the_network():
    read = []
    leaves = [lambda name, i=i: read.append((i, name)) or stacked(i)(name) for i in range(3)]
    texts = ["logvolume(agreement(join(gelu.response)))", "patterns(transpose(join(gelu.response)))"]
    network_values([parse(text) for text in texts], leaves)
    assert sorted(read) == [(i, "gelu.response") for i in range(3)]


@pytest.mark.parametrize("name", [o.name for o in OPERATORS.values() if o.form is Form.SPECTRAL])
def test_spectra_of_groups_are_those_of_the_block_diagonal_matrix(name):
    e = parse(f"{name}(linear.grad * linear.weight)")
    expected, trusted = stable(e, 1)
    assert trusted.all()
    np.testing.assert_allclose(block_values([e], stacked(1))[e].numpy(), expected, rtol=1e-6)


def test_relative_operators_see_all_members_of_a_group():
    e = parse("max(softmax(ffn.weight))")
    members = row_statistics(0, 0, "ffn.weight")
    assert len(members) == 2
    everything = np.concatenate([m.ravel() for m in members])
    expected = np.exp(everything.max()) / np.exp(everything).sum()
    assert float(block_values([e], stacked(0))[e][0]) == pytest.approx(expected)


@settings(max_examples=100)
@given(feature_expressions())
def test_a_sample_of_everything_is_exact(e):
    exact, sampled = block_values([e], stacked(4))[e], block_values([e], stacked(4, counts=True))[e]
    torch.testing.assert_close(sampled, exact, equal_nan=True, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "factor"),
    [("sum(qkv.weight)", 4), ("l1(qkv.weight)", 4), ("l2(qkv.weight)", 2), ("mean(qkv.weight)", 1), ("std(qkv.weight)", 1),
     ("max(qkv.weight)", 1), ("sum(softmax(qkv.weight))", 1), ("max(softmax(qkv.weight))", 0.25),
     ("sum(square(qkv.weight))", 4)],
)  # fmt: skip
def test_elements_that_stand_for_four_are_scaled_to_the_tensor_of_four_copies(text, factor):
    e = parse(text)
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 4, 5)))
    alone = float(block_values([e], lambda _: Tensors((x,)))[e])
    sampled = float(block_values([e], lambda _: Tensors((x,), torch.tensor([4.0])))[e])
    copies = float(block_values([e], lambda _: Tensors((x.repeat(1, 2, 2),)))[e])
    assert sampled == pytest.approx(factor * alone)
    assert sampled == pytest.approx(copies, rel=0.05 if text.startswith("std") else 1e-9)


def test_logsoftmax_of_a_sample_is_that_of_the_whole():
    e = parse("max(logsoftmax(qkv.weight))")
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 4, 5)))
    sampled = block_values([e], lambda _: Tensors((x,), torch.tensor([4.0])))[e]
    torch.testing.assert_close(sampled, block_values([e], lambda _: Tensors((x.repeat(1, 2, 2),)))[e])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_spoil_no_other_row(bad):
    def leaf(name: str) -> Tensors:
        (member,) = stacked(2)(name).members
        spoilt = member.clone()
        spoilt[1, 0, 0] = bad
        return Tensors((spoilt,))

    texts = ["nuclear(qkv.weight)", "spectral(qkv.weight)", "erank(qkv.weight)", "sum(qkv.weight)", "std(qkv.weight)"]
    features = [parse(text) for text in texts]
    clean, spoilt = block_values(features, stacked(2)), block_values(features, leaf)
    for e in features:
        assert spoilt[e].isfinite().tolist() == [True, False, True]
        torch.testing.assert_close(spoilt[e][[0, 2]], clean[e][[0, 2]])


def test_each_statistic_is_read_once_and_each_matrix_decomposed_once(monkeypatch):
    read, decomposed, plain = [], [], torch.linalg.svdvals
    monkeypatch.setattr(torch.linalg, "svdvals", lambda x: decomposed.append(x.shape) or plain(x))

    def leaf(name: str) -> Tensors:
        read.append(name)
        return stacked(0)(name)

    texts = [
        "nuclear(qkv.weight * qkv.grad)",
        "erank(qkv.weight * qkv.grad)",
        "logdet(qkv.weight * qkv.grad)",
        "sum(qkv.grad)",
    ]
    block_values([parse(text) for text in texts], leaf)
    assert sorted(read) == ["qkv.grad", "qkv.weight"]
    assert len(decomposed) == 1


def test_flat_and_back():
    x = stacked(0)("linear.weight")
    assert len(x.members) == len(STATISTICS["linear.weight"].members) == 4
    again = x.with_flat(x.flat())
    assert all(map(torch.equal, again.members, x.members))
