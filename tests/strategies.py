"""Hypothesis strategies for well-typed expressions of every level, built from the tables of operators and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from autoprox.language.expression import Expression, kind
from primitives.operators import DOWN, LEVELS, OPERATORS, Form, Operator
from primitives.statistics import ARCHITECTURE_NUMBERS, GROUPS, STATISTICS

SHAPES: dict[str, list[str]] = {}
NETWORK_SHAPES: dict[str, list[str]] = {}
for _statistic in STATISTICS.values():
    _shapes = NETWORK_SHAPES if _statistic.of_network else SHAPES
    _shapes.setdefault(_statistic.shape_class, []).append(_statistic.name)
JOINABLE = sorted(shape for shape in SHAPES if not set(shape.split(".")) & set(GROUPS))  # members differ in height

_CHANGES = {"product": Form.PRODUCT, "transpose": Form.TRANSPOSE, "rows": Form.ROWS, "kernel": Form.KERNEL}
Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def expressions(draw: Draw, level: str | None = None, height: int = 5, numbers: bool = True) -> Expression:
    """Expressions of a level (None: of any) and about a height; ``numbers``: with architecture numbers among the leaves."""
    level = level or draw(st.sampled_from(LEVELS))
    return _build(draw, level, draw(_shapes_of(level)), height, numbers)


def proxies(height: int = 5, numbers: bool = True) -> st.SearchStrategy[Expression]:
    return expressions("score", height, numbers)


def feature_expressions(height: int = 4) -> st.SearchStrategy[Expression]:
    """Tensor-to-block expressions: a reduction of a tensor."""
    return expressions("block", height).filter(lambda e: kind(e.args[0]).level == "tensor")


def network_features(height: int = 4) -> st.SearchStrategy[Expression]:
    """Network-to-score expressions: a reduction of one tensor per network."""
    return expressions("network", height).flatmap(
        lambda e: st.sampled_from(_operators("network", lambda o: o.form in DOWN)).map(lambda n: Expression(n, (e,)))
    )


def _operators(level: str, fits: Callable[[Operator], bool]) -> list[str]:
    return [operator.name for operator in OPERATORS.values() if level in operator.levels and fits(operator)]


def _build(draw: Draw, level: str, shape: str, height: int, numbers: bool) -> Expression:
    if height > 1 and draw(st.booleans()):  # an operator that stays at the level
        name = draw(st.sampled_from(_operators(level, lambda o: o.form in (Form.POINTWISE, Form.RELATIVE))))
        args = tuple(_build(draw, level, shape, height - 1, numbers) for _ in range(OPERATORS[name].arity))
        return Expression(name, args)
    if level in ("tensor", "network"):
        base, _, word = shape.rpartition(" ")
        if word == "join":
            return Expression("join", (_build(draw, "tensor", base, height - 2, numbers),))
        if base:
            name = draw(st.sampled_from(_operators(level, lambda o: o.form is _CHANGES[word])))
            args = tuple(_build(draw, level, base, height - 2, numbers) for _ in range(OPERATORS[name].arity))
            return Expression(name, args)
        return Expression(draw(st.sampled_from((SHAPES | NETWORK_SHAPES)[shape])))
    if level == "score" and numbers and draw(st.integers(0, 5)) == 0:
        return Expression(draw(st.sampled_from(sorted(ARCHITECTURE_NUMBERS))))
    below = "tensor" if level == "block" else draw(st.sampled_from(("block", "block", "block", "network")))
    name = draw(st.sampled_from(_operators(below, lambda o: o.form in DOWN)))
    return Expression(name, (_build(draw, below, draw(_shapes_of(below)), height - 1, numbers),))


def _shapes_of(level: str) -> st.SearchStrategy[str]:
    """Shape classes of a level, some of them changed by an operator."""
    changed = st.sampled_from(("", "", "", *(f" {word}" for word in _CHANGES)))
    if level == "network":
        return st.tuples(
            st.one_of(st.sampled_from(JOINABLE).map("{} join".format), st.sampled_from(sorted(NETWORK_SHAPES))), changed
        ).map("".join)
    return st.tuples(st.sampled_from(sorted(SHAPES)), changed).map("".join)
