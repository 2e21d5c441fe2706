"""The view of a running discovery: live on a terminal, elsewhere a plain line every few seconds."""

from __future__ import annotations

from types import TracebackType
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

_FRONT = 6  # rows of the front that are shown
_BAR = 30


class DiscoveryView(View, Protocol):
    """A view that also shows where a discovery stands."""

    def observe(self, standing: Standing) -> None:
        """Show a new standing."""


class PlainDiscovery(PlainLines):
    """Standings as lines."""

    def observe(self, standing: Standing) -> None:
        if self.due:
            self.line(_line(standing))


class LiveDiscovery:
    """Redraws in place."""

    def __init__(self, console: Console) -> None:
        self._standing: Standing | None = None
        self._stage = ""
        self._work = ""
        self._pace = Pace()
        self._notice = ""
        self._live = Live(console=console, transient=True, refresh_per_second=4, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def observe(self, standing: Standing) -> None:
        self._standing = standing

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._stage, self._pace = stage, Pace()
        self._work = f"{stage}: {done} of {total}, {self._pace.times(done, total)}" if done < total else ""

    def notice(self, text: str) -> None:
        self._notice = text

    def _draw(self) -> RenderableType:
        parts: list[RenderableType] = [] if self._standing is None else [standing_panel(self._standing)]
        if self._work:
            parts.append(Text(self._work, "dim"))
        if self._notice:
            parts.append(Text(self._notice, "bold yellow"))
        return Group(*parts)


def discovery_view() -> DiscoveryView:
    """The view that fits standard error."""
    console = standard_error()
    return LiveDiscovery(console) if console.is_terminal else PlainDiscovery(console)


def standing_panel(standing: Standing) -> RenderableType:
    """Where the search stands: progress, the best proxy beside the parameter count, and the front."""
    head = Text.assemble(
        (standing.stage, "bold"),
        f"  generation {standing.generation}  {standing.evaluations} of {standing.total} evaluations"
        f"  {standing.invalid} invalid  elapsed {clock(standing.elapsed)}  left {clock(standing.eta)}",
    )
    bar = ProgressBar(total=max(standing.total, 1), completed=standing.evaluations, width=_BAR)
    best = Text.assemble(
        "best ", (correlation(standing.value), "bold green"), f" (params {correlation(standing.params_value)})  "
    )
    best.append(standing.best, "cyan")
    best.truncate(400, overflow="ellipsis")
    return Group(head, bar, best, _taus(standing), _front(standing))


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
    return "" if ahead is None or ahead != ahead else "green" if ahead > 0 else "red"


def _front(standing: Standing) -> Table:
    """One line each: the live view must keep its height."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("nodes", justify="right")
    table.add_column("value", justify="right")
    table.add_column("front", no_wrap=True, overflow="ellipsis")
    best = sorted(standing.front, key=lambda entry: -entry[1])[:_FRONT]
    for size, value, text in sorted(best):
        table.add_row(str(size), correlation(value), Text(text))
    return table


def _line(standing: Standing) -> str:
    return (
        f"{standing.stage}: generation {standing.generation}, {standing.evaluations} of {standing.total} evaluations, "
        f"elapsed {clock(standing.elapsed)}, left {clock(standing.eta)}, best {correlation(standing.value)} "
        f"(params {correlation(standing.params_value)}): {standing.best}"
    )
