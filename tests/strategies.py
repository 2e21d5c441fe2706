"""Hypothesis strategies for well-typed expressions of every level, built from the tables of operators and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from autoprox.language.expression import Expression
from primitives.operators import LEVELS, OPERATORS, Form, Operator
from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS

SHAPES: dict[str, list[str]] = {}
for _statistic in STATISTICS.values():
    SHAPES.setdefault(_statistic.shape_class, []).append(_statistic.name)

_DOWN = (Form.REDUCTION, Form.SPECTRAL)
Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def expressions(draw: Draw, level: str | None = None, height: int = 5, numbers: bool = True) -> Expression:
    """Expressions of a level (None: of any) and about a height; ``numbers``: with architecture numbers among the leaves."""
    return _build(draw, level or draw(st.sampled_from(LEVELS)), draw(st.sampled_from(sorted(SHAPES))), height, numbers)


def proxies(height: int = 5, numbers: bool = True) -> st.SearchStrategy[Expression]:
    return expressions("score", height, numbers)


def feature_expressions(height: int = 4) -> st.SearchStrategy[Expression]:
    """Tensor-to-block expressions: a reduction of a tensor."""
    return expressions("block", height).filter(lambda e: OPERATORS[e.head].form in _DOWN and _tensor(e.args[0]))


def _tensor(e: Expression) -> bool:
    while e.args:
        if OPERATORS[e.head].form in _DOWN:
            return False
        e = e.args[0]
    return e.head in STATISTICS


def _operators(level: str, fits: Callable[[Operator], bool]) -> list[str]:
    return [operator.name for operator in OPERATORS.values() if level in operator.levels and fits(operator)]


def _build(draw: Draw, level: str, shape: str, height: int, numbers: bool) -> Expression:
    if height > 1 and draw(st.booleans()):  # an operator that stays at the level
        name = draw(st.sampled_from(_operators(level, lambda o: o.form in (Form.POINTWISE, Form.RELATIVE))))
        args = tuple(_build(draw, level, shape, height - 1, numbers) for _ in range(OPERATORS[name].arity))
        return Expression(name, args)
    if level == "tensor":
        if base := shape.removesuffix(" product") if shape.endswith(" product") else "":
            return Expression("matmul", tuple(_build(draw, "tensor", base, height - 2, numbers) for _ in "xy"))
        return Expression(draw(st.sampled_from(SHAPES[shape])))
    if level == "score" and numbers and draw(st.integers(0, 5)) == 0:
        return Expression(draw(st.sampled_from(sorted(ARCHITECTURE_NUMBERS))))
    below = LEVELS[LEVELS.index(level) - 1]
    name = draw(st.sampled_from(_operators(below, lambda o: o.form in _DOWN)))
    shape = draw(st.sampled_from(sorted(SHAPES))) + draw(st.sampled_from(("", "", "", " product")))
    return Expression(name, (_build(draw, below, shape, height - 1, numbers),))
