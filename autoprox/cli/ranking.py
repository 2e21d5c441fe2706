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
    text: options.Text = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    ray: options.Ray = None,
    gpus_per_task: options.GpusPerTask = None,
    shard: options.ShardText = None,
    json: options.Json = False,
) -> None:
    """Say how well proxies rank trained architectures, beside parameter count, FLOPs and depth."""
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.shards import Shard
    from autoprox.measuring.store import home_folder
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.ranking.comparison import compare, measure_part
    from autoprox.ranking.evidence import Evidence
    from autoprox.ranking.verdict import verdict
    from autoprox.report import rank_tables, show, work_view

    part = None if shard is None else Shard.parse(shard)
    asked = [resolve_proxy(given) for given in proxy]
    settings = options.capture_settings(batch_size, seed, data_root, device, text, ray)
    truth = ground_truth(bench or [], options.listed(spaces), options.listed(datasets), labels, settings)
    check_text(settings, [group.space for group in truth.groups])
    with work_view() as view, options.pool(workers, ray, device, gpus_per_task) as pool:
        if part is not None:
            done = measure_part(
                truth.groups, asked, settings, options.memo(), pool, part, split=split.value, progress=view.progress
            )
            options.end_of_shard(part, "architectures", home_folder(), done, options.MERGE_HOMES, json)
            return
        found = compare(
            truth.groups, asked, settings, options.memo(), pool, split=split.value, seed=seed, progress=view.progress
        )
    verdicts = {label: verdict(evidence.to_json()) for label, evidence in found.evidence.items()}
    if json:
        corrected = Evidence.family_wise(found.evidence)
        summaries = [
            {
                "proxy": label,
                "verdict": [finding.to_json() for finding in verdicts[label]],
                "p_family": corrected[label],
                "joint": evidence.joint.to_json(),
            }
            for label, evidence in found.evidence.items()
        ]
        options.emit_json({"rows": found.rows, "proxies": summaries})
    else:
        show(*rank_tables(found.rows, verdicts))
