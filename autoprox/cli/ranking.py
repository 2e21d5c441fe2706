"""`autoprox rank`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from autoprox.cli import options
from autoprox.cli.groundtruth import ground_truth

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
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    json: options.Json = False,
) -> None:
    """Say how well proxies rank trained architectures, beside parameter count, FLOPs and depth."""
    from autoprox.measuring.workers import Workers
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.ranking.comparison import compare
    from autoprox.report import rank_tables, show, work_view

    asked = [resolve_proxy(text) for text in proxy]
    settings = options.capture_settings(batch_size, seed, data_root, device)
    truth = ground_truth(bench or [], options.listed(spaces), options.listed(datasets), labels, settings)
    with work_view() as view, Workers(workers) as pool:
        rows = compare(
            truth.groups, asked, settings, options.memo(), pool, split=split.value, seed=seed, progress=view.progress
        )
    if json:
        options.emit_json({"rows": rows})
    else:
        show(*rank_tables(rows))
