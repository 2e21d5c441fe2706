"""Markdown of the reference: pages, tables, code and formulas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["code", "formula", "page", "table"]


def page(title: str, parts: Iterable[str]) -> str:
    """A page that says that it is generated, its parts apart."""
    made = "<!-- Made by `make docs` from the tables of the program; do not edit. -->"
    return "\n\n".join([f"# {title}", made, *parts]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars inside cells would end them."""
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(words: str | Iterable[str]) -> str:
    """One word, or several, as code."""
    return f"`{words}`" if isinstance(words, str) else " ".join(f"`{word}`" for word in words)


def formula(latex: str) -> str:
    """LaTeX inside a line, also of a table: where bars are commands."""
    for bar, command in ((r"\|", r"\Vert "), ("|", r"\vert ")):
        latex = latex.replace(bar, command)
    return f"$`{latex}`$"
