"""What is shown while work goes on, and the tables at its end: on terminals of several widths, and without one."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from autoprox.discovery import Standing
from autoprox.discovery.evolution import WIDE
from autoprox.report import discovery_tables, discovery_view, progress, rank_tables, work_view
from autoprox.report.language import language_tables, statistic_families
from autoprox.report.live import LiveDiscovery, PlainDiscovery, standing_panel
from autoprox.report.progress import Bar, PlainLines
from primitives.operators import OPERATORS
from primitives.statistics import STATISTICS, Statistic

LONG = "sum(l2(qkv.weight)) + " * 12 + "sum(mean(abs(fc1.weight)))"
PAIRS = {
    (space, dataset): 0.5 for space in ("autoformer-sub", "pit-tiny") for dataset in ("cifar100", "flowers", "chaoyang")
}
STANDING = Standing(
    stage="evolution",
    generation=12,
    evaluations=2400,
    total=10_000,
    invalid=311,
    best=LONG,
    value=0.651,
    taus=dict.fromkeys(PAIRS, 0.6),
    params_value=0.6,
    params_taus=PAIRS,
    front=[(size, size / 100, LONG) for size in range(3, 40)],
    elapsed=125.0,
    eta=3800.0,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def drawn(*renderables: RenderableType, width: int = 80, colour: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="standard" if colour else None, markup=False
    )
    for renderable in renderables:
        console.print(renderable)
    return file.getvalue()


def test_plain_lines_come_seldom_and_say_how_long(clock: Clock) -> None:
    file = io.StringIO()
    with PlainLines(Console(file=file, width=200)) as view:
        for done in range(101):
            clock.now = done / 4
            view.progress("capture", done, 100)
    assert file.getvalue().splitlines() == [
        "capture: 20 of 100, elapsed 0:05, left 0:20",
        "capture: 40 of 100, elapsed 0:10, left 0:15",
        "capture: 60 of 100, elapsed 0:15, left 0:10",
        "capture: 80 of 100, elapsed 0:20, left 0:05",
        "capture: 100 of 100, elapsed 0:25, left 0:00",
    ]


def test_short_work_shows_no_line(clock: Clock) -> None:
    file = io.StringIO()
    with PlainLines(Console(file=file)) as view:
        for done in range(11):
            clock.now = done / 10
            view.progress("capture", done, 10)
    assert file.getvalue() == ""


def test_standings_are_lines_without_a_terminal(clock: Clock) -> None:
    file = io.StringIO()
    with PlainDiscovery(Console(file=file, width=80)) as view:
        view.observe(STANDING)
        clock.now = 6
        view.observe(STANDING)
        view.observe(replace(STANDING, generation=13))
    (line,) = file.getvalue().splitlines()
    assert line.startswith(
        "evolution: generation 12, 2400 of 10000 evaluations, elapsed 2:05, left 1:03:20, best (seen) .651"
    )
    assert line.endswith(LONG)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view_fits_a_terminal(width: int, colour: bool) -> None:
    text = drawn(standing_panel(STANDING), width=width, colour=colour)
    assert ("\x1b[" in text) is colour
    plain = drawn(standing_panel(STANDING), width=width).splitlines()
    assert len(plain) <= 22
    assert max(map(len, plain)) <= width
    for part in ("2400 of 10000", "left 1:03:20", ".651", "+.100", "autoformer-sub", "   39    .390   sum(l2"):
        assert part in "\n".join(plain)


def test_the_live_view_shows_work_and_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    with LiveDiscovery(Console(file=file, width=80, force_terminal=True)) as view:
        view.progress("capture pit-tiny", 3, 10)
        view.notice("stopping [soon]")
        view.observe(STANDING)
    shown = file.getvalue()
    for part in ("capture pit-tiny: 3 of 10", "stopping [soon]", "generation 12"):
        assert part in shown


def test_a_bar_shows_stages_and_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    written: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda _, content: written.append(content))
    with Bar(Console(file=file, width=100, force_terminal=True)) as view:
        view.notice("too early for a bar")
        view.progress("search", 3, 10)
        view.notice("stopping")
    assert written == [b"too early for a bar\n"]
    assert "stopping" in file.getvalue()
    assert "3/10" in file.getvalue()


def row(proxy: str, **changes: Any) -> dict[str, Any]:
    figures = {"kendall": 0.5, "kendall_ci": [-0.1, 0.9], "spearman": 0.6, "pearson": 0.6, "partial_kendall": None}
    place = {"space": "autoformer-sub", "dataset": "cifar100", "label": "kd", "n": 1000}
    return {"proxy": proxy, **place, **figures, "kendall_params": 0.2, **changes}


def test_a_rank_table_marks_size_proxies_and_unusable_ones() -> None:
    nothing = dict.fromkeys(("kendall", "kendall_ci", "partial_kendall", "kendall_params"))
    rows = [
        row(LONG, kendall_params=-0.95),
        row("half", kendall_params=0.91),
        row("half", space="pit-tiny"),
        row("broken", **nothing, invalid="not finite on 3 of 9 networks"),
        row("params", kendall_params=1.0),
    ]
    text = drawn(*rank_tables(rows))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("size proxy") == 2
    assert "half  size proxy on autoformer-sub" in text
    assert "no usable scores on autoformer-sub: not finite on 3 of 9 networks" in text
    assert ".500 [-.100, .900]" in text


def test_the_outcome_of_a_discovery() -> None:
    correlations = {"kendall": 0.5, "kendall_ci": [0.4, 0.6]}
    found = {**correlations, "n": 40, "params": {"kendall": 0.45, "kendall_ci": [0.3, 0.5]}, "partial_kendall": 0.1}
    found |= {"difference": 0.05, "difference_ci": [-0.01, 0.1]}
    metrics = {
        "autoformer-sub": {"cifar100": found, "flowers": {"n": 40, "invalid": "not finite"}},
        "joint": {"mean": found},
    }
    seen = {**correlations, "n": 42, "params": 0.5, "difference": 0.11, "difference_ci": [0.02, 0.2], "seen": True}
    nothing = dict.fromkeys(("kendall", "kendall_ci", "difference", "difference_ci"))
    parts = {
        "discovery": seen | {"kendall": 0.61},
        "selection": seen | {"n": 18},
        "test": {**nothing, "n": 40, "params": 0.45, "seen": False},
    }
    summary = {
        "fitness": "min", "null": True, "discovery": 0.4, "selection": 0.3, "test": None, "evaluations": 100, "invalid": 5,
        "parts": parts,
    }  # fmt: skip
    verdict = [{"about": "luck", "text": "not distinguishable from luck: τ .5", "good": False}]
    text = drawn(*discovery_tables(LONG, metrics, summary, verdict))
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "+.050 [-.010, +.100]",
        "discovery (seen)   42  .610 [.400, .600]      .500 +.110 [+.020, +.200]",
        "test               40     –                   .450     –",
        "fitness (min): discovery .400, selection .300, test –",
        "luck alone",
        "- not distinguishable from luck: τ .5",
    ):
        assert part in text
    assert text.index("- not distinguishable") < text.index("data set"), "the verdict is on top"
    assert "no usable scores: not finite" in text


def test_families_are_all_statistics_once() -> None:
    for names in (list(STATISTICS), list(STATISTICS)[::3], list(WIDE.terminals)):
        families = statistic_families(names)
        found = [
            Statistic(pass_, site, kind).name
            for kind, passes, sites, _ in families
            for pass_ in passes
            for site in sites
        ]
        assert sorted(found) == sorted(names)
        assert all(meaning and not meaning.startswith("net") for *_, meaning in families)
    assert len(statistic_families(STATISTICS)) < len(STATISTICS) / 15


@pytest.mark.parametrize(("width", "lines"), [(80, 120), (120, 95)])
def test_the_words_of_the_language_fit_few_lines(width: int, lines: int) -> None:
    text = drawn(*language_tables(), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert len(text.splitlines()) <= lines
    words = text.split()
    for operator in OPERATORS.values():
        assert words.count(operator.name) >= 1
    for statistic in STATISTICS.values():
        assert {statistic.kind, statistic.site, statistic.pass_} <= set(re.findall(r"\w+", text))
    assert f"{len(STATISTICS)} statistics" in text
    assert re.search(r"core +layers groups +weight grad ones.grad *\n", text)
    assert re.search(r"wide adds +layers groups +hvp gate_grad logits.grad signed.grad *\n", text)


def test_a_terminal_that_draws_nothing_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # which rich takes for a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(work_view(), Bar)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(work_view(), PlainLines)
    assert isinstance(discovery_view(), PlainDiscovery)
