"""A run as one HTML file that needs nothing else, and as figures for papers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoprox.errors import InputError, MissingError
from autoprox.files import write_text
from autoprox.measuring.losses import recorded_losses
from autoprox.measuring.workers import Progress, Workers
from autoprox.proxies.proxy import Proxy, load_proxy
from autoprox.report.pages.discovery import DiscoveryPage, front_records
from autoprox.report.pages.drawing import check_library, save
from autoprox.report.pages.markup import document
from autoprox.report.pages.records import number
from autoprox.report.pages.runs import Run, newest_run, read_run
from autoprox.report.pages.scored import Scored, Truth, scored
from autoprox.report.pages.search import SearchPage, final_scores
from autoprox.spaces.architecture_file import load_architecture

__all__ = ["Run", "Truth", "newest_run", "read_run", "write_report"]

_SHOWS = 5e-4  # a difference that figures of three decimals show


def write_report(
    run: Run,
    out: Path,
    figures: Path,
    truth: Callable[[], Truth],
    *,
    home: Path,
    workers: Workers,
    progress: Progress,
) -> dict[str, Any]:
    """Write the page of a run, and its figures.

    Args:
        out: the HTML file.
        figures: folder of the figures.
        truth: finds the ground truth of a discovery; what it raises is said in the page.
        home: where measured features are kept.

    Returns:
        ``kind``, ``finished``, ``out``, ``figures`` (paths) and ``missing``: what could not be shown, and why.

    Raises:
        InputError: a file of the run is damaged.
        MissingError: matplotlib is not installed, or something cannot be written.
    """
    check_library()
    page = _search(run) if run.kind == "search" else _discovery(run, truth, home, workers, progress)
    charts = page.charts()
    if charts:
        try:
            figures.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MissingError(
                f"cannot make the folder {figures}: {error.strerror}; name another with --figures"
            ) from None
    paths = [path for chart in charts.values() for path in save(chart, figures)]
    write_text(out, document(f"{page.title()} · autoprox", *page.body(charts)))
    return {
        "kind": run.kind,
        "finished": run.result is not None,
        "out": str(out),
        "figures": list(map(str, paths)),
        "missing": list(page.missing),
    }


def _search(run: Run) -> SearchPage:
    return SearchPage(run, final_scores(run), None if run.result is None else load_architecture(run.result))


def _discovery(run: Run, truth: Callable[[], Truth], home: Path, workers: Workers, progress: Progress) -> DiscoveryPage:
    proxy = None if run.result is None else load_proxy(run.result)
    page = DiscoveryPage(run, proxy, None)
    try:
        there = truth()
        there.check(run)
        page = replace(page, params=there.of_params(run), discovered=there.size("discovery"))
        if proxy is not None:
            found = _scored(run, proxy, there, home, workers, progress)
            page = replace(page, scored=found, missing=(*_left_out(found), *_disagreement(proxy, found)))
    except (InputError, MissingError) as error:
        page = replace(page, missing=(f"what needs the ground truth of the run: {error}",))
    return page


def _scored(run: Run, proxy: Proxy, truth: Truth, home: Path, workers: Workers, progress: Progress) -> Scored:
    front = [record["expression"] for record in front_records(proxy)]
    lost = recorded_losses(proxy.provenance.get("left_out"))
    return scored(run, proxy.expression, front, truth, home, workers, progress, lost)


def _left_out(found: Scored) -> tuple[str, ...]:
    return tuple(f"{' '.join(network)}: {reason}" for network, reason in sorted(found.lost.items()))


def _disagreement(proxy: Proxy, found: Scored) -> tuple[str, ...]:
    """Where the scores computed now do not give the figures of the proxy file, as with another version of torch."""
    recorded = number(proxy.metrics.get("joint", {}).get("mean", {}).get("kendall"))
    test = found.reach["test"]
    computed = None if test is None else test.kendall
    if recorded is None or computed is None or abs(recorded - computed) < _SHOWS:
        return ()
    return (
        f"scores as the run had them: computed now they have a mean τ of {computed:.3f} on the test architectures, and the "
        f"proxy file says {recorded:.3f}; points and tables of scores are those of now",
    )
