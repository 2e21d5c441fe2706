"""The one table of operators. Parser, printers, exports, evaluation and genetic programming are derived from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torch import Tensor

from primitives import functions as f
from primitives import weighted as w
from primitives.operator import DOWN, LEVELS, STRUCTURAL, Form, Operator, OperatorError, build_table, check_operator

__all__ = [
    "BUILT_IN",
    "DOWN",
    "LEVELS",
    "OPERATORS",
    "STRUCTURAL",
    "Form",
    "Operator",
    "OperatorError",
    "add_operator",
    "build_table",
    "drop_operator",
]

# Auto-Prox (Wei et al., AAAI 2024, doi 10.1609/aaai.v38i14.29511) names the primitives; how they treat zero and
# negative numbers is known from the sibling code LPZero (github.com/pprp/LPZero, lpzero/operators).
AUTO_PROX = "Wei et al. 2024, Auto-Prox, primitive set"
ROY = "Roy and Vetterli 2007, The effective rank, EUSIPCO"
DSS = "Zhou et al. 2022, TF-TAS, DSS-indicator, CVPR"
ARITHMETIC = "arithmetic"
FREE_REA = "Cavagnero et al. 2023, FreeREA, WACV, arXiv 2207.05135: LogSynFlow"
MELLOR = "Mellor et al. 2021, Neural architecture search without training, ICML, arXiv 2006.04647"
ROWS = "a reduction of each row of the matrix"


def _unary(
    name: str, function: Callable[..., Tensor], latex: str, phrase: str, flags: str = "", source: str = AUTO_PROX
) -> Operator:
    algebra: dict[str, Any] = dict.fromkeys(flags.split(), True)
    return Operator(name, 1, Form.POINTWISE, function, latex, phrase, source, **algebra)


_MATRIX = ("tensor", "network")
_REDUCTION = (*_MATRIX, "block")
_TABLE: Final = (
    Operator("identity", 1, Form.POINTWISE, f.identity, "{0}", "{0}", AUTO_PROX, idempotent=True, involutive=True),
    _unary(
        "abs", f.absolute, r"\left|{0}\right|",
        "the absolute value of {0}", "even modulus idempotent nonnegative fixes_nonnegative",
    ),
    Operator("neg", 1, Form.POINTWISE, f.negative, "-{0}", "minus {0}", AUTO_PROX, symbol="-", involutive=True),
    _unary(
        "log", f.log_absolute, r"\log\left|{0}\right|", "the logarithm of the absolute value of {0}", "even modulus",
    ),
    _unary("poslog", f.log_positive, r"\log^{{+}}\left({0}\right)", "the logarithm of {0} where that is positive"),
    _unary("exp", f.exponential, r"\exp\left({0}\right)", "the exponential of {0}", "increasing nonnegative"),
    _unary("square", f.square, r"\left({0}\right)^2", "the square of {0}", "even modulus nonnegative"),
    _unary(
        "sqrt", f.sqrt_absolute, r"\sqrt{{\left|{0}\right|}}",
        "the square root of the absolute value of {0}", "even modulus nonnegative",
    ),
    _unary(
        "possqrt", f.sqrt_positive, r"\sqrt{{\max\left({0}, 0\right)}}",
        "the square root of {0} where that is positive", "nonnegative",
    ),
    _unary("sign", f.sign, r"\operatorname{{sign}}\left({0}\right)", "the sign of {0}", "idempotent"),
    _unary("sigmoid", f.sigmoid, r"\sigma\left({0}\right)", "the sigmoid of {0}", "increasing nonnegative"),
    _unary(
        "relu", f.relu, r"\operatorname{{relu}}\left({0}\right)",
        "{0} where that is positive, else 0", "idempotent nonnegative fixes_nonnegative"),
    _unary("inverse", f.inverse, r"\frac{{1}}{{{0}}}", "the inverse of {0}"),
    Operator(
        "normalise", 1, Form.RELATIVE, f.normalise, r"\operatorname{{z}}\left({0}\right)",
        "the z-score over all {of} of {0}", AUTO_PROX,
        weighted=w.normalise,
    ),
    Operator(
        "minmax", 1, Form.RELATIVE, f.min_max, r"\operatorname{{minmax}}\left({0}\right)",
        "the position between the extremes of all {of} of {0}", AUTO_PROX,
        idempotent=True, nonnegative=True,
    ),
    Operator(
        "softmax", 1, Form.RELATIVE, f.softmax, r"\operatorname{{softmax}}\left({0}\right)",
        "the softmax over all {of} of {0}", AUTO_PROX,
        weighted=w.softmax, nonnegative=True,
    ),
    Operator(
        "logsoftmax", 1, Form.RELATIVE, f.log_softmax, r"\log\operatorname{{softmax}}\left({0}\right)",
        "the log-softmax over all {of} of {0}", AUTO_PROX,
        weighted=w.log_softmax,
    ),
    Operator(
        "rank", 1, Form.RELATIVE, f.rank, r"\operatorname{{rank}}\left({0}\right)",
        "the rank among the networks of {0}",
        "Zhou et al. 2024, T-Razor, TPAMI 46(10), doi 10.1109/tpami.2024.3378781: ranks of the terms of DSS++",
        levels=("score",), idempotent=True, increasing=True, nonnegative=True,
    ),
    Operator(
        "sum", 1, Form.REDUCTION, f.total, r"\sum {0}",
        "the sum over all {of} of {0}", ARITHMETIC, weighted=w.total, levels=_REDUCTION,
    ),
    Operator(
        "mean", 1, Form.REDUCTION, f.mean, r"\operatorname{{mean}}\left({0}\right)",
        "the mean over all {of} of {0}", AUTO_PROX,
        weighted=w.mean, levels=_REDUCTION,
    ),
    Operator(
        "std", 1, Form.REDUCTION, f.standard_deviation, r"\operatorname{{std}}\left({0}\right)",
        "the standard deviation over all {of} of {0}", AUTO_PROX,
        weighted=w.standard_deviation, levels=_REDUCTION, even=True, nonnegative=True,
    ),
    Operator(
        "max", 1, Form.REDUCTION, f.maximum_of, r"\max\left({0}\right)",
        "the largest over all {of} of {0}", ARITHMETIC, levels=_REDUCTION,
    ),
    Operator(
        "min", 1, Form.REDUCTION, f.minimum_of, r"\min\left({0}\right)",
        "the smallest over all {of} of {0}", ARITHMETIC, levels=_REDUCTION,
    ),
    Operator(
        "l1", 1, Form.REDUCTION, f.l1_norm, r"\left\|{0}\right\|_1", "the L1 norm over all {of} of {0}", AUTO_PROX,
        weighted=w.l1_norm, levels=_REDUCTION, even=True, modulus=True, nonnegative=True,
    ),
    Operator(
        "l2", 1, Form.REDUCTION, f.l2_norm, r"\left\|{0}\right\|_2", "the L2 norm over all {of} of {0}", AUTO_PROX,
        weighted=w.l2_norm, levels=_REDUCTION, even=True, modulus=True, nonnegative=True,
    ),
    Operator(
        "nuclear", 1, Form.SPECTRAL, f.nuclear_norm, r"\left\|{0}\right\|_*", "the nuclear norm of {0}", DSS,
        levels=_MATRIX, even=True, nonnegative=True,
    ),
    Operator(
        "spectral", 1, Form.SPECTRAL, f.spectral_norm, r"\left\|{0}\right\|_\sigma",
        "the largest singular value of {0}", "largest singular value",
        levels=_MATRIX, even=True, nonnegative=True,
    ),
    Operator(
        "logdet", 1, Form.SPECTRAL, f.log_determinant, r"\log\det\left(I + {0} {{{0}}}^\top\right)",
        "the log-determinant of the regularised Gram matrix of {0}",
        "log-determinant of the regularised Gram matrix", levels=_MATRIX, even=True,
        nonnegative=True,
    ),
    Operator(
        "erank", 1, Form.SPECTRAL, f.effective_rank, r"\operatorname{{erank}}\left({0}\right)",
        "the effective rank of {0}", ROY,
        levels=_MATRIX, even=True, nonnegative=True,
    ),
    Operator(
        "srank", 1, Form.SPECTRAL, f.stable_rank, r"\operatorname{{srank}}\left({0}\right)", "the stable rank of {0}",
        "Rudelson and Vershynin 2007, numerical rank", levels=_MATRIX, even=True,
        nonnegative=True,
    ),
    Operator("add", 2, Form.POINTWISE, f.add, "{0} + {1}", "{0} plus {1}", AUTO_PROX, symbol="+", commutative=True),
    Operator("sub", 2, Form.POINTWISE, f.subtract, "{0} - {1}", "{0} minus {1}", AUTO_PROX, symbol="-"),
    Operator(
        "mul", 2, Form.POINTWISE, f.multiply, r"{0} \cdot {1}", "{0} times {1}", AUTO_PROX, symbol="*", commutative=True,
    ),
    Operator("div", 2, Form.POINTWISE, f.divide, r"\frac{{{0}}}{{{1}}}", "{0} divided by {1}", ARITHMETIC, symbol="/"),
    Operator(
        "maximum", 2, Form.POINTWISE, f.larger, r"\max\left({0}, {1}\right)", "the larger of {0} and {1}", ARITHMETIC,
        commutative=True, idempotent=True,
    ),
    Operator(
        "minimum", 2, Form.POINTWISE, f.smaller, r"\min\left({0}, {1}\right)", "the smaller of {0} and {1}", ARITHMETIC,
        commutative=True, idempotent=True,
    ),
    Operator(
        "matmul", 2, Form.PRODUCT, f.matrix_product, r"{0} {{{1}}}^\top",
        "the matrix product of {0} and the transpose of {1}", AUTO_PROX, symbol="@", levels=_MATRIX
    ),
    _unary(
        "log1p", f.log_one_plus, r"\log\left(1 + \left|{0}\right|\right)",
        "the logarithm of 1 plus the absolute value of {0}", "even modulus nonnegative", FREE_REA,
    ),
    Operator(
        "smallest", 1, Form.SPECTRAL, f.smallest_value, r"\sigma_{{\min}}\left({0}\right)",
        "the smallest singular value of {0}", "smallest singular value",
        levels=_MATRIX, even=True, nonnegative=True, pads=False,
    ),
    Operator(
        "logvolume", 1, Form.SPECTRAL, f.log_volume, r"\log\left|\det {0}\right|",
        "the sum of the logarithms of the singular values of {0}",
        "sum of the logarithms of the singular values", levels=_MATRIX, even=True, pads=False,
    ),
    Operator(
        "divergence", 1, Form.SPECTRAL, f.divergence, r"\operatorname{{div}}\left({0}\right)",
        "the divergence of the spectrum of {0}", MELLOR,
        levels=_MATRIX, even=True, pads=False,
    ),
    Operator(
        "patterns", 1, Form.PATTERN, f.distinct_patterns, r"\operatorname{{patterns}}\left({0}\right)",
        "the number of distinct activation patterns of {0}",
        "Peng et al. 2024, SWAP-NAS, ICLR, arXiv 2403.04161", levels=_MATRIX, nonnegative=True,
    ),
    Operator(
        "transpose", 1, Form.TRANSPOSE, f.transposed, r"{{{0}}}^\top",
        "the transpose of {0}", ARITHMETIC, levels=_MATRIX, involutive=True
    ),
    Operator(
        "rowsum", 1, Form.ROWS, f.row_sum, r"\operatorname{{rowsum}}\left({0}\right)",
        "the sum of each row of {0}", ROWS, levels=_MATRIX
    ),
    Operator(
        "rowmean", 1, Form.ROWS, f.row_mean, r"\operatorname{{rowmean}}\left({0}\right)",
        "the mean of each row of {0}", ROWS, levels=_MATRIX
    ),
    Operator(
        "rowstd", 1, Form.ROWS, f.row_deviation, r"\operatorname{{rowstd}}\left({0}\right)",
        "the standard deviation of each row of {0}", ROWS,
        levels=_MATRIX, even=True, nonnegative=True,
    ),
    Operator(
        "rowmax", 1, Form.ROWS, f.row_maximum, r"\operatorname{{rowmax}}\left({0}\right)",
        "the largest of each row of {0}", ROWS, levels=_MATRIX
    ),
    Operator(
        "gram", 1, Form.KERNEL, f.gram, r"{{{0}}} {{{0}}}^\top",
        "the Gram matrix of {0}", ARITHMETIC, levels=_MATRIX, even=True,
    ),
    Operator(
        "covariance", 1, Form.KERNEL, f.covariance, r"\operatorname{{cov}}\left({0}\right)",
        "the covariances of the rows of {0}", ARITHMETIC,
        levels=_MATRIX, even=True,
    ),
    Operator(
        "correlation", 1, Form.KERNEL, f.correlation, r"\operatorname{{corr}}\left({0}\right)",
        "the correlations of the rows of {0}", ARITHMETIC,
        levels=_MATRIX, even=True,
    ),
    Operator(
        "agreement", 1, Form.KERNEL, f.agreement, r"\operatorname{{agree}}\left({0}\right)",
        "the agreement of the signs of the rows of {0}", MELLOR,
        levels=_MATRIX, nonnegative=True,
    ),
    Operator(
        "join", 1, Form.JOIN, f.side_by_side, r"\operatorname{{join}}\left({0}\right)",
        "the matrices side by side of {0}", ARITHMETIC, levels=("tensor",)
    ),
)  # fmt: skip


OPERATORS: Final[dict[str, Operator]] = build_table(_TABLE)

BUILT_IN: Final = tuple(OPERATORS)
"""Operators that are always there; `add_operator` adds others, which what is kept on disk for all runs must not depend on."""


def add_operator(operator: Operator) -> None:
    """Add an operator to the table of this process, checked as the built-in ones are.

    Raises:
        OperatorError: the record is wrong, or there is an operator of that name.
    """
    if operator.name in OPERATORS:
        raise OperatorError(f"operator {operator.name!r} is in the table already")
    check_operator(operator)
    OPERATORS[operator.name] = operator


def drop_operator(name: str) -> None:
    """Undo `add_operator`; OperatorError for one that is built in."""
    if name in BUILT_IN:
        raise OperatorError(f"operator {name!r} is built in")
    OPERATORS.pop(name, None)
