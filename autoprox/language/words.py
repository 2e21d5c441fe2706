"""Expressions in English, from the phrases that the tables of operators and statistics have."""

from __future__ import annotations

from autoprox.language.expression import Expression, kind
from primitives.operators import OPERATORS
from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS

__all__ = ["to_words"]

_OF = {"tensor": "elements", "network": "elements", "block": "blocks", "score": "networks"}
_FREE = {"add": ("add", "mul", "div"), "mul": ("mul",)}
"""What needs no brackets inside: plus and times are read as in arithmetic."""


def to_words(expression: Expression) -> list[str]:
    """Say what an expression of any level computes.

    A phrase that joins two long ones would be read in several ways, so what it joins gets a number and a line of its own.

    Returns:
        The phrase of the whole, and after it ``[1] is ...``, ``[2] is ...``, each sub-expression once.
    """
    numbered: dict[Expression, str] = {}
    lines: dict[Expression, str] = {}

    def phrase(e: Expression) -> str:
        if not e.args:
            number = ARCHITECTURE_NUMBERS.get(e.head)
            return STATISTICS[e.head].phrase if number is None else f"the {number.partition(',')[0]}"
        operator = OPERATORS[e.head]
        return operator.phrase.format(*(part(arg, e.head) for arg in e.args), of=_OF[kind(e.args[0]).level])

    def part(e: Expression, user: str) -> str:
        within, outside = len(e.args), OPERATORS[user].arity
        # a phrase of one argument ends with it, so others may be put before it
        simple = within == 0 or (within == 1 and outside == 1 and OPERATORS[user].phrase.endswith("{0}"))
        if simple or (within == 2 and e.head in _FREE.get(user, ())):
            return phrase(e)
        if within == 2:
            return f"({phrase(e)})"
        if e not in numbered:
            numbered[e] = f"[{len(numbered) + 1}]"
            lines[e] = phrase(e)
        return numbered[e]

    whole = phrase(expression)
    return [whole, *(f"{name} is {lines[e]}" for e, name in numbered.items())]
