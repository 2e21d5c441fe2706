"""`autoprox rank`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

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
    ray: options.Ray = None,
    gpus_per_task: options.GpusPerTask = None,
    shard: options.ShardText = None,
    json: options.Json = False,
) -> None:
    """Say how well proxies rank trained architectures, beside parameter count, FLOPs and depth."""
    from autoprox.api.ranking import measured_part
    from autoprox.api.ranking import rank as ranked
    from autoprox.measuring.shards import Shard
    from autoprox.measuring.store import home_folder
    from autoprox.report import left_out_lines, rank_tables, show

    part = None if shard is None else Shard.parse(shard)
    asked: dict[str, Any] = {
        "bench": bench or [], "spaces": spaces, "datasets": datasets, "labels": labels, "split": split.value,
        "batch_size": batch_size, "seed": seed, "data_root": data_root, "augment": augment, "text": text, "device": device,
    }  # fmt: skip
    with options.pool(workers, ray, device, gpus_per_task) as pool:
        if part is not None:
            done = measured_part(proxy, part, pool, **asked)
            options.end_of_shard(part, "architectures", home_folder(), done, options.MERGE_HOMES, json)
            return
        found = ranked(proxy, workers=pool, **asked)
    if json:
        more = {"left_out": list(found.left_out)} if found.left_out else {}
        options.emit_json({"rows": list(found.rows), "proxies": list(found.proxies), **more})
    else:
        show(*rank_tables(found.rows, found.verdicts), *left_out_lines(found.left_out))
