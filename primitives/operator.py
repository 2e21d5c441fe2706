"""What an operator of the proxy language is, and the checks of its record.

Every record is checked when the table is built: arity, shape, purity, NaN, words, and each algebraic flag numerically, so
that a flag that canonical forms rely on cannot be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import torch
from torch import Tensor

__all__ = ["DOWN", "LEVELS", "STRUCTURAL", "Form", "Operator", "OperatorError", "build_table", "check_operator"]

LEVELS: Final = ("tensor", "block", "score", "network")  # network: one tensor per network
_BELOW: Final = {"tensor": "block", "block": "score", "network": "score"}


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
