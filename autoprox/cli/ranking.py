"""`autoprox rank`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from autoprox.cli import options

__all__ = ["rank"]


class Split(StrEnum):
    """Which architectures count."""

    ALL = "all"
    TEST = "test"


def rank(
    proxy: options.Proxies,
    bench: options.Bench = None,
    spaces: options.Spaces = None,
    datasets: options.Datasets = None,
    labels: options.Labels = None,
    split: Annotated[
        Split, typer.Option("--split", help="All architectures, or those that no discovery has seen.")
    ] = Split.ALL,
    batch_size: options.BatchSize = 8,
    seed: options.Seed = 0,
    data_root: options.DataRoot = None,
    augment: options.Augment = False,
    text: options.Text = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    json: options.Json = False,
) -> None:
    """Say how well proxies rank trained architectures, beside parameter count, FLOPs and depth."""
    from autoprox.api.ranking import rank as ranked
    from autoprox.measuring.workers import Workers
    from autoprox.report import rank_tables, show

    with Workers(workers) as pool:
        found = ranked(
            proxy, bench=bench or [], spaces=spaces, datasets=datasets, labels=labels, split=split.value,
            batch_size=batch_size, seed=seed, data_root=data_root, augment=augment, text=text, device=device, workers=pool,
        )  # fmt: skip
    if json:
        options.emit_json({"rows": list(found.rows), "proxies": list(found.proxies)})
    else:
        show(*rank_tables(found.rows, found.verdicts))
