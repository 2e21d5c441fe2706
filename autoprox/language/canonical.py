"""Canonical form: one expression for all that are equal by construction, so that none is paid for twice."""

from __future__ import annotations

from autoprox.language.expression import Expression, fold
from autoprox.language.text import to_text
from primitives.operators import OPERATORS, Operator
from primitives.statistics import STATISTICS

__all__ = ["canonical", "is_nonnegative", "ranking_key"]


def canonical(expression: Expression) -> Expression:
    """Rewrite without changing the value: sorted commutative arguments, collapsed chains, signs moved out."""
    return fold(expression, _leaf, lambda operator, args: _node(operator, *args))


def _leaf(name: str) -> Expression:
    statistic = STATISTICS.get(name)
    if statistic is not None and statistic.pass_ == "ones" and statistic.kind == "weight":
        # by definition of the pass; in this form no pass has to be run
        return Expression("abs", (Expression(f"{statistic.site}.weight"),))
    return Expression(name)


def is_nonnegative(expression: Expression) -> bool:
    """Whether the value cannot be negative, as far as it shows in the expression."""
    if expression.head == "attn.map":
        return True
    if not expression.args:
        return not STATISTICS.get(expression.head)  # architecture numbers count things
    operator = OPERATORS[expression.head]
    if operator.nonnegative:
        return True
    if operator.name == "maximum":
        return any(map(is_nonnegative, expression.args))
    keeps = operator.name in _KEEP_NONNEGATIVE
    return keeps and all(map(is_nonnegative, expression.args))


_KEEP_NONNEGATIVE = (
    *("add", "mul", "div", "minimum", "matmul", "sum", "mean", "max", "min"),
    *("transpose", "rowsum", "rowmean", "rowmax", "join"),
)


def _node(operator: Operator, *args: Expression) -> Expression:
    """Build one node whose arguments are canonical already."""
    name, x = operator.name, args[0]
    if operator.arity == 1:
        if name == "identity":
            return x
        if operator.even:
            while x.head == "neg" or (x.head == "abs" and operator.modulus):
                x = x.args[0]
            if x.head == "sub":  # |a - b| = |b - a|
                x = Expression("sub", tuple(sorted(x.args, key=to_text)))
        if operator.involutive and x.head == name:
            return x.args[0]
        if operator.idempotent and x.head == name:
            return x
        if operator.fixes_nonnegative and is_nonnegative(x):
            return x
        if name == "neg" and x.head == "sub":
            return Expression("sub", x.args[::-1])
        if name == "sum" and x.head == "abs":
            return Expression("l1", x.args)
        if name == "l1" and is_nonnegative(x):
            return Expression("sum", (x,))
        return Expression(name, (x,))
    left, right = args
    if operator.idempotent and left == right:
        return left
    if name in ("mul", "div", "matmul"):
        negative = (left.head == "neg") != (right.head == "neg")
        left, right = (e.args[0] if e.head == "neg" else e for e in (left, right))
        plain = _sorted(operator, left, right)
        return _node(OPERATORS["neg"], plain) if negative else plain
    if name == "sub" and right.head == "neg":
        return _node(OPERATORS["add"], left, right.args[0])
    if left.head == "neg" and (right.head == "neg" if name == "add" else name == "sub"):  # -a - b = -(a + b)
        return _node(OPERATORS["neg"], _node(OPERATORS["add"], left.args[0], right.args[0] if name == "add" else right))
    if name == "add" and right.head == "neg":
        return _node(OPERATORS["sub"], left, right.args[0])
    if name == "add" and left.head == "neg":
        return _node(OPERATORS["sub"], right, left.args[0])
    return _sorted(operator, left, right)


def _sorted(operator: Operator, left: Expression, right: Expression) -> Expression:
    args = (left, right)
    return Expression(operator.name, tuple(sorted(args, key=to_text)) if operator.commutative else args)


def ranking_key(expression: Expression) -> Expression:
    """Canonical form without strictly increasing functions at the root: equal keys rank every population alike."""
    e = canonical(expression)
    while e.args and OPERATORS[e.head].increasing:
        e = canonical(e.args[0])
    return e
