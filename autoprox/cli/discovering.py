"""`autoprox discover`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from autoprox.cli import options
from autoprox.cli.groundtruth import ground_truth
from autoprox.cli.interruption import stopping
from autoprox.cli.remembered import recall, running
from autoprox.errors import InputError

__all__ = ["discover"]


class Preset(StrEnum):
    """Algorithms."""

    PARETO = "pareto"
    AUTO_PROX = "auto-prox"
    RANDOM = "random"


class Structure(StrEnum):
    """Shapes of expressions of the published algorithm."""

    LINEAR = "linear"
    TREE = "tree"
    GRAPH = "graph"


class Vocabulary(StrEnum):
    """What candidates are made of."""

    CORE = "core"
    WIDE = "wide"


class Fitness(StrEnum):
    """Ways to join the correlations of all spaces and data sets."""

    MEAN = "mean"
    MIN = "min"
    MEAN_ABS = "mean-abs"
    PARTIAL = "partial"


_DECISIVE = ("preset", "structure", "vocabulary", "fitness", "evaluations", "seed", "null")


def discover(
    context: typer.Context,
    bench: options.Bench = None,
    spaces: options.Spaces = None,
    datasets: options.Datasets = None,
    labels: options.Labels = None,
    preset: Annotated[
        Preset,
        typer.Option(
            "--preset", help="pareto: correlation and simplicity; auto-prox: as published; random: no evolution."
        ),
    ] = Preset.PARETO,
    structure: Annotated[
        Structure, typer.Option("--structure", help="Shape of the expressions of --preset auto-prox.")
    ] = Structure.TREE,
    vocabulary: Annotated[
        Vocabulary,
        typer.Option(
            "--vocabulary",
            help="What candidates may read; wide adds Hessian-vector products, gradients by inputs, channels and heads, and "
            "other losses, and sampling takes about twice as long.",
        ),
    ] = Vocabulary.CORE,
    fitness: Annotated[
        Fitness, typer.Option("--fitness", help="Joint correlation; partial: what a proxy knows beyond size.")
    ] = Fitness.MEAN,
    evaluations: Annotated[int, typer.Option("--evaluations", min=1, help="Distinct candidates to judge.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=options.MAX_SEED, help="Of the evolution.")] = 0,
    batch_size: options.BatchSize = 8,
    data_root: options.DataRoot = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    ray: options.Ray = None,
    gpus_per_task: options.GpusPerTask = None,
    shard: options.ShardText = None,
    null: Annotated[bool, typer.Option("--null", help="Shuffle the labels: what luck alone reaches.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The proxy file to write: best.json, or null.json with --null."),
    ] = None,
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    json: options.Json = False,
) -> None:
    """Evolve a proxy on ground truth, and say how good it is on architectures that evolution never saw."""
    from autoprox.discovery import DiscoverySettings, sample_part
    from autoprox.discovery import discover as run
    from autoprox.files import check_writable
    from autoprox.measuring.shards import Shard
    from autoprox.measuring.store import home_folder
    from autoprox.proxies.proxy import save_proxy
    from autoprox.report import discovery_tables, discovery_view, show, work_view

    given: dict[str, Any] = {
        "bench": bench or [],
        "spaces": spaces,
        "datasets": datasets,
        "labels": labels,
        "preset": preset.value,
        "structure": structure.value,
        "vocabulary": vocabulary.value,
        "fitness": fitness.value,
        "evaluations": evaluations,
        "seed": seed,
        "batch_size": batch_size,
        "data_root": None if data_root is None else str(data_root),
        "device": device,
        "null": null,
        "out": str(out or ("null.json" if null else "best.json")),
    }
    part = None if shard is None else Shard.parse(shard)
    if part is not None and (resume or run_dir is not None):
        raise InputError(
            "--shard measures a part of what a run needs and has no run folder; leave --resume and --run-dir out"
        )
    asked = recall(context, "discover", run_dir, resume, given)
    target, images = Path(asked["out"]), None if asked["data_root"] is None else Path(asked["data_root"])
    if part is None:
        check_writable(target)
    names = options.listed(asked["spaces"]), options.listed(asked["datasets"])
    settings = DiscoverySettings(
        **{name: asked[name] for name in _DECISIVE},
        # initial weights and batch have a seed of their own, so that another seed of evolution finds the memo warm
        capture=options.capture_settings(asked["batch_size"], 0, images, asked["device"], ray=ray),
    )
    settings.check()
    truth = ground_truth(asked["bench"], *names, asked["labels"], settings.capture)
    if part is not None:
        with work_view() as view, options.pool(workers, ray, asked["device"], gpus_per_task) as pool:
            done = sample_part(truth.groups, settings, part, home=home_folder(), workers=pool, progress=view.progress)
        options.end_of_shard(part, "architectures", home_folder(), done, options.MERGE_HOMES, json)
        return
    with (
        running("discover", run_dir, resume, asked) as folder,
        discovery_view() as view,
        options.pool(workers, ray, asked["device"], gpus_per_task) as pool,
        stopping(view.notice, folder) as stop,
    ):
        found = run(
            truth.groups,
            settings,
            run_dir=folder,
            home=home_folder(),
            workers=pool,
            benchmarks=truth.record(),
            tables=truth.benchmarks,
            resume=resume,
            observe=view.observe,
            progress=view.progress,
            stop=stop,
        )
    with options.result_kept(folder / "best.json"):
        save_proxy(target, found.proxy)
    record = found.proxy.to_json()
    if json:
        options.emit_json({**record, "summary": found.summary, "out": str(target), "run_dir": str(folder)})
    else:
        show(
            *discovery_tables(record["expression"], found.proxy.metrics, found.summary, found.proxy.verdict),
            f"written to {target}",
        )
