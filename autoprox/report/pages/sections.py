"""Parts that every page has: its head, figures, settings and versions."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autoprox.language.expression import Expression
from autoprox.language.text import to_latex
from autoprox.language.words import to_words
from autoprox.report.pages.drawing import Chart, embed
from autoprox.report.pages.markup import Markup, definitions, listed, section, table, tag
from autoprox.report.pages.records import flat
from autoprox.report.pages.runs import Run

__all__ = ["command_of", "figure", "head", "in_words", "notice", "reasons_table", "settings_section", "tile", "tiles"]


def head(kind: str, title: str, facts: Sequence[tuple[str, str]]) -> Markup:
    """What this is a report of."""
    return tag("header", tag("p", f"autoprox {kind}", class_="kicker"), tag("h1", title), definitions(facts))


def notice(*content: str) -> Markup:
    """What must be known before anything is read."""
    return tag("p", *content, class_="notice", role="note")


def tile(name: str, value: str, interval: str, note: str) -> Markup:
    """One figure, large."""
    shown = tag("dd", tag("b", value), tag("span", interval, class_="interval"), tag("small", note))
    return tag("div", tag("dt", name), shown)


def tiles(*content: str) -> Markup:
    """Figures side by side."""
    return tag("dl", *content, class_="tiles")


def figure(chart: Chart, *, more: str | None = None) -> Markup:
    """A chart with its caption, its plots side by side as far as there is room."""
    plots = []
    for number, plot in enumerate(chart.plots):
        heading = tag("h3", plot.heading) if plot.heading else None
        told = tag("p", plot.figures, class_="figures") if plot.figures else None
        plots.append(tag("div", heading, told, embed(chart, number, f"{chart.name}-{number}"), class_="plot"))
    keys = [tag("span", tag("i", class_=f"mark {mark}"), meaning) for mark, meaning in chart.legend.items()]
    legend = tag("p", *keys, class_="legend") if keys else None
    caption = tag("figcaption", legend, tag("b", f"{chart.title}. "), chart.caption.replace("95 %", "95\u00a0%"), more)
    kind = "many" if len(plots) > 2 else f"of-{len(plots)}"
    return tag("figure", tag("div", *plots, class_=f"plots {kind}"), caption, id=chart.name)


def in_words(expression: Expression) -> Markup:
    """What a proxy computes, as a sentence and as LaTeX."""
    whole, *lines = to_words(expression)
    return tag(
        "div",
        tag("h3", "In words"),
        tag("p", f"The score is {whole}{', where' if lines else '.'}"),
        listed(lines) if lines else None,
        tag("details", tag("summary", "As LaTeX"), tag("pre", tag("code", to_latex(expression)))),
        class_="words",
    )


def reasons_table(reasons: Iterable[tuple[str, int]], what: str) -> Markup:
    """Why there are no scores."""
    return table(f"{what} without a usable score", ("reason", what), reasons)


def settings_section(run: Run, versions: Mapping[str, Any], seconds: float | None) -> Markup:
    """All that the result depends on, so that it can be had again."""
    command = command_of(run)
    rows = [*flat(run.settings)]
    return section(
        "Settings and versions",
        tag("p", "The command, with the values of all options: ") if command else None,
        tag("pre", tag("code", command)) if command else None,
        tag("h3", "All that decides the result"),
        definitions(rows, class_="settings"),
        tag("h3", "Versions that computed it") if versions else None,
        definitions(flat(versions), class_="settings") if versions else None,
        tag("p", f"Run folder: {run.path}. Seconds of work: {seconds:.1f}." if seconds else f"Run folder: {run.path}."),
    )


def command_of(run: Run) -> str:
    """The command line that started the run; nothing where it was not started on one."""
    words = ["autoprox", run.kind] if run.options else []
    for name, value in run.options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, list):
            words += [word for item in value for word in (option, str(item))]
        elif value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, str(value)]
    return shlex.join(words)
