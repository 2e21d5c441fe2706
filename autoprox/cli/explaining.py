"""`autoprox explain`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from autoprox.cli import options
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
    from autoprox.api.explaining import explain as explained
    from autoprox.measuring.workers import Workers
    from autoprox.report import show
    from autoprox.report.explained import explanation_latex, explanation_markdown, explanation_text

    with Workers(workers) as pool:
        found = explained(
            proxy, bench=bench or [], spaces=spaces, datasets=datasets, labels=labels, split=split.value,
            batch_size=batch_size, seed=seed, device=device, workers=pool,
        )  # fmt: skip
    if json:
        options.emit_json(found.to_json())
    elif format is Format.TEXT:
        show(*explanation_text(found.explanation))
    else:
        typer.echo((explanation_latex if format is Format.LATEX else explanation_markdown)(found.explanation))
