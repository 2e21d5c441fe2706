"""`autoprox proxies`, `primitives`, `spaces` and `export`: what exists, and a proxy in another form."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from autoprox.cli import options

__all__ = ["export", "primitives", "proxies", "spaces"]


def proxies(json: options.Json = False) -> None:
    """List the known proxies with their expressions and sources."""
    from autoprox.proxies.known import KNOWN_PROXIES
    from autoprox.report import listing, show

    known = KNOWN_PROXIES.values()
    if json:
        records = [{"name": p.name, "expression": p.text, "source": p.source, "note": p.note} for p in known]
        options.emit_json({"proxies": records})
    else:
        rows = [(p.name, p.text, f"{p.source}\n{p.note}" if p.note else p.source) for p in known]
        show(listing(("name", "expression", "source"), rows, wrapped=("expression", "source"), lines=True))


def primitives(json: options.Json = False) -> None:
    """List the words of the proxy language: operators and statistics."""
    from autoprox.report import show
    from autoprox.report.language import language_tables
    from primitives.operators import OPERATORS
    from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS

    if json:
        operators = [
            {
                "name": o.name,
                "symbol": o.symbol,
                "arity": o.arity,
                "form": o.form.name.lower(),
                "levels": list(o.levels),
                "source": o.source,
            }
            for o in OPERATORS.values()
        ]
        statistics = [{"name": s.name, "meaning": s.meaning} for s in STATISTICS.values()]
        numbers = [{"name": name, "meaning": meaning} for name, meaning in ARCHITECTURE_NUMBERS.items()]
        options.emit_json({"operators": operators, "statistics": statistics, "architecture_numbers": numbers})
        return
    show(*language_tables())


def spaces(json: options.Json = False) -> None:
    """List the search spaces with their choices."""
    from autoprox.report import listing, show
    from autoprox.spaces import SPACES

    if json:
        records = [
            {"name": s.name, "description": s.description, "size": s.size(), "choices": s.choices()}
            for s in SPACES.values()
        ]
        options.emit_json({"spaces": records})
        return
    rows = [
        (s.name, f"{s.size():,}", "\n".join([s.description, *(f"{k}: {v}" for k, v in s.choices().items())]))
        for s in SPACES.values()
    ]
    columns = ("space", "architectures", "choices")
    show(listing(columns, rows, wrapped=columns[2:], right=columns[1:2], lines=True))


class Format(StrEnum):
    """Forms that a proxy can be exported in."""

    PYTHON = "python"
    EXPRESSION = "expression"
    LATEX = "latex"
    DOT = "dot"
    JSON = "json"


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A proxy file; a known name or an expression will do.")],
    format: Annotated[Format, typer.Option("--format", help="The form.")] = Format.PYTHON,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PATH", help="Where to write it. Default: standard output.")
    ] = None,
) -> None:
    """Write a proxy as a Python file, an expression, LaTeX, a Graphviz graph or JSON."""
    from autoprox.export import export as write
    from autoprox.files import check_writable, write_text
    from autoprox.proxies.proxy import resolve_proxy

    proxy = resolve_proxy(file)
    if out is not None:
        check_writable(out)
    title = Path(proxy.label).stem if proxy.label.endswith(".json") else proxy.label
    metrics = proxy.metrics if format is Format.JSON else proxy.headline()
    text = write(proxy.expression, format.value, title=title, metrics=metrics).rstrip("\n")
    if out is None:
        typer.echo(text)
    else:
        write_text(out, text + "\n")
