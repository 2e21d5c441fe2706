"""Proxy files (``best.json``), and what a user may name as a proxy: a file, a known proxy or an expression."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from autoprox.errors import InputError
from autoprox.files import clipped, read_json, write_json
from autoprox.language.expression import Expression
from autoprox.language.text import parse_proxy, to_text
from autoprox.proxies.known import KNOWN_PROXIES
from primitives.statistics import ARCHITECTURE_NUMBERS

__all__ = ["FORMAT", "VERSION", "Proxy", "load_proxy", "named", "resolve_proxy", "save_proxy"]

FORMAT = "autoprox-proxy"
VERSION = 1


@dataclass(frozen=True, repr=False)
class Proxy:
    """An expression with how it was found.

    Attributes:
        expression: the proxy.
        label: what the user called it.
        metrics: {space: {data set: figures on the test architectures}}, and the same for ``joint``/``mean``.
        provenance: seed, settings, benchmark with its hash, hash of the split, versions, times.
        verdict: what the metrics say in words (`autoprox.ranking.verdict`), as ``about``, ``text`` and ``good``.
    """

    expression: Expression
    label: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    verdict: tuple[dict[str, Any], ...] = ()

    @classmethod
    def load(cls, source: str | Path) -> Proxy:
        """A proxy file, a known proxy by its name, or an expression; see `resolve_proxy`, whose errors it raises."""
        return resolve_proxy(str(source))

    def save(self, path: str | Path) -> None:
        """Write a proxy file, which `load` and every command read."""
        save_proxy(Path(path), self)

    @property
    def text(self) -> str:
        """The expression as a text."""
        return to_text(self.expression)

    def export(self, format: str = "python") -> str:
        """The proxy in another form, such as a Python file that needs torch only; see `autoprox.export.export`."""
        from autoprox.export import export

        return export(self.expression, format, title=self.label, metrics=self.headline())

    def records(self) -> list[dict[str, Any]]:
        """The figures on the test architectures, one row a space and data set; the means are of the space ``joint``."""
        return [
            {"space": space, "dataset": dataset, **row}
            for space, rows in self.metrics.items()
            for dataset, row in (rows.items() if isinstance(rows, dict) else ())
            if isinstance(row, dict)
        ]

    def seen(self, space: str) -> frozenset[str]:
        """The architectures of a space that it was found on, as `autoprox.measuring.capture.architecture_digest` names them."""
        of_spaces = self.provenance.get("seen")
        found = of_spaces.get(space) if isinstance(of_spaces, dict) else None
        return frozenset(name for name in found if isinstance(name, str)) if isinstance(found, list) else frozenset()

    def __repr__(self) -> str:
        figures = self.headline().get("joint, mean on test", {})
        tau, bounds = figures.get("kendall"), figures.get("kendall_ci")
        shown = "" if tau is None else f", tau {tau:.3f} on test"
        shown += "" if tau is None or bounds is None else f" [{bounds[0]:.3f}, {bounds[1]:.3f}]"
        return f"Proxy({self.text!r}{shown})"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "expression": to_text(self.expression),
            "metrics": self.metrics,
            "provenance": self.provenance,
            **({"verdict": list(self.verdict)} if self.verdict else {}),
        }

    def headline(self) -> dict[str, dict[str, Any]]:
        """The figures that a reader wants first: {"space, data set": tau and its gain over the parameter count}."""
        lines = {}
        for space, rows in self.metrics.items():
            for dataset, row in rows.items() if isinstance(rows, dict) else ():
                if isinstance(row, dict):
                    shown = {name: row[name] for name in _HEADLINE if row.get(name) is not None}
                    lines[f"{space}, {dataset} on test"] = shown
        return {name: shown for name, shown in lines.items() if shown}


_HEADLINE = ("n", "kendall", "kendall_ci", "difference", "difference_ci", "partial_kendall")


def named(proxies: Iterable[Proxy]) -> dict[str, Proxy]:
    """Each proxy once, by its label; by its expression where it has none, and by both where another has that label."""
    found: dict[str, Proxy] = {}
    for proxy in proxies:
        name = proxy.label or proxy.text
        if name in found and found[name].expression != proxy.expression:
            name = f"{name}: {proxy.text}"
        found.setdefault(name, proxy)
    return found


def save_proxy(path: Path, proxy: Proxy) -> None:
    """Write a proxy file atomically; MissingError where it cannot be written."""
    write_json(path, proxy.to_json())


def load_proxy(path: Path) -> Proxy:
    """Read a proxy file. Nothing in it is executed.

    Raises:
        InputError: no such file, damaged, another format or version, or its expression is not a proxy.
    """
    record = read_json(path, "proxy file")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise InputError(f"{path} is not a proxy file: expected the format {FORMAT!r}, found {clipped(repr(found))}")
    if record.get("version") != VERSION or isinstance(record.get("version"), bool):
        raise InputError(
            f"{path} has version {clipped(repr(record.get('version')))} of the proxy format; "
            f"this autoprox reads version {VERSION}"
        )
    text, metrics, provenance = (record.get(key) for key in ("expression", "metrics", "provenance"))
    if not isinstance(text, str) or not isinstance(metrics, dict) or not isinstance(provenance, dict):
        raise InputError(f"{path} is damaged: expected a text 'expression' and objects 'metrics' and 'provenance'")
    findings = record.get("verdict", [])
    if not isinstance(findings, list) or not all(isinstance(finding, dict) for finding in findings):
        raise InputError(f"{path} is damaged: expected 'verdict' to be a list of objects")
    try:
        expression = parse_proxy(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Proxy(expression, str(path), metrics, provenance, tuple(findings))


def resolve_proxy(text: str) -> Proxy:
    """The proxy that a user named: a proxy file, a known proxy or an expression.

    Raises:
        InputError: it is none of these; says what it looked like.
    """
    if text in KNOWN_PROXIES:
        return Proxy(KNOWN_PROXIES[text].expression, text)
    if text.endswith(".json") or Path(text[:200]).is_file():
        return load_proxy(Path(text))
    if re.fullmatch(r"[A-Za-z]\w*(-\w+|\+\+)*", text) and not set(re.split(r"\W+", text)) & set(ARCHITECTURE_NUMBERS):
        close = difflib.get_close_matches(text, KNOWN_PROXIES, n=3)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise InputError(
            f"there is no proxy {text[:60]!r}{hint}; 'autoprox proxies' lists them, or give a proxy file or an expression"
        )
    return Proxy(parse_proxy(text), text)
