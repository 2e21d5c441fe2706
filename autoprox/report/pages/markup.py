"""HTML that cannot be injected into: whatever is not `Markup` is text, and is escaped."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import starmap
from typing import TypeAlias

__all__ = ["Cell", "Markup", "Value", "definitions", "document", "joined", "listed", "section", "table", "tag"]

_VOID = {"meta", "br"}
_SHORT = 24  # letters of a name that is not broken into lines


class Markup(str):
    """HTML that was made here; never a text of a file or of a user."""

    __slots__ = ()


def tag(name: str, /, *content: str | None, **attributes: str | int | float | None) -> Markup:
    """An element; None is left out. ``class_`` is written ``class``, ``data_value`` is written ``data-value``.

    >>> tag("p", "1 < 2, ", tag("b", "so"), class_="note")
    '<p class="note">1 &lt; 2, <b>so</b></p>'
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    opening = "".join(f' {key}="{html.escape(str(value))}"' for key, value in given.items())
    return Markup(f"<{name}{opening}>" if name in _VOID else f"<{name}{opening}>{joined(content)}</{name}>")


def joined(content: Iterable[str | None]) -> Markup:
    """Pieces one after the other."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in content if part))


@dataclass(frozen=True)
class Cell:
    """A cell whose text does not sort as it should: ``value`` does; None comes last in either direction."""

    text: str
    value: float | None


Value: TypeAlias = str | int | Cell
"""Of a table's cell: whole numbers and `Cell` stand on the right."""


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Value]], *, code: bool = False) -> Markup:
    """A table that sorts by any column, and scrolls on its own where the screen is too narrow for it.

    Args:
        caption: what it shows.
        columns: headings; the first column names its row.
        rows: cells.
        code: whether the first column is in the proxy language.
    """
    cells = [list(row) for row in rows]
    right = [bool(cells) and all(not isinstance(row[i], str) for row in cells) for i in range(len(columns))]
    kinds = ["number" if numeric else None for numeric in right]
    heads = [
        tag("th", tag("button", title, type="button"), scope="col", class_=kind)
        for title, kind in zip(columns, kinds, strict=True)
    ]
    body = []
    for first, *rest in cells:
        head = tag("th", _wrapped(first, code), scope="row", data_value=_key(first), class_=kinds[0])
        others = [
            tag("td", _text(cell), data_value=_key(cell), class_=kind)
            for cell, kind in zip(rest, kinds[1:], strict=True)
        ]
        body.append(tag("tr", head, *others))
    short = all(len(_text(row[0])) <= _SHORT for row in cells)
    content = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *body),
        class_="short" if short else None,
    )
    return tag("div", content, class_="scroll", role="region", tabindex=0, aria_label=caption)


def _wrapped(cell: Value, code: bool) -> str:
    return tag("code", _text(cell)) if code else _text(cell)


def _text(cell: Value) -> str:
    return cell if isinstance(cell, str) else f"{cell:,}" if isinstance(cell, int) else cell.text


def _key(cell: Value) -> str | None:
    if isinstance(cell, Cell):
        return "" if cell.value is None else repr(cell.value)
    return None if isinstance(cell, str) else str(cell)


def definitions(pairs: Iterable[tuple[str, str]], class_: str = "facts") -> Markup:
    """Names with their values."""
    return tag("dl", *starmap(_definition, pairs), class_=class_)


def _definition(name: str, value: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value))


def listed(items: Iterable[str]) -> Markup:
    """A bullet list."""
    return tag("ul", *(tag("li", item) for item in items))


def section(heading: str, *content: str | None) -> Markup:
    """A part of the page."""
    return tag("section", tag("h2", heading), *content)


def document(title: str, *content: str | None) -> str:
    """A page that needs nothing but itself: its policy forbids the browser to load anything, or to run another script."""
    style, script = (_own(name) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    body = tag("body", tag("main", *content), tag("script", Markup(script)))
    text = f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
    return text.encode(errors="replace").decode()  # names of files may be no text


def _own(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
