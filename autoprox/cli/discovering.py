"""`autoprox discover`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from autoprox.api.discovering import discovered
from autoprox.cli import options
from autoprox.cli.interruption import stoppable
from autoprox.cli.remembered import recall

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
    augment: options.Augment = False,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    null: Annotated[bool, typer.Option("--null", help="Shuffle the labels: what luck alone reaches.")] = False,
    track: options.Track = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The proxy file to write: best.json, or null.json with --null."),
    ] = None,
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    json: options.Json = False,
) -> None:
    """Evolve a proxy on ground truth, and say how good it is on architectures that evolution never saw."""
    from autoprox.measuring.workers import Workers
    from autoprox.report import discovery_tables, discovery_view, show

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
        "augment": augment,
        "device": device,
        "null": null,
        "track": track,
        "out": str(out or ("null.json" if null else "best.json")),
    }
    asked = recall(context, "discover", run_dir, resume, given)
    with Workers(workers) as pool:
        found = discovered(asked, run_dir, resume, pool, stoppable(discovery_view))
    record = found.proxy.to_json()
    if json:
        options.emit_json({**record, "summary": found.summary, "out": str(found.out), "run_dir": str(found.run_dir)})
    else:
        tables = discovery_tables(record["expression"], found.proxy.metrics, found.summary, found.proxy.verdict)
        show(*tables, f"written to {found.out}")
