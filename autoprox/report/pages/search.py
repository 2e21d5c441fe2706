"""The page of a search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autoprox.errors import InputError
from autoprox.files import clipped
from autoprox.language.expression import Expression
from autoprox.language.text import parse_proxy, to_text
from autoprox.proxies.proxy import load_proxy
from autoprox.report.architectures import choices
from autoprox.report.figures import ABSENT, clock, correlation, count, interval, signed
from autoprox.report.pages.drawing import Chart
from autoprox.report.pages.graph import proxy_graph
from autoprox.report.pages.markup import Cell, Markup, Value, definitions, section, table, tag
from autoprox.report.pages.records import number, numbers, reasons
from autoprox.report.pages.runs import Run
from autoprox.report.pages.search_charts import search_cloud, search_convergence
from autoprox.report.pages.sections import figure, head, in_words, notice, reasons_table, settings_section, tile, tiles
from autoprox.spaces.architecture_file import ArchitectureFile

__all__ = ["SearchPage", "final_scores"]

_SHOWN = 20  # architectures in the table


def final_scores(run: Run) -> list[dict[str, Any]]:
    """Every scored architecture, in order; of a relative proxy with its score among all of them, once that is written.

    Raises:
        InputError: a line is no scored architecture.
    """
    path = run.path / "scores.jsonl"
    records = run.steps
    if path.exists():
        try:
            found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{clipped(path)} is damaged or cannot be read ({clipped(error)})") from None
        records = found if len(found) == len(records) else records
    for record in records:
        sizes = [number(record.get(name)) for name in ("params", "flops")] if isinstance(record, dict) else [None]
        if None in sizes or not isinstance(record["architecture"], dict) or not {"score", "reason"} & record.keys():
            raise InputError(f"{run.path} is damaged: a line of its journal is no scored architecture")
    return records


@dataclass(frozen=True)
class SearchPage:
    """What a search's page is made from.

    Attributes:
        records: from `final_scores`.
        winner: what the run found; None where it is not at its end.
    """

    run: Run
    records: Sequence[Mapping[str, Any]]
    winner: ArchitectureFile | None

    @property
    def missing(self) -> tuple[str, ...]:
        """Nothing: all that is shown is in the folder."""
        return ()

    @cached_property
    def usable(self) -> list[Mapping[str, Any]]:
        """The records that have a score."""
        return [record for record in self.records if number(record.get("score")) is not None]

    @cached_property
    def proxy(self) -> Expression:
        """What was searched with."""
        text = self.run.settings.get("proxy")
        if not isinstance(text, str):
            raise InputError(f"{self.run.path} is damaged: its settings name no proxy")
        return parse_proxy(text)

    @property
    def picks(self) -> dict[str, Any]:
        """The random picks beside the winner; empty before there is one."""
        record = None if self.winner is None else self.winner.provenance.get("random")
        found = numbers(record)
        drawn = record.get("picks") if isinstance(record, dict) else None
        kept = [numbers(pick) for pick in drawn if isinstance(pick, dict)] if isinstance(drawn, list) else []
        return {**found, "picks": [p for p in kept if None not in (p.get("score"), p.get("params"), p.get("flops"))]}

    def charts(self) -> dict[str, Chart]:
        """The charts that there is something to draw for, by name."""
        found = []
        if self.usable:
            limits = {
                "params": number(self.run.settings.get("max_params")),
                "flops": number(self.run.settings.get("max_flops")),
            }
            titles = [_told(record) for record in self.usable]
            winner = next((i for i, r in enumerate(self.usable) if self._is_winner(r)), None)
            at_random = [i < self._drawn() for i, r in enumerate(self.records) if number(r.get("score")) is not None]
            found.append(search_cloud(self.usable, titles, winner, self.picks, sum(at_random), limits))
            found.append(search_convergence([number(record.get("score")) for record in self.records], self.picks))
        found.append(proxy_graph(self.proxy))
        return {chart.name: chart for chart in found}

    def _drawn(self) -> int:
        """How many architectures were drawn at random before the first was bred."""
        settings = self.run.settings
        bred = settings.get("algorithm") != "random" and number(settings.get("population")) is not None
        return int(settings["population"]) if bred else len(self.records)

    def _is_winner(self, record: Mapping[str, Any]) -> bool:
        return self.winner is not None and record["architecture"] == self.winner.architecture

    def title(self) -> str:
        """What the page is called."""
        return f"Search of {self.run.settings.get('space')}"

    def body(self, found: Mapping[str, Chart]) -> list[Markup]:
        """The content of the page, from its head to its settings."""
        versions = {} if self.winner is None else self.winner.provenance.get("versions")
        parts = [self._head(), *self._notices()]
        if self.winner is not None:
            parts.append(self._result(self.winner))
        if self.usable:
            charts = [figure(found["score-size"]), figure(found["convergence"])]
            parts.append(section("What was scored", *charts, self._best_table()))
        if why := reasons(self.records):
            parts.append(section("What has no score", reasons_table(why, "architectures")))
        parts.append(self._proxy(found))
        seconds = None if self.winner is None else number(self.winner.provenance.get("seconds"))
        parts.append(
            settings_section(self.run, versions if isinstance(versions, Mapping) else {}, seconds or self.run.seconds)
        )
        return parts

    def _head(self) -> Markup:
        settings = self.run.settings
        asked = number(settings.get("evaluations"))
        scored = f"{len(self.records):,} of {ABSENT if asked is None else f'{asked:,.0f}'} architectures scored"
        limits = [f"{count(limit)} {name}" for key, name in (("max_params", "parameters"), ("max_flops", "FLOPs"))
                  if (limit := number(settings.get(key))) is not None]  # fmt: skip
        ended = self.winner is not None
        facts = [
            ("Run", self.run.path.name or str(self.run.path)),
            ("State", f"{'finished' if ended else 'not finished'}, {scored}"),
            ("Space", str(settings.get("space"))),
            ("Algorithm", f"{settings.get('algorithm')}, seed {settings.get('seed')}"),
            ("Budget", "at most " + " and ".join(limits) if limits else "none"),
            ("Time", clock(self.run.seconds)),
        ]
        return head("search", self.title(), facts)

    def _notices(self) -> list[Markup]:
        if self.winner is not None:
            return []
        again = tag("code", f"autoprox search --resume --run-dir {self.run.path}")
        if not self.records:
            return [notice("No batch was finished, so there is nothing to see yet. Go on with ", again, ".")]
        if not self.usable:
            scored = f"No architecture has a usable score ({len(self.records):,} scored); the reasons stand below."
            return [notice(scored)]
        return [notice("This search is at work, or was stopped, so there is no winner yet. Go on with ", again, ".")]

    def _result(self, winner: ArchitectureFile) -> Markup:
        picks = self.picks
        n = f"{_whole(picks.get('count'))} random picks"
        made = [(name, choices({"": value}).strip()) for name, value in winner.architecture.items()]
        beaten = sum(winner.score > record["score"] for record in self.usable)
        sentences = [
            f"The winner has the highest score of {len(self.usable):,} architectures: higher than {beaten:,} of them.",
        ]
        if picks.get("score_max") is not None and picks.get("score_winner") is not None:
            ahead = "higher" if picks["score_winner"] > picks["score_max"] else "not higher"
            sentences.append(
                f"It is {ahead} than the best of {n} with {picks.get('matched')} ({picks['score_winner']:.6g} and "
                f"{picks['score_max']:.6g})."
            )
        sentences.append(
            "A score is no accuracy. How well this proxy ranks trained architectures is said below, if that is known; train "
            "the winner to know what it is worth."
        )
        shown = tiles(
            tile("Parameters", count(winner.params), "", f"{winner.params:,}"),
            tile("FLOPs", count(winner.flops), "", "multiply-accumulates of one image"),
            tile("Score", f"{winner.score:.4g}", "", "by the proxy, without training"),
            tile("Best random pick", ABSENT if picks.get("score_max") is None else f"{picks['score_max']:.4g}", "", n),
        )
        return section(
            "The winner",
            tag("ul", *(tag("li", sentence) for sentence in sentences), class_="verdict"),
            shown,
            definitions(made, class_="choices"),
        )

    def _best_table(self) -> Markup:
        best = sorted(self.usable, key=lambda r: (-r["score"], r["params"]))[:_SHOWN]
        rows: list[list[Value]] = [
            [
                choices(r["architecture"]), i, Cell(f"{r['score']:.6g}", r["score"]), Cell(count(r["params"]), r["params"]),
                Cell(count(r["flops"]), r["flops"]), int(number(r.get("batch")) or 0),
            ]
            for i, r in enumerate(best, 1)
        ]  # fmt: skip
        columns = ("architecture", "rank", "score", "parameters", "FLOPs", "batch")
        return table(f"The {len(best)} highest scores of {len(self.usable)}", columns, rows)

    def _proxy(self, found: Mapping[str, Chart]) -> Markup:
        return section(
            "The proxy",
            tag("pre", tag("code", to_text(self.proxy)), class_="proxy"),
            self._trust(),
            in_words(self.proxy),
            figure(found["proxy-graph"]),
        )

    def _trust(self) -> Markup:
        """How well the proxy ranks architectures of this space, by its own file if that is still there."""
        unknown = tag(
            "p",
            "How well it ranks trained architectures is not known from this run: see ",
            tag("code", "autoprox rank"),
            ".",
        )
        named = self.run.options.get("proxy")
        if not isinstance(named, str) or not named.endswith(".json") or not Path(named).is_file():
            return unknown
        try:
            proxy = load_proxy(Path(named))
        except InputError:
            return unknown
        if to_text(proxy.expression) != to_text(self.proxy):
            return unknown
        rows: list[list[Value]] = []
        figures = numbers(proxy.metrics).get(str(self.run.settings.get("space")), {})
        for dataset, f in figures.items() if isinstance(figures, dict) else ():
            if isinstance(f, dict) and f.get("kendall") is not None:
                gain = f"{signed(f.get('difference'))} {interval(f.get('difference_ci'), True)}"
                rows.append(
                    [
                        dataset,
                        int(number(f.get("n")) or 0),
                        Cell(f"{correlation(f['kendall'])} {interval(f.get('kendall_ci'))}", f["kendall"]),
                        Cell(gain, f.get("difference")),
                    ]
                )
        if not rows:
            return tag("p", "It was discovered on other spaces, so how well it ranks this one is not known.")
        columns = ("data set", "n", "τ [95 %]", "gain over the parameter count [95 %]")
        return table("How well it ranks test architectures of this space, by its proxy file", columns, rows)


def _told(record: Mapping[str, Any]) -> str:
    return (
        f"{choices(record['architecture'])}\nscore {record['score']:.6g}, {count(record['params'])} parameters, "
        f"{count(record['flops'])} FLOPs"
    )


def _whole(value: Any) -> str:
    found = number(value)
    return ABSENT if found is None else f"{found:.0f}"
