"""`autoprox explain`."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from autoprox.cli import options
from autoprox.cli.groundtruth import ground_truth
from autoprox.cli.ranking import Split

__all__ = ["explain"]


class Format(StrEnum):
    """How an explanation is written."""

    TEXT = "text"
    LATEX = "latex"
    MARKDOWN = "markdown"


def explain(
    proxy: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME|EXPRESSION",
            help="A proxy file, the name of a known proxy ('autoprox proxies') or an expression.",
        ),
    ],
    bench: options.Bench = None,
    spaces: options.Spaces = None,
    datasets: options.Datasets = None,
    labels: options.Labels = None,
    split: Annotated[
        Split, typer.Option("--split", help="Architectures that no discovery selects by, or all of them.")
    ] = Split.TEST,
    batch_size: options.BatchSize = 8,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    format: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TEXT,
    json: options.Json = False,
) -> None:
    """Say in words what a proxy computes, which of its parts and which blocks matter, and what it is like."""
    from autoprox.explaining import explain as explained
    from autoprox.measuring.workers import Workers
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.report import show, work_view
    from autoprox.report.explained import explanation_latex, explanation_markdown, explanation_text

    asked = resolve_proxy(proxy)
    settings = options.capture_settings(batch_size, seed, device=device)
    truth = ground_truth(bench or [], options.listed(spaces), options.listed(datasets), labels, settings)
    salts = asked.provenance.get("salt")  # what a discovery has not seen is told by its own split
    known = {space: salt for space, salt in salts.items() if isinstance(salt, str)} if isinstance(salts, dict) else {}
    groups = [replace(group, salt=known.get(group.space, group.salt)) for group in truth.groups]
    with work_view() as view, Workers(workers) as pool:
        found = explained(
            asked, groups, settings, options.memo(), pool, split=split.value, seed=seed, progress=view.progress
        )
    if json:
        options.emit_json(found.to_json() | {"benchmarks": truth.record()})
    elif format is Format.TEXT:
        show(*explanation_text(found))
    else:
        typer.echo((explanation_latex if format is Format.LATEX else explanation_markdown)(found))
