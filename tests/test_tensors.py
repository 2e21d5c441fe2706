"""Features of blocks against numpy: groups are block-diagonal matrices, weights of samples are numbers of elements."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprox.errors import InputError
from autoprox.language.expression import Expression, subexpressions
from autoprox.language.text import parse
from autoprox.measuring import spectra
from autoprox.measuring.tensors import Tensors, block_values, network_values
from primitives.operators import OPERATORS, Form
from primitives.statistics import STATISTICS
from tests import oracles
from tests.strategies import feature_expressions, network_features

ROWS = 3


def row_statistics(seed: int, row: int, name: str) -> list[np.ndarray]:
    return oracles.block_statistics(np.random.default_rng([seed, row, *name.encode()]), name)


def stacked(seed: int):
    def leaf(name: str) -> Tensors:
        rows = [row_statistics(seed, row, name) for row in range(ROWS)]
        members = tuple(torch.from_numpy(np.stack(member)) for member in zip(*rows, strict=True))
        return Tensors(members)

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


def by_elements(e: Expression) -> bool:
    whole = (Form.POINTWISE, Form.RELATIVE, Form.REDUCTION)
    return all(not part.args or OPERATORS[part.head].form in whole for part in subexpressions(e))


@settings(max_examples=100)
@given(feature_expressions().filter(by_elements), st.integers(0, 9))
def test_an_element_of_weight_two_counts_as_two(e, seed):
    """Elements with weights 1 and 2 against the elements written out; where a wobble of 1e-10 matters, nothing is said."""
    weights = torch.from_numpy(np.random.default_rng(seed).integers(1, 3, 4))

    def leaf(name: str, times: torch.Tensor | None, wobble: float) -> Tensors:
        rows = stacked(seed)(name).flat()[:, :4]
        rows = rows * (1 + wobble * torch.linspace(-1, 1, 4).double())
        if times is None:
            return Tensors((rows[:, None],), weights.double().expand(ROWS, 4))
        return Tensors((rows.repeat_interleave(times, 1)[:, None],))

    whole, wobbled = (block_values([e], lambda name, w=w: leaf(name, weights, w))[e] for w in (0.0, 1e-10))
    sample = block_values([e], lambda name: leaf(name, None, 0.0))[e]
    trusted = torch.isclose(whole, wobbled, rtol=1e-6, atol=1e-7, equal_nan=True)
    torch.testing.assert_close(sample[trusted], whole[trusted], equal_nan=True, rtol=1e-5, atol=1e-6)


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
    read, decomposed, plain = [], [], spectra.spectrum
    monkeypatch.setattr(spectra, "spectrum", lambda x: decomposed.append(x.shape) or plain(x))

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


@pytest.mark.parametrize("shape", [(5, 5), (40, 7), (7, 40), (3, 1)])
def test_singular_values_are_nearer_to_the_truth_than_a_decomposition_in_single_precision(shape):
    matrix = torch.from_numpy(np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32))
    matrix[1] *= 1e-12
    matrix[2, :, -1] = matrix[2, :, 0]  # does not have full rank, unless it is a column
    exact = torch.linalg.svdvals(matrix.double())
    found = spectra.singular_values(matrix)
    assert found.dtype == torch.float32
    assert found.shape == exact.shape
    largest = exact.amax(1, keepdim=True)
    assert float(((found - exact) / largest).abs().max()) < 1e-7
