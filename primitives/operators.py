"""The one table of operators. Parser, printers, exports, evaluation and genetic programming are derived from it.

Every record is checked when the table is built: arity, shape, purity, NaN, and each algebraic flag numerically, so that
a flag that canonical forms rely on cannot be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import torch
from torch import Tensor

from primitives import functions as f
from primitives import weighted as w

__all__ = ["LEVELS", "OPERATORS", "Form", "Operator", "OperatorError", "build_table"]

LEVELS: Final = ("tensor", "block", "score", "network")  # network: one tensor per network
_BELOW: Final = {"tensor": "block", "block": "score", "network": "score"}

# Auto-Prox (Wei et al., AAAI 2024, doi 10.1609/aaai.v38i14.29511) names the primitives; how they treat zero and
# negative numbers is known from the sibling code LPZero (github.com/pprp/LPZero, lpzero/operators).
AUTO_PROX = "Wei et al. 2024, Auto-Prox, primitive set"
ROY = "Roy and Vetterli 2007, The effective rank, EUSIPCO"
DSS = "Zhou et al. 2022, TF-TAS, DSS-indicator, CVPR"
ARITHMETIC = "arithmetic"
FREE_REA = "Cavagnero et al. 2023, FreeREA, WACV, arXiv 2207.05135: LogSynFlow"
MELLOR = "Mellor et al. 2021, Neural architecture search without training, ICML, arXiv 2006.04647"
ROWS = "a reduction of each row of the matrix"


class OperatorError(ValueError):
    """A record of the table contradicts its function."""


class Form(Enum):
    """What an operator does to the level of its argument."""

    POINTWISE = "element by element"
    RELATIVE = "element by element, relative to all elements of the last dimension"
    REDUCTION = "one level down, over the last dimension"
    SPECTRAL = "tensor to block, from the singular values of the matrix"
    PATTERN = "tensor to block, from the rows of the matrix"
    PRODUCT = "matrix product of two tensors"
    TRANSPOSE = "rows become columns"
    ROWS = "each row of the matrix to one number: (m, n) to (m, 1)"
    KERNEL = "compares the rows of the matrix with each other: (m, n) to (m, m)"
    JOIN = "the matrices of all blocks side by side: one tensor per network"


DOWN: Final = (Form.REDUCTION, Form.SPECTRAL, Form.PATTERN)
"""Forms that go one level down; at tensor level (and at network level) they make features."""
STRUCTURAL: Final = (Form.PRODUCT, Form.TRANSPOSE, Form.ROWS, Form.KERNEL, Form.JOIN)
"""Forms of tensors that need whole matrices and change their shape."""


@dataclass(frozen=True)
class Operator:
    """One operator of the proxy language.

    Attributes:
        name: as written in the language; ``symbol`` is how it is printed when it is an infix or prefix operator.
        arity: number of arguments.
        form: what it does to levels.
        function: torch function over the last dimension (spectral ones: over singular values).
        latex: template with {0}, {1}.
        phrase: the same in words; {of} is what is reduced or compared: elements, blocks or networks.
        source: where it comes from.
        weighted: the same of a weighted sample, (elements, weights); None: weights make no difference.
        levels: levels of the arguments it takes.
        commutative .. fixes_nonnegative: algebra that canonical forms rely on; ``even``: f(-x) = f(x); ``modulus``:
            f(|x|) = f(x) too; ``fixes_nonnegative``: f(x) = x for x >= 0; ``increasing``: strictly, so it never
            changes a ranking.
        pads: of spectral ones: zero singular values change nothing.
    """

    name: str
    arity: int
    form: Form
    function: Callable[..., Tensor]
    latex: str
    phrase: str
    source: str
    symbol: str = ""
    weighted: Callable[[Tensor, Tensor], Tensor] | None = None
    levels: tuple[str, ...] = LEVELS
    commutative: bool = False
    idempotent: bool = False
    involutive: bool = False
    even: bool = False
    modulus: bool = False
    increasing: bool = False
    nonnegative: bool = False
    fixes_nonnegative: bool = False
    pads: bool = True

    def result_level(self, level: str) -> str:
        """The level of the result for arguments of ``level``."""
        if self.form in DOWN:
            return _BELOW[level]
        return "network" if self.form is Form.JOIN else level


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


def _probe(operator: Operator) -> list[Tensor]:
    """Arguments with 0, 1, negatives and repeats, (3, 4) each; what singular values can be for spectral operators."""
    x = torch.tensor([[0.0, 1.0, -1.0, 2.5], [3.0, -0.5, -2.0, 0.25], [1.5, 0.5, 4.0, -3.0]], dtype=torch.float64)
    y = torch.tensor([[2.0, -1.0, 0.5, 1.0], [-0.25, 3.0, 1.0, -2.0], [0.5, -4.0, 2.0, 1.0]], dtype=torch.float64)
    arguments = [x, y][: operator.arity]
    return [x.abs()] if operator.form is Form.SPECTRAL else arguments


# Of results for (3, 4); a join of one argument is that argument.
_SHAPES: Final = {
    **dict.fromkeys((Form.REDUCTION, Form.SPECTRAL), (3,)),
    **dict.fromkeys((Form.PRODUCT, Form.KERNEL), (3, 3)),
    Form.PATTERN: (),
    Form.TRANSPOSE: (4, 3),
    Form.ROWS: (3, 1),
}


def check_operator(operator: Operator) -> None:
    """Check one record against its function.

    Raises:
        OperatorError: wrong arity or shape, an argument is modified, NaN is swallowed, a flag does not hold,
            or a weighted sample gives something else than the elements that it stands for.
    """

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise OperatorError(f"operator {operator.name!r}: {what}")

    fn, arguments = operator.function, _probe(operator)
    before = [argument.clone() for argument in arguments]
    try:
        value = fn(*arguments)
    except TypeError as error:
        raise OperatorError(f"operator {operator.name!r}: arity {operator.arity} does not fit its function") from error
    require(all(map(torch.equal, arguments, before)), "modifies its argument")
    require(all(f"{{{i}}}" in operator.phrase for i in range(operator.arity)), "has no words for its arguments")
    require(value.shape == _SHAPES.get(operator.form, (3, 4)), f"result has shape {tuple(value.shape)}")
    require(bool(value.isfinite().all()), "is not finite on 0, 1 and negative numbers")
    spoilt = fn(*(torch.full_like(argument, torch.nan) for argument in arguments))
    require(bool(spoilt.isnan().all()), "turns NaN into a number")

    def same(left: Tensor, right: Tensor) -> bool:
        return torch.allclose(left, right, rtol=1e-9, atol=1e-12)

    x = arguments[0]
    if operator.commutative:
        require(same(value, fn(*reversed(arguments))), "is not commutative")
    if operator.idempotent:
        require(same(fn(value), value) if operator.arity == 1 else same(fn(x, x), x), "is not idempotent")
    if operator.involutive:
        require(same(fn(value), x), "is not its own inverse")
    if operator.even and operator.form is not Form.SPECTRAL:
        require(same(fn(-x), value), "is not even")
    if operator.modulus:
        require(operator.even and same(fn(x.abs()), value), "depends on signs")
    if operator.nonnegative:
        require(bool((value >= 0).all()), "has negative values")
    if operator.fixes_nonnegative:
        require(same(fn(x.abs()), x.abs()), "does not keep nonnegative numbers")
    if operator.form is Form.SPECTRAL and operator.pads:
        require(same(fn(torch.cat([x, torch.zeros_like(x)], -1)), value), "depends on zeros among the singular values")
    if operator.weighted is not None:
        times = torch.arange(1, x.shape[-1] + 1)
        repeated = fn(x.repeat_interleave(times, -1))
        sample = operator.weighted(x, times.to(x.dtype).expand_as(x))
        if operator.form is Form.RELATIVE:
            sample = sample.repeat_interleave(times, -1)
        require(same(sample, repeated), "differs on a weighted sample and on what that stands for")
    if operator.increasing:
        rising = fn(torch.linspace(-3, 3, 13, dtype=torch.float64))
        require(bool((rising.diff() > 0).all()), "is not strictly increasing")


def build_table(operators: Sequence[Operator]) -> dict[str, Operator]:
    """Check every operator and return them by name.

    Raises:
        OperatorError: a record is wrong, or two have one name.
    """
    table: dict[str, Operator] = {}
    for operator in operators:
        if operator.name in table:
            raise OperatorError(f"operator {operator.name!r} is in the table twice")
        check_operator(operator)
        table[operator.name] = operator
    return table


OPERATORS: Final[dict[str, Operator]] = build_table(_TABLE)
