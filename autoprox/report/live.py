"""The view of a running discovery: live on a terminal, elsewhere a plain line every few seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoprox.report.figures import clock, correlation, signed
from autoprox.report.progress import Pace, PlainLines, View
from autoprox.report.screen import standard_error

if TYPE_CHECKING:
    from autoprox.discovery import Standing

__all__ = ["DiscoveryView", "discovery_view", "standing_panel"]

_FRONT = 5  # rows of the front that are shown: the view must fit a terminal of 24 lines
_LONGEST = 155  # two lines of 80 columns
_BAR = 24
_SHOWN = 0.0005  # what three decimals show


class DiscoveryView(View, Protocol):
    """A view that also shows where a discovery stands."""

    def observe(self, standing: Standing) -> None:
        """Show a new standing."""

    def say(self, text: str) -> None:
        """A line that stays."""


class PlainDiscovery(PlainLines):
    """Standings as lines."""

    def observe(self, standing: Standing) -> None:
        if self.due:
            self.line(_line(standing))

    def say(self, text: str) -> None:
        self.line(text)


class LiveDiscovery:
    """Redraws in place."""

    def __init__(self, console: Console) -> None:
        self._standing: Standing | None = None
        self._stage = ""
        self._work: tuple[str, int, int] | None = None
        self._pace = Pace()
        self._notice = ""
        self._live = Live(console=console, transient=True, refresh_per_second=4, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def observe(self, standing: Standing) -> None:
        self._standing = standing

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._stage, self._pace = stage, Pace()
        text = f"{stage}: {done} of {total}, {self._pace.times(done, total)}"
        self._work = (text, done, total) if done < total else None

    def notice(self, text: str) -> None:
        self._notice = text

    def say(self, text: str) -> None:
        self._live.console.print(text)

    def _draw(self) -> RenderableType:
        parts: list[RenderableType] = [] if self._standing is None else [standing_panel(self._standing)]
        if self._work is not None:
            parts.append(_bar(*self._work))
        if self._notice:
            parts.append(Text(self._notice, "bold yellow"))
        return Group(*parts)


def discovery_view() -> DiscoveryView:
    """The view that fits standard error."""
    console = standard_error()
    return LiveDiscovery(console) if console.is_terminal and not console.is_dumb_terminal else PlainDiscovery(console)


def standing_panel(standing: Standing) -> RenderableType:
    """Where the search stands: progress, the best proxy beside the parameter count, and the front."""
    head = _bar(
        f"{standing.evaluations} of {standing.total}, elapsed {clock(standing.elapsed)}, left {clock(standing.eta)}",
        standing.evaluations,
        standing.total,
    )
    state = Text(f"{standing.stage}: generation {standing.generation}, {standing.invalid} without usable scores")
    best = Text.assemble(
        "best where it searches ",
        (correlation(standing.value), "bold green"),
        f" (params {correlation(standing.params_value)})  ",
    )
    best.append(standing.best, "cyan")
    best.truncate(_LONGEST, overflow="ellipsis")
    return Group(head, state, best, Text(), _taus(standing), Text(), _front(standing))


def _bar(text: str, done: int, total: int) -> Table:
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(ProgressBar(total=max(total, 1), completed=done, width=_BAR), Text(text))
    return line


def _taus(standing: Standing) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("space", "data set"):
        table.add_column(heading)
    for heading in ("Kendall τ", "params τ", "difference"):
        table.add_column(heading, justify="right")
    for pair, tau in standing.taus.items():
        params = standing.params_taus.get(pair)
        ahead = None if params is None else tau - params
        table.add_row(*pair, correlation(tau), correlation(params), Text(signed(ahead), _colour(ahead)))
    return table


def _colour(ahead: float | None) -> str:
    return "" if ahead is None or not abs(ahead) >= _SHOWN else "green" if ahead > 0 else "red"


def _front(standing: Standing) -> Table:
    """The best, one line each."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True)
    table.add_column("nodes", justify="right", width=5)
    table.add_column("value", justify="right", width=5)
    table.add_column("front", no_wrap=True, overflow="ellipsis", ratio=1)
    best = sorted(standing.front, key=lambda entry: -entry[1])[:_FRONT]
    for size, value, text in sorted(best):
        table.add_row(str(size), correlation(value), Text(text))
    return table


def _line(standing: Standing) -> str:
    return (
        f"{standing.stage}: generation {standing.generation}, {standing.evaluations} of {standing.total} evaluations, "
        f"elapsed {clock(standing.elapsed)}, left {clock(standing.eta)}, best (seen) {correlation(standing.value)} "
        f"(params {correlation(standing.params_value)}): {standing.best}"
    )
