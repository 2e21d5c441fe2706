"""The page of a discovery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autoprox.discovery.engines import pareto_front
from autoprox.discovery.judging import Verdict
from autoprox.errors import InputError
from autoprox.language.expression import complexity
from autoprox.language.text import to_text
from autoprox.proxies.proxy import Proxy
from autoprox.ranking.verdict import verdict
from autoprox.report.figures import ABSENT, clock, correlation, interval, signed
from autoprox.report.pages import charts
from autoprox.report.pages import discovery_tables as tables
from autoprox.report.pages.drawing import Chart
from autoprox.report.pages.graph import proxy_graph
from autoprox.report.pages.markup import Markup, listed, section, tag
from autoprox.report.pages.records import number, numbers, reasons
from autoprox.report.pages.runs import Run
from autoprox.report.pages.scored import Scored
from autoprox.report.pages.sections import figure, head, in_words, notice, reasons_table, settings_section, tile, tiles

__all__ = ["DiscoveryPage", "front_records"]

_READ = (
    "All figures here are of the test architectures, which neither evolution nor selection read. τ: Kendall's tau-b; "
    "[95\u00a0%]: bootstrap interval over architectures, [–] where it is undefined; gain: over the parameter count on the same "
    "architectures, paired; partial τ: given the parameter count; size τ: of the proxy with the parameter count."
)


@dataclass(frozen=True)
class DiscoveryPage:
    """What a discovery's page is made from.

    Attributes:
        proxy: what the run found; None where it is not at its end.
        scored: the proxy on every architecture; None where it cannot be had.
        missing: what cannot be shown, and why.
        params: the fitness of the parameter count on the discovery architectures.
        discovered: how many architectures these are; None where that is not known.
    """

    run: Run
    proxy: Proxy | None
    scored: Scored | None
    missing: tuple[str, ...] = ()
    params: float | None = None
    discovered: int | None = None

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """{space: {data set: figures}} of the proxy file."""
        return {} if self.proxy is None else numbers(self.proxy.metrics)

    @cached_property
    def front(self) -> list[dict[str, Any]]:
        """The Pareto front, exact where the run is at its end: expression, complexity, value and perhaps ci."""
        if self.proxy is None:
            verdicts = pareto_front(_verdict(step) for step in self.run.steps)
            return [
                {"expression": to_text(v.expression), "complexity": complexity(v.expression), "value": v.value}
                for v in verdicts
            ]
        members = []
        for record in front_records(self.proxy):
            found = None if self.scored is None else self.scored.front[record["expression"]]["both"]
            figures: dict[str, Any] = {} if found is None else found.to_json()
            value = figures.get(self._measure, number(record.get("both")))
            members.append({**record, "value": value, "ci": figures.get(f"{self._measure}_ci")})
        return [member for member in members if member["value"] is not None]

    @property
    def _measure(self) -> str:
        return "partial_kendall" if self.run.settings.get("fitness") == "partial" else "kendall"

    def charts(self) -> dict[str, Chart]:
        """The charts that there is something to draw for, by name."""
        found = []
        if self.proxy is not None and self.scored is not None:
            found += [
                charts.score_accuracy(self.scored.panels, self.metrics),
                charts.score_size(self.scored.panels, self.metrics),
                charts.shrinkage(self.scored.reach, self._measure == "partial_kendall"),
            ]
        if self.proxy is not None:
            found.append(proxy_graph(self.proxy.expression))
        values = [number(step.get("value")) for step in self.run.steps]
        if any(value is not None for value in values):
            found.append(charts.convergence(values, self.params, self.discovered))
        if len(self.front) > 1:
            chosen = None if self.proxy is None else to_text(self.proxy.expression)
            found.append(charts.front(self.front, chosen))
        return {chart.name: chart for chart in found}

    def title(self) -> str:
        """What the page is called."""
        tables_ = self.run.settings.get("benchmarks")
        names = [str(t.get("name")) for t in tables_ if isinstance(t, dict)] if isinstance(tables_, list) else []
        return f"Discovery on {', '.join(names) or 'ground truth of its own'}"

    def body(self, found: Mapping[str, Chart]) -> list[Markup]:
        """The content of the page, from its head to its settings."""
        versions = {} if self.proxy is None else self.proxy.provenance.get("versions")
        parts = [self._head(), *self._notices()]
        if self.proxy is not None:
            parts += [self._result(self.proxy, found), self._evidence(self.proxy, found)]
        if self.scored is not None and "shrinkage" in found:
            left = [figure(found["shrinkage"]), tables.reach_table(self.scored)]
            parts.append(section("What of it is left on the test part", *left))
        parts.append(self._evolution(found))
        if self.scored is not None:
            parts.append(tables.architectures_section(self.scored))
        parts.append(settings_section(self.run, versions if isinstance(versions, Mapping) else {}, self._seconds()))
        return parts

    def _seconds(self) -> float | None:
        """Of the whole run, as far as it is."""
        return (None if self.proxy is None else number(self.proxy.provenance.get("seconds"))) or self.run.seconds

    def _head(self) -> Markup:
        settings = self.run.settings
        labels, spaces = settings.get("labels"), settings.get("spaces")
        rows = [row for row in labels.values() if isinstance(row, dict)] if isinstance(labels, dict) else []
        judged = f"{len(self.run.steps):,} of {tables.whole(settings.get('evaluations'))} candidates judged"
        done = "not finished" if self.proxy is None else "finished"
        facts = [
            ("Run", self.run.path.name or str(self.run.path)),
            ("State", f"{done}, {judged} in {clock(self._seconds())}"),
            ("Algorithm", f"{settings.get('preset')}, fitness {settings.get('fitness')}, seed {settings.get('seed')}"),
            ("Spaces", ", ".join(map(str, spaces)) if isinstance(spaces, list) else ABSENT),
            ("Data sets", ", ".join(sorted({str(dataset) for row in rows for dataset in row})) or ABSENT),
        ]
        return head("discover", self.title(), facts)

    def _notices(self) -> list[Markup]:
        found = []
        if self.run.settings.get("null"):
            text = "the labels were dealt out at random, so what it reached is what luck alone reaches."
            found.append(notice(tag("b", "Null run: "), text))
        if self.proxy is None:
            found.append(notice(*self._unfinished()))
        if self.missing:
            found.append(notice(tag("b", "Not in this report:"), listed(self.missing)))
        return found

    def _unfinished(self) -> list[str]:
        again = tag("code", f"autoprox discover --resume --run-dir {self.run.path}")
        if not self.run.steps:
            return ["No generation was finished, so there is nothing to see yet. Go on with ", again, "."]
        if all(step.get("value") is None for step in self.run.steps):
            return [f"No candidate has a usable score ({len(self.run.steps):,} judged); the reasons stand below."]
        return [
            "This run is at work, or was stopped. What stands here was estimated from samples on the discovery "
            "architectures: it shows how far evolution is, and is no result. Go on with ",
            again,
            ".",
        ]

    def _result(self, proxy: Proxy, found: Mapping[str, Chart]) -> Markup:
        joint = self.metrics.get("joint", {}).get("mean", {})
        n = f"n = {tables.whole(joint.get('n'))} test architectures"

        def shown(name: str, title: str, note: str, sign: bool = False) -> Markup:
            write = signed if sign else correlation
            return tile(title, write(joint.get(name)), interval(joint.get(f"{name}_ci"), sign), note)

        figures = tiles(
            shown("kendall", "Mean τ", n),
            shown("difference", "Gain over the parameter count", "paired, on the same architectures", sign=True),
            shown("partial_kendall", "Partial τ", "given the parameter count"),
            shown("kendall_params", "Size τ", "of the proxy with the parameter count"),
        )
        return section(
            "The proxy",
            tag("pre", tag("code", to_text(proxy.expression)), class_="proxy"),
            _sentences(self.metrics),
            figures if joint.get("kendall") is not None else None,
            in_words(proxy.expression),
            figure(found["proxy-graph"]),
        )

    def _evidence(self, proxy: Proxy, found: Mapping[str, Chart]) -> Markup:
        return section(
            "How well it ranks",
            tag("p", _READ),
            tables.metrics_table(self.metrics),
            *tables.other_tables(self.metrics),
            tables.references_table(self.metrics),
            None if "against" in self.metrics.get("joint", {}).get("mean", {}) else _likeness(proxy),
            *(figure(found[name]) for name in ("score-accuracy", "score-params") if name in found),
        )

    def _evolution(self, found: Mapping[str, Chart]) -> Markup:
        why = reasons(self.run.steps)
        drawn = [figure(found[name]) for name in ("convergence", "front") if name in found]
        front = None
        if self.front:
            exact = self.proxy is not None
            front = (
                tables.front_table(self.front, self.scored, self._measure)
                if exact
                else tables.estimated_front_table(self.front)
            )
        return section(
            "How it was found",
            tag("div", *drawn, class_="pair") if drawn else None,
            front,
            reasons_table(why, "Candidates") if why else None,
            None if drawn or why else tag("p", "No candidate has been judged yet."),
        )


def front_records(proxy: Proxy) -> list[dict[str, Any]]:
    """The front that a proxy file records; InputError where it is none."""
    front = proxy.provenance.get("front", [])
    usable = isinstance(front, list) and all(
        isinstance(record, dict)
        and isinstance(record.get("expression"), str)
        and number(record.get("complexity")) is not None
        for record in front
    )
    if not usable:
        raise InputError(
            f"{proxy.label} is damaged: expected 'front' to be a list of expressions with their complexity"
        )
    return list(front)


def _verdict(step: Mapping[str, Any]) -> Verdict:
    try:
        return Verdict.from_json({**step, "value": number(step["value"])})
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"the journal of the run is damaged: a line is no verdict on a candidate ({error})") from None


def _sentences(metrics: Mapping[str, Any]) -> Markup | None:
    """The verdict in words."""
    try:
        ceiling = metrics.get("joint", {}).get("mean", {}).get("ceiling") or {}
        findings = verdict(metrics, ceiling=number(ceiling.get("ideal_kendall")))
    except (KeyError, TypeError, ValueError, AttributeError):
        return notice("The figures of the proxy file are incomplete, so there is no verdict in words.")
    marks = {True: "for", False: "against", None: "neither"}
    items = [tag("li", f"{f.text[:1].upper()}{f.text[1:]}.", class_=marks[f.good]) for f in findings]
    return tag("ul", *items, class_="verdict") if items else None


def _likeness(proxy: Proxy) -> Markup | None:
    found = numbers(proxy.provenance.get("likeness"))
    told = [f"{name} {correlation(value)}" for name, value in found.items() if number(value) is not None]
    return (
        tag("p", f"It ranks the test architectures like {', '.join(told)} (Kendall's τ with each).") if told else None
    )
