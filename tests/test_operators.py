"""Operators against numpy and scipy, and a table that refuses records which contradict their functions."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import linalg

from primitives import functions
from primitives.operator import check_operator
from primitives.operators import OPERATORS, Form, Operator, OperatorError, build_table
from tests import oracles

SPECTRAL = [o.name for o in OPERATORS.values() if o.form is Form.SPECTRAL]
OTHERS = [o.name for o in OPERATORS.values() if o.form in (Form.POINTWISE, Form.RELATIVE, Form.REDUCTION)]
MATRIX = [o.name for o in OPERATORS.values() if o.form in (Form.TRANSPOSE, Form.ROWS, Form.KERNEL, Form.PATTERN)]
numbers = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 70.0, 1e-12]), st.floats(-50, 50, allow_subnormal=False))


def changed(name: str, /, **fields: object) -> Operator:
    return dataclasses.replace(OPERATORS[name], **fields)


def zeroed(x: torch.Tensor) -> torch.Tensor:
    value = x.clone()
    x[0, 0] = 7
    return value


WRONG = {
    "modifies": (changed("abs", function=zeroed), "modifies its argument"),
    "arity 2 for 1": (changed("abs", arity=2), "arity 2 does not fit"),
    "arity 1 for 2": (changed("add", arity=1), "arity 1 does not fit"),
    "reduces too much": (changed("sum", function=lambda x: x.sum()), r"result has shape \(\)"),
    "does not reduce": (changed("sum", function=functions.absolute), r"result has shape \(3, 4\)"),
    "not finite at 0": (changed("log", function=lambda x: x.abs().log()), "not finite on 0"),
    "swallows NaN": (changed("relu", function=lambda x: x.relu().nan_to_num()), "'relu': turns NaN into a number"),
    "one NaN swallowed": (changed("max", function=lambda x: x.nan_to_num().amax(-1)), "turns NaN into a number"),
    "sub commutes": (changed("sub", commutative=True), "is not commutative"),
    "matmul commutes": (changed("matmul", commutative=True), "is not commutative"),
    "exp repeats": (changed("exp", idempotent=True), "is not idempotent"),
    "add repeats": (changed("add", idempotent=True), "is not idempotent"),
    "inverse inverts": (changed("sign", involutive=True), "is not its own inverse"),
    "sum even": (changed("sum", even=True), "is not even"),
    "relu even": (changed("relu", even=True), "is not even"),
    "std ignores signs": (changed("std", modulus=True), "depends on signs"),
    "modulus but not even": (changed("relu", modulus=True), "depends on signs"),
    "neg positive": (changed("neg", nonnegative=True), "has negative values"),
    "sqrt keeps": (changed("sqrt", fixes_nonnegative=True), "does not keep nonnegative numbers"),
    "abs increases": (changed("abs", increasing=True), "is not strictly increasing"),
    "relu increases": (changed("relu", increasing=True), "is not strictly increasing"),
    "smallest pads": (changed("smallest", pads=True), "depends on zeros among the singular values"),
    "does not transpose": (changed("transpose", function=functions.absolute), r"result has shape \(3, 4\)"),
    "row to nothing": (changed("rowsum", function=functions.total), r"result has shape \(3,\)"),
    "kernel of columns": (changed("covariance", function=lambda x: x.mT @ x), r"result has shape \(4, 4\)"),
    "neg increases": (changed("neg", increasing=True), "is not strictly increasing"),
}


@pytest.mark.parametrize(("operator", "message"), WRONG.values(), ids=WRONG)
def test_a_record_that_contradicts_its_function_is_refused(operator, message):
    with pytest.raises(OperatorError, match=f"operator '{operator.name}'.*{message}|{message}"):
        check_operator(operator)


def test_two_operators_of_one_name_are_refused():
    with pytest.raises(OperatorError, match="'abs' is in the table twice"):
        build_table([OPERATORS["abs"], OPERATORS["neg"], changed("square", name="abs")])


def test_every_flag_of_the_table_is_tested_by_some_wrong_record():
    flags = {f.name for f in dataclasses.fields(Operator) if f.type == "bool"}
    planted = {name for operator, _ in WRONG.values() for name in flags if getattr(operator, name)
               and not getattr(OPERATORS[operator.name], name)}  # fmt: skip
    assert planted == flags


@pytest.mark.parametrize("name", OTHERS)
@given(rows=arrays(float, st.tuples(st.integers(1, 3), st.integers(2, 9)), elements=numbers), seed=st.integers(0, 99))
def test_functions_equal_numpy(name, rows, seed):
    operator = OPERATORS[name]
    arguments = [rows, np.random.default_rng(seed).choice(rows.ravel(), rows.shape)][: operator.arity]
    with np.errstate(all="ignore"):
        expected = np.array([
            (oracles.RELATIVE | oracles.REDUCTION | oracles.POINTWISE)[name](*row) for row in zip(*arguments, strict=True)
        ])  # fmt: skip
    found = operator.function(*map(torch.from_numpy, arguments)).numpy()
    spread = np.ptp(rows, axis=-1) > 1e-6
    if name in ("normalise", "minmax"):  # of equal numbers it is NaN, or noise of the mean
        expected, found = expected[spread], found[spread]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SPECTRAL)
@given(
    matrix=arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(-9, 9, width=16)),
    power=st.integers(-2, 2),
)
def test_spectral_functions_equal_numpy_on_matrices(name, matrix, power):
    matrix = matrix * 10.0**power
    if np.abs(matrix).max() < 1e-3:
        matrix = matrix + np.eye(*matrix.shape)
    values = torch.linalg.svdvals(torch.from_numpy(matrix))
    numbers = oracles.SINGULAR.get(name)
    expected = numbers(np.linalg.svd(matrix, compute_uv=False)) if numbers else oracles.SPECTRAL[name](matrix)
    # rounding of eigenvalues enters the oracle of the entropy with its root
    tolerance = {"erank": 1e-5, "divergence": 1e-6, "logvolume": 1e-6}.get(name, 1e-9)
    atol = 1e-13 if name == "smallest" else 0.0  # of a singular matrix it is rounding
    np.testing.assert_allclose(float(OPERATORS[name].function(values)), expected, rtol=tolerance, atol=atol)


@pytest.mark.parametrize("name", [name for name in SPECTRAL if OPERATORS[name].pads])
def test_zero_singular_values_add_nothing(name):
    values = torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64)
    more = torch.cat([values, torch.zeros(4, dtype=torch.float64)])
    torch.testing.assert_close(OPERATORS[name].function(values), OPERATORS[name].function(more))


def test_what_zeros_among_the_singular_values_change():
    s = torch.tensor([2.0, 0.5, 0.0], dtype=torch.float64)
    assert float(functions.smallest_value(s)) == 0
    assert float(functions.log_volume(s)) == pytest.approx(np.log(1e-9))
    assert float(functions.log_volume(s[:2])) == pytest.approx(0)
    assert float(functions.divergence(torch.ones(4, dtype=torch.float64))) == pytest.approx(4, rel=1e-9)
    assert float(functions.divergence(s)) > 1e5 - 100


@pytest.mark.parametrize("name", MATRIX)
@given(
    matrix=arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-9, 9, width=16)),
    shift=st.sampled_from([0.0, 1.5]),
)
def test_functions_of_matrices_equal_numpy_and_take_batches(name, matrix, shift):
    operator = OPERATORS[name]
    batch = np.stack([matrix, matrix[::-1] + shift])
    expected = np.stack([(oracles.MATRIX | oracles.PATTERN)[name](x) for x in batch])
    np.testing.assert_allclose(operator.function(torch.from_numpy(batch.copy())).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(operator.function(torch.from_numpy(matrix)).numpy(), expected[0], atol=1e-9)


@pytest.mark.parametrize("name", MATRIX)
def test_one_nan_spoils_its_row_and_no_other(name):
    clean = torch.tensor([[0.5, -1.0, 2.0, 0.75], [1.0, 3.0, -2.0, 0.25]], dtype=torch.float64)
    spoilt = clean.clone()
    spoilt[0, 1] = torch.nan
    found, value = OPERATORS[name].function(spoilt), OPERATORS[name].function(clean)
    if OPERATORS[name].form is Form.PATTERN:
        assert bool(found.isnan())
        return
    assert bool(found.isnan().any())
    if OPERATORS[name].form is Form.TRANSPOSE:
        found, value = found.mT, value.mT
    torch.testing.assert_close(found[1, -1], value[1, -1], rtol=0, atol=0)


def test_patterns_of_more_columns_than_fit_a_number():
    x = torch.from_numpy((np.random.default_rng(0).random((400, 75)) > 0.97).astype(np.float32))
    x = torch.cat([x, x[:100]])
    assert float(functions.distinct_patterns(x)) == len(torch.unique(x, dim=0)) < 500


def test_rows_of_one_element_have_no_covariance_and_constant_rows_no_correlation():
    assert bool(functions.covariance(torch.ones(3, 1)).isnan().all())
    found = functions.correlation(torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    torch.testing.assert_close(found.float(), torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, -1.0, 1.0]]))


def test_products_of_rows_are_summed_in_double_precision():
    x = torch.full((2, 200_000), 0.1)
    x[1, ::2] = -0.1
    exact = float(torch.tensor(0.1).double() ** 2 * 200_000)
    assert functions.gram(x).tolist() == [[pytest.approx(exact, rel=1e-12), 0], [0, pytest.approx(exact, rel=1e-12)]]


def test_effective_and_stable_rank_of_known_matrices():
    identity, one = torch.ones(5, dtype=torch.float64), torch.tensor([2.0, 0, 0, 0, 0], dtype=torch.float64)
    for name in ("erank", "srank"):
        assert float(OPERATORS[name].function(identity)) == pytest.approx(5)
        assert float(OPERATORS[name].function(one)) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6)])
def test_matrix_product_contracts_the_longer_side(shape):
    x, y = np.random.default_rng(0).normal(size=(2, *shape))
    found = functions.matrix_product(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    assert found.shape == (min(shape), min(shape))
    np.testing.assert_allclose(found, oracles.product(x, y))
    batch = functions.matrix_product(torch.from_numpy(np.stack([x, y])), torch.from_numpy(np.stack([y, x]))).numpy()
    np.testing.assert_allclose(linalg.block_diag(*batch), linalg.block_diag(found, oracles.product(y, x)))


@pytest.mark.parametrize("name", OTHERS)
def test_one_nan_spoils_what_depends_on_it_and_nothing_else(name):
    operator = OPERATORS[name]
    clean = torch.tensor([[0.5, -1.0, 2.0, 0.75], [1.0, 3.0, -2.0, 0.25]], dtype=torch.float64)
    spoilt = clean.clone()
    spoilt[0, 1] = torch.nan
    for position in range(operator.arity):
        arguments = [clean] * operator.arity
        value, arguments[position] = operator.function(*arguments), spoilt
        found = operator.function(*arguments)
        torch.testing.assert_close(found[1], value[1], rtol=0, atol=0)
        if operator.form is Form.REDUCTION:
            assert bool(found[0].isnan())
        else:
            assert bool(found[0, 1].isnan())
        if operator.form is Form.POINTWISE:
            assert found.isnan().sum() == 1


@pytest.mark.parametrize("name", SPECTRAL)
def test_nan_among_singular_values_stays(name):
    assert bool(OPERATORS[name].function(torch.tensor([3.0, torch.nan, 1.0])).isnan())


def test_rank_shares_ties_and_is_scaled():
    found = functions.rank(torch.tensor([10.0, -1.0, 10.0, 5.0]))
    assert found.tolist() == [0.875, 0.25, 0.875, 0.5]


def test_guards_hold_where_the_plain_function_has_none():
    x = torch.tensor([0.0, -4.0, 1e30], dtype=torch.float64)
    assert functions.log_absolute(x).tolist()[:2] == [0.0, pytest.approx(np.log(4))]
    assert functions.log_positive(x).tolist()[:2] == [0.0, 0.0]
    assert functions.sqrt_absolute(x).tolist()[:2] == [0.0, 2.0]
    assert functions.sqrt_positive(x).tolist()[:2] == [0.0, 0.0]
    assert functions.inverse(x)[0] == pytest.approx(1e9)
    assert functions.exponential(x)[2] == pytest.approx(np.exp(60))
    assert bool(functions.exponential(x.float()).isfinite().all())


def test_levels_of_results():
    for operator in OPERATORS.values():
        for level in operator.levels:
            lower = operator.form in (Form.REDUCTION, Form.SPECTRAL, Form.PATTERN)
            below = {"tensor": "block", "block": "score", "network": "score"}
            joined = "network" if operator.form is Form.JOIN else level
            assert operator.result_level(level) == (below[level] if lower else joined)
    assert OPERATORS["nuclear"].levels == OPERATORS["matmul"].levels == ("tensor", "network")
    assert OPERATORS["join"].levels == ("tensor",)
    assert OPERATORS["rank"].levels == ("score",)
