"""Expressions: frozen computation graphs over statistics, their levels, and the one fold that everything is built on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import networkx as nx

from autoprox.errors import InputError
from primitives.operators import DOWN, LEVELS, OPERATORS, Form, Operator
from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS

__all__ = [
    "MAX_DEPTH",
    "MAX_SIZE",
    "REMEMBERED",
    "Expression",
    "Kind",
    "check_proxy",
    "complexity",
    "depth",
    "features",
    "fold",
    "from_json",
    "is_relative",
    "kind",
    "statistics",
    "subexpressions",
    "to_graph",
    "to_json",
]

T = TypeVar("T")

# Far above what evolution makes or a reader follows; they bound what a hostile file can cost.
MAX_SIZE = 200
MAX_DEPTH = 40

REMEMBERED = 2**16  # expressions whose properties are kept, of which evolution asks again and again


@dataclass(frozen=True, slots=True)
class Expression:
    """A node: ``head`` names an operator, a statistic or an architecture number; ``args`` are the operator's."""

    head: str
    args: tuple[Expression, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.head, self.args)))

    def __hash__(self) -> int:
        return self._hash  # computed once: evolution looks expressions up by the million

    def __reduce__(self) -> tuple[type[Expression], tuple[str, tuple[Expression, ...]]]:
        return Expression, (self.head, self.args)  # other processes hash text in other ways


@dataclass(frozen=True, slots=True)
class Kind:
    """What a sub-expression is: its level and, at tensor and network level, the class of its shape."""

    level: str
    shape: str = ""


def fold(expression: Expression, leaf: Callable[[str], T], node: Callable[[Operator, tuple[T, ...]], T]) -> T:
    """Combine bottom-up; equal sub-expressions are visited once."""
    done: dict[Expression, T] = {}

    def visit(e: Expression) -> T:
        if e not in done:
            done[e] = node(OPERATORS[e.head], tuple(map(visit, e.args))) if e.args else leaf(e.head)
        return done[e]

    return visit(expression)


def subexpressions(expression: Expression) -> list[Expression]:
    """The distinct sub-expressions, arguments before what uses them; the last is the expression itself."""
    seen: dict[Expression, None] = {}

    def visit(e: Expression) -> None:
        if e not in seen:
            for arg in e.args:
                visit(arg)
            seen[e] = None

    visit(expression)
    return list(seen)


@lru_cache(REMEMBERED)
def complexity(expression: Expression) -> int:
    """Number of nodes, a shared sub-expression counted at every use: what a reader of the text has to read."""
    return fold(expression, lambda _: 1, lambda _, sizes: 1 + sum(sizes))


def depth(expression: Expression) -> int:
    """Number of nodes on the longest path."""
    return fold(expression, lambda _: 1, lambda _, depths: 1 + max(depths))


@lru_cache(REMEMBERED)
def kind(expression: Expression) -> Kind:
    """Infer level and shape class.

    Raises:
        InputError: an operator gets a level or shapes it does not take; names it, what it takes and what it got.
    """
    return fold(expression, _leaf_kind, _node_kind)


def _leaf_kind(name: str) -> Kind:
    if name in ARCHITECTURE_NUMBERS:
        return Kind("score")
    statistic = STATISTICS[name]
    return Kind("network" if statistic.of_network else "tensor", statistic.shape_class)


def _node_kind(operator: Operator, args: tuple[Kind, ...]) -> Kind:
    shown = f"'{operator.symbol or operator.name}'"
    taken = " or ".join(level for level in operator.levels if level != "network")
    for arg in args:
        if arg.level not in operator.levels:
            raise InputError(
                f"{shown} takes {taken} level, not {arg.level} level "
                f"({_LEVEL_MEANING[arg.level]}); {_ADVICE[arg.level]}"
            )
    if len(args) == 2 and args[0] != args[1]:
        left, right = args
        if left.level != right.level:
            raise InputError(
                f"{shown} joins equal levels, found {left.level} level on the left and {right.level} level on the right; "
                "bring both to one level with reductions such as sum or mean"
            )
        raise InputError(
            f"{shown} joins tensors of one shape, found {left.shape} and {right.shape}; "
            "reduce each to one number per block first, for instance with mean"
        )
    level = operator.result_level(args[0].level)
    return Kind(level, _shape(operator, args[0].shape) if level in _WITH_SHAPE else "")


_WITH_SHAPE = ("tensor", "network")
_SHAPE_WORDS = {
    Form.PRODUCT: "product",
    Form.TRANSPOSE: "transpose",
    Form.ROWS: "rows",
    Form.KERNEL: "kernel",
    Form.JOIN: "join",
}


def _shape(operator: Operator, shape: str) -> str:
    """The class of a result's shape: that of the argument with a word for what changed it."""
    if operator.form not in _SHAPE_WORDS:
        return shape
    word = _SHAPE_WORDS[operator.form]
    if operator.form is Form.TRANSPOSE and shape.endswith(f" {word}"):
        return shape.removesuffix(f" {word}")
    return shape if operator.form is Form.ROWS and shape.endswith(f" {word}") else f"{shape} {word}"


_LEVEL_MEANING = {
    "tensor": "one tensor per block",
    "block": "one number per block",
    "score": "one number per network",
    "network": "one tensor per network",
}
_ADVICE = {
    "tensor": "reduce it to one number per block first, for instance with mean",
    "block": "use it on a tensor, before the reduction to one number per block",
    "score": "use it before the last reduction",
    "network": "reduce it to one number per network first, for instance with mean",
}


def check_proxy(expression: Expression) -> Expression:
    """Return the expression if it is a proxy: well-typed, within the limits, one number per network.

    Raises:
        InputError: it is not; says why.
    """
    size, levels = complexity(expression), depth(expression)
    if size > MAX_SIZE or levels > MAX_DEPTH:
        raise InputError(
            f"the expression has {size} nodes and depth {levels}; at most {MAX_SIZE} nodes and depth {MAX_DEPTH} are accepted"
        )
    level = kind(expression).level
    if level != "score":
        raise InputError(
            f"a proxy ends in one number per network, this expression ends at {level} level ({_LEVEL_MEANING[level]}); "
            f"wrap it in {'sum(sum(...))' if level == 'tensor' else 'sum(...)'}, for instance"
        )
    return expression


def features(expression: Expression) -> list[Expression]:
    """The sub-expressions that reduce a tensor: all that has to be measured on networks; the rest is arithmetic on these.

    Those of a tensor per block are at block level, those of a tensor per network at score level.
    """
    return [
        e
        for e in subexpressions(expression)
        if e.args and OPERATORS[e.head].form in DOWN and kind(e.args[0]).level in _WITH_SHAPE
    ]


def statistics(expression: Expression) -> list[str]:
    """Names of the statistics that the expression reads, sorted."""
    return sorted(e.head for e in subexpressions(expression) if e.head in STATISTICS)


def is_relative(expression: Expression) -> bool:
    """Whether a score depends on the networks it is computed together with (ranks, z-scores between networks)."""
    return any(
        e.args and OPERATORS[e.head].form is Form.RELATIVE and kind(e.args[0]).level == "score"
        for e in subexpressions(expression)
    )


def to_graph(expression: Expression) -> nx.DiGraph:
    """The computation graph: nodes 0.. with ``head`` and ``level``; edges run from argument to user.

    An edge's ``positions`` lists the argument places it fills, since ``x * x`` uses one node twice.
    """
    graph: nx.DiGraph = nx.DiGraph()
    index = {e: i for i, e in enumerate(subexpressions(expression))}
    for e, i in index.items():
        graph.add_node(i, head=e.head, level=kind(e).level)
        for position, arg in enumerate(e.args):
            if graph.has_edge(index[arg], i):
                graph.edges[index[arg], i]["positions"].append(position)
            else:
                graph.add_edge(index[arg], i, positions=[position])
    return graph


def to_json(expression: Expression) -> list[dict[str, Any]]:
    """A list of nodes, arguments first, each ``{"head", "args": indices}``; the last is the root."""
    order = subexpressions(expression)
    index = {e: i for i, e in enumerate(order)}
    return [{"head": e.head, "args": [index[arg] for arg in e.args]} for e in order]


def from_json(nodes: Sequence[Mapping[str, Any]]) -> Expression:
    """Inverse of ``to_json``.

    Raises:
        InputError: not such a list, or a name or arity is unknown.
    """
    built: list[Expression] = []
    sizes: list[int] = []  # of the written-out trees: sharing could hide an exponential one
    for i, record in enumerate(nodes):
        try:
            head, places = record["head"], record["args"]
            args = tuple(built[place] for place in places if isinstance(place, int) and place >= 0)
        except (KeyError, TypeError, IndexError):
            raise InputError(
                f"node {i}: expected {{'head', 'args'}} with args before their user, found {record!r}"
            ) from None
        arity = -1
        if isinstance(head, str):
            arity = OPERATORS[head].arity if head in OPERATORS else 0 if head in _leaf_names() else -1
        if arity != len(args) or len(args) != len(places):
            raise InputError(f"node {i}: {head!r} with {len(places)} arguments does not exist in the proxy language")
        sizes.append(1 + sum(sizes[place] for place in places))
        if sizes[-1] > MAX_SIZE:
            raise InputError(
                f"node {i}: the expression has more than {MAX_SIZE} nodes, which is the most that is accepted"
            )
        built.append(Expression(head, args))
    if not built:
        raise InputError("an expression has at least one node, found an empty list")
    return built[-1]


def _leaf_names() -> Iterator[str]:
    yield from STATISTICS
    yield from ARCHITECTURE_NUMBERS


assert tuple(_LEVEL_MEANING) == LEVELS
