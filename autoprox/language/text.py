"""Text of expressions: a subset of Python's expression syntax. Parser and printers; nothing is ever evaluated."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterable
from functools import lru_cache

from autoprox.errors import InputError
from autoprox.language.expression import MAX_DEPTH, MAX_SIZE, REMEMBERED, Expression, check_proxy, fold
from primitives.operators import OPERATORS, Operator
from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS

__all__ = ["MAX_LENGTH", "parse", "parse_proxy", "to_latex", "to_text"]

MAX_LENGTH = 20_000
_MAX_NESTING = 2 * MAX_DEPTH  # brackets that only group count as well

_INFIX = {"+": 1, "-": 1, "*": 2, "/": 2, "@": 2}  # symbol -> precedence, as in Python
_PREFIX_PRECEDENCE = 3
_ATOM = 4
_BINARY = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.MatMult: "matmul",
}


def parse(text: str) -> Expression:
    """Parse an expression of any level.

    Raises:
        InputError: names the token, what was expected and what exists.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"the expression has {len(text)} characters; at most {MAX_LENGTH} are accepted")
    if not text.isascii():  # Python would read look-alikes such as a full-width letter as the plain one
        odd = next(character for character in text if not character.isascii())
        raise InputError(f"not an expression: {odd!a} in {_clip(text)!a}; only plain ASCII characters are accepted")
    nesting = deepest = 0
    for character in text:
        nesting += (character in "([{") - (character in ")]}")
        deepest = max(deepest, nesting)
    if deepest > _MAX_NESTING:
        raise InputError(
            f"the expression is too deep: brackets nest {deepest} levels, at most {_MAX_NESTING} are accepted"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python comments on odd input such as '1()'; our error is clearer
            tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        where = f" at column {error.offset}" if error.offset else ""
        raise InputError(f"not an expression{where}: {_clip(text)!r} ({error.msg})") from None
    except (ValueError, RecursionError, MemoryError):
        raise InputError(f"not an expression that can be read: {_clip(text)!r}") from None
    try:
        return _Reader(text.strip()).read(tree.body, 0)
    except RecursionError:
        raise InputError(f"the expression is too deep; at most {MAX_DEPTH} levels are accepted") from None


def parse_proxy(text: str) -> Expression:
    """Parse an expression that ends in one number per network; errors as in ``parse`` and ``check_proxy``."""
    return check_proxy(parse(text))


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.nodes = 0

    def read(self, node: ast.expr, depth: int) -> Expression:
        self.nodes += 1
        if self.nodes > MAX_SIZE or depth >= MAX_DEPTH:
            raise InputError(
                f"the expression is too large; at most {MAX_SIZE} nodes and depth {MAX_DEPTH} are accepted"
            )
        match node:
            case ast.BinOp(left, op, right) if type(op) in _BINARY:
                return Expression(_BINARY[type(op)], (self.read(left, depth + 1), self.read(right, depth + 1)))
            case ast.UnaryOp(ast.USub(), operand):
                return Expression("neg", (self.read(operand, depth + 1),))
            case ast.Call(ast.Name(name), args, []):
                return self.call(name, args, depth)
            case ast.Name() | ast.Attribute():
                return self.leaf(node)
        found = ast.get_source_segment(self.text, node) or type(node).__name__
        raise InputError(
            f"{_clip(found)!r} is not part of the proxy language: expected a statistic such as qkv.weight, an operator such as "
            "sum(...), or + - * / @ ('autoprox primitives' lists them)"
        )

    def call(self, name: str, args: list[ast.expr], depth: int) -> Expression:
        if name not in OPERATORS:
            raise InputError(
                f"there is no operator {_clip(name)!r}{_suggest(name, OPERATORS)}; 'autoprox primitives' lists them, and one of "
                "your own has to be registered first (autoprox.register_operator)"
            )
        arity = OPERATORS[name].arity
        if len(args) != arity:
            raise InputError(f"{name!r} takes {arity} argument{'s' * (arity > 1)}, found {len(args)}")
        return Expression(name, tuple(self.read(arg, depth + 1) for arg in args))

    def leaf(self, node: ast.expr) -> Expression:
        parts: list[str] = []
        walk = node
        while isinstance(walk, ast.Attribute):
            parts.append(walk.attr)
            walk = walk.value
        if not isinstance(walk, ast.Name):
            found = ast.get_source_segment(self.text, node) or "?"
            raise InputError(f"{_clip(found)!r} is not the name of a statistic: expected site.kind such as qkv.weight")
        name = ".".join([walk.id, *reversed(parts)])
        plain = STATISTICS.get(name.removeprefix("data."))
        if plain is not None and plain.pass_ == "data":  # the default pass may be written
            name = plain.name
        if name in OPERATORS:
            raise InputError(f"{name!r} is an operator: write it with its arguments, {name}(...)")
        if name not in STATISTICS and name not in ARCHITECTURE_NUMBERS:
            known = [*STATISTICS, *ARCHITECTURE_NUMBERS]
            raise InputError(
                f"there is no statistic {_clip(name)!r}{_suggest(name, known)}; 'autoprox primitives' lists them"
            )
        return Expression(name)


def _clip(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


@lru_cache(REMEMBERED)
def to_text(expression: Expression) -> str:
    """Print so that ``parse`` gives the same expression back."""

    def node(operator: Operator, args: tuple[tuple[str, int], ...]) -> tuple[str, int]:
        if operator.arity == 1 and operator.symbol:
            return operator.symbol + _bracket(args[0], _PREFIX_PRECEDENCE), _PREFIX_PRECEDENCE
        if operator.symbol:
            precedence = _INFIX[operator.symbol]
            left, right = _bracket(args[0], precedence), _bracket(args[1], precedence + 1)
            return f"{left} {operator.symbol} {right}", precedence
        return f"{operator.name}({', '.join(text for text, _ in args)})", _ATOM

    return fold(expression, lambda name: (name, _ATOM), node)[0]


def _bracket(part: tuple[str, int], least: int, style: str = "({})") -> str:
    text, precedence = part
    return text if precedence >= least else style.format(text)


def to_latex(expression: Expression) -> str:
    """Print as LaTeX mathematics (without dollar signs). The element-wise product of tensors is written as such."""

    def leaf(name: str) -> tuple[str, int, str]:
        if name in ARCHITECTURE_NUMBERS:
            return rf"\mathrm{{{name}}}", _LATEX_SYMBOL, "score"
        statistic = STATISTICS[name]
        upper = "" if statistic.pass_ == "data" else rf"^{{\mathrm{{{statistic.pass_}}}}}"
        site = statistic.site.replace("_", r"\_")
        level = "network" if statistic.of_network else "tensor"
        return _SYMBOLS[statistic.kind] + rf"_{{\mathrm{{{site}}}}}" + upper, _LATEX_SYMBOL, level

    def node(operator: Operator, args: tuple[tuple[str, int, str], ...]) -> tuple[str, int, str]:
        precedence, *least = _LATEX.get(operator.name, _LATEX_FUNCTION)
        parts = [_bracket(arg[:2], limit, r"\left({}\right)") for arg, limit in zip(args, least, strict=False)]
        level = args[0][2]
        template = operator.latex.replace(r"\cdot", r"\odot") if level in ("tensor", "network") else operator.latex
        return template.format(*parts), precedence, operator.result_level(level)

    return fold(expression, leaf, node)[0]


# How tightly a printed operator binds, and how tightly its arguments have to bind to go without brackets. A sum reaches
# to the next + or -; what gets an exponent is a symbol or in brackets.
_LATEX_SYMBOL = 6
_LATEX_FUNCTION = (5, 0, 0)  # has brackets of its own
_LATEX = {
    "add": (1, 1, 2),
    "sub": (1, 1, 2),
    "neg": (1, 2),
    "sum": (2, 2),
    "mul": (3, 3, 4),
    "matmul": (4, _LATEX_SYMBOL, _LATEX_SYMBOL),
    "logdet": (5, _LATEX_SYMBOL),
    "transpose": (4, _LATEX_SYMBOL),
    "gram": (4, _LATEX_SYMBOL),
    "logvolume": (4, _LATEX_SYMBOL),
    "identity": (0, 0),
}
_SYMBOLS = {
    "weight": "W",
    "grad": r"\nabla W",
    "input": "X",
    "output": "Y",
    "output_grad": r"\nabla Y",
    "map": "A",
    "hvp": r"H \nabla W",
    "input_grad": r"\nabla X",
    "response": r"\tilde{Y}",
    "gate_grad": r"\nabla g",
    "head_grad": r"\nabla h",
    "grads": r"\nabla^{(i)} W",
    "jacobian": "J",
}
