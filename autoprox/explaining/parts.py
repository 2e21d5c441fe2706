"""A proxy without some of its parts: branches, statistics, blocks."""

from __future__ import annotations

import numpy as np

from autoprox.errors import InputError
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, check_proxy, kind, subexpressions
from primitives.operators import DOWN, OPERATORS
from primitives.statistics import STATISTICS

__all__ = ["aligned", "block_terms", "droppable", "without"]

_ALONE = {"sub": "neg", "div": "inverse"}
"""What remains of ``a - b`` and of ``a / b`` without a; every other operator leaves the argument as it is."""


def without(expression: Expression, dropped: Expression) -> Expression | None:
    """The proxy without a sub-expression, wherever it is used; canonical.

    An operator of two arguments is replaced by the other argument (``a - b`` without ``a`` is ``-b``, ``a / b`` is
    ``1 / b``); one of one argument goes with it. None where nothing is left, or where what is left is no proxy (a matrix
    product has another shape than its factors).
    """
    left: dict[Expression, Expression | None] = {}
    for e in subexpressions(expression):
        args = [left[arg] for arg in e.args]
        kept = [arg for arg in args if arg is not None]
        if e == dropped or (e.args and not kept):
            left[e] = None
        elif len(kept) == len(e.args):
            left[e] = Expression(e.head, tuple(kept))
        else:
            single = args[0] is None and e.head in _ALONE
            left[e] = Expression(_ALONE[e.head], (kept[0],)) if single else kept[0]
    rest = left[expression]
    try:
        return None if rest is None else canonical(check_proxy(rest))
    except InputError:
        return None


def droppable(expression: Expression) -> dict[Expression, str]:
    """What can be left out: {sub-expression: ``branch`` or ``statistic``}, in the order of the text.

    A branch is an argument of an operator that has two; a statistic that is a branch by itself is called a statistic.
    """
    branches = dict.fromkeys(arg for e in subexpressions(expression) if len(e.args) == 2 for arg in e.args)
    every = dict.fromkeys([*(e for e in subexpressions(expression) if e.head in STATISTICS), *branches])
    return {e: "statistic" if e.head in STATISTICS else "branch" for e in every if e != expression}


def block_terms(expression: Expression) -> list[Expression]:
    """The block-level sub-expressions that are reduced to one number a network: all that a proxy says about blocks."""
    reduced = [e.args[0] for e in subexpressions(expression) if e.args and OPERATORS[e.head].form in DOWN]
    return [e for e in dict.fromkeys(reduced) if kind(e).level == "block"]


def aligned(depth: int, places: int) -> list[int]:
    """The block of a network that stands at each of some places of equal relative depth, the first and the last included.

    >>> aligned(6, 3), aligned(3, 3), aligned(5, 2)
    ([0, 2, 5], [0, 1, 2], [0, 4])
    """
    return [round(float(x)) for x in np.linspace(0, depth - 1, places)]
