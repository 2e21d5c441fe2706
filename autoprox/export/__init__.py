"""Exports of a proxy: a Python file that needs torch alone, its text, LaTeX, a Graphviz graph, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from autoprox.errors import InputError
from autoprox.export._python import to_python
from autoprox.language.expression import Expression, check_proxy, subexpressions, to_graph, to_json
from autoprox.language.text import to_latex, to_text
from primitives.operators import BUILT_IN, OPERATORS

__all__ = ["FORMATS", "export"]

_LEVEL_TITLES: Final = {
    "tensor": "tensors: one per block",
    "block": "one number per block",
    "network": "tensors: one per network",
    "score": "one number per network",
}


def export(expression: Expression, format: str, *, title: str = "", metrics: Mapping[str, Any] | None = None) -> str:
    """Write a proxy in another form. The text depends on the arguments and the version alone.

    Args:
        expression: a proxy, that is an expression that ends at score level.
        format: one of ``FORMATS``.
            ``python``: a file that needs torch alone and defines ``score(model, images, labels)``, or
            ``scores(models, images, labels)`` for a proxy that compares networks with each other.
            ``expression``: the text in the proxy language. ``latex``: a displayed equation. ``dot``: Graphviz source of
            the computation graph. ``json``: the nodes of the graph, arguments before what uses them.
        title: what the proxy is called; one line.
        metrics: figures to record with it, nested mappings of names to numbers or pairs of them.

    Raises:
        InputError: there is no such format, or the expression is not a proxy.
    """
    if format not in FORMATS:
        raise InputError(f"there is no export format {format[:60]!r}: choose one of {', '.join(FORMATS)}")
    heading = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    return FORMATS[format](check_proxy(expression), heading, _figures(metrics or {}), metrics)


def _figures(metrics: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[str]:
    """One line for each innermost mapping: ``pit-tiny, cifar100: kendall 0.61, kendall_ci 0.55 to 0.66``."""
    here = [f"{name} {_number(value)}" for name, value in metrics.items() if not isinstance(value, Mapping)]
    lines = [f"{', '.join(path) or 'all'}: {', '.join(here)}"] if here else []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            lines += _figures(value, (*path, name))
    return ["".join(c if c.isprintable() else " " for c in line) for line in lines]


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " to ".join(map(_number, value)) if isinstance(value, list | tuple) else str(value)


def _python(expression: Expression, title: str, figures: list[str], _: object) -> str:
    own = sorted({e.head for e in subexpressions(expression) if e.args and e.head not in BUILT_IN})
    if own:
        raise InputError(
            f"a Python file carries the sources of built-in operators only, and {', '.join(own)} is registered by you; export "
            "the proxy as expression, latex, dot or json"
        )
    return to_python(expression, title, figures)


def _expression(expression: Expression, *_: object) -> str:
    return to_text(expression)


def _latex(expression: Expression, title: str, figures: list[str], _: object) -> str:
    remarks = "".join(f"% {line}\n" for line in (title, *figures) if line)
    return f"{remarks}\\[\n  \\mathrm{{score}} = {to_latex(expression)}\n\\]\n"


def _json(expression: Expression, title: str, _: object, metrics: Mapping[str, Any] | None) -> str:
    record = {
        "format": "autoprox-expression",
        "version": 1,
        "expression": to_text(expression),
        "nodes": to_json(expression),
        **({"title": title} if title else {}),
        **({"metrics": metrics} if metrics else {}),
    }
    return json.dumps(record, indent=2) + "\n"


def _dot(expression: Expression, title: str, *_: object) -> str:
    return "\n".join(_dot_lines(expression, title or to_text(expression))) + "\n"


def _dot_lines(expression: Expression, title: str) -> Iterator[str]:
    graph = to_graph(expression)
    yield "digraph proxy {"
    yield f'  label={_quoted(title)}; labelloc="t"; rankdir="BT";'
    yield '  node [shape="ellipse", fontname="sans-serif"];'
    for level in _LEVEL_TITLES:
        nodes = [i for i in graph if graph.nodes[i]["level"] == level]
        if not nodes:
            continue
        yield f"  subgraph cluster_{level} {{"
        yield f'    label={_quoted(_LEVEL_TITLES[level])}; style="dashed";'
        for i in nodes:
            head = graph.nodes[i]["head"]
            operator = OPERATORS.get(head)
            label = head if operator is None else operator.symbol or head
            shape = "" if operator else ', shape="box"'
            root = ', peripheries="2"' if i == len(graph) - 1 else ""
            yield f"    n{i} [label={_quoted(label)}{shape}{root}];"
        yield "  }"
    places = sorted((user, place, arg) for arg, user, places in graph.edges(data="positions") for place in places)
    for user, place, arg in places:
        operator = OPERATORS[graph.nodes[user]["head"]]
        ordered = operator.arity > 1 and not operator.commutative
        label = f' [label="{place + 1}"]' if ordered else ""
        yield f"  n{arg} -> n{user}{label};"
    yield "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_Writer = Callable[[Expression, str, list[str], Mapping[str, Any] | None], str]
FORMATS: Final[dict[str, _Writer]] = {
    "python": _python,
    "expression": _expression,
    "latex": _latex,
    "dot": _dot,
    "json": _json,
}
"""Names of the formats, the default first."""
