"""`autoprox search` and `autoprox score`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from autoprox.api.searching import SPACE, completed, searched
from autoprox.cli import options
from autoprox.cli.interruption import stoppable
from autoprox.cli.remembered import recall

__all__ = ["score", "search"]


class Algorithm(StrEnum):
    """Ways to search."""

    RANDOM = "random"
    EVOLUTION = "evolution"
    BLOCKWISE = "blockwise"


class Positions(StrEnum):
    """What decides where block-wise evolution varies."""

    BLOCKWISE = "blockwise"
    UNIFORM = "uniform"


class PresetName(StrEnum):
    """Published procedures."""

    TF_TAS = "tf-tas"
    T_RAZOR = "t-razor"


def search(
    context: typer.Context,
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", metavar="FILE|NAME|EXPRESSION", help="A proxy file, a known proxy or an expression."),
    ] = None,
    space: Annotated[
        str | None, typer.Option("--space", help=f"Search space. Default: the proxy file's first, or {SPACE}.")
    ] = None,
    preset: Annotated[
        PresetName | None,
        typer.Option(
            "--preset",
            help="A published procedure: its proxy, space, algorithm, evaluations and budget, for the options that are not "
            "given. tf-tas: the best of 8000 random architectures by dss; t-razor (a reconstruction): 1000 of block-wise "
            "evolution by dss++.",
        ),
    ] = None,
    algorithm: Annotated[
        Algorithm | None,
        typer.Option(
            "--algorithm",
            help="How to search; blockwise: what the proxy says of single blocks decides which of them change. Default: "
            "evolution.",
        ),
    ] = None,
    positions: Annotated[
        Positions,
        typer.Option("--positions", help="Of --algorithm blockwise; uniform: chance decides, to compare with."),
    ] = Positions.BLOCKWISE,
    max_params: Annotated[str | None, typer.Option("--max-params", metavar="6.2M", help="Most parameters.")] = None,
    max_flops: Annotated[
        str | None, typer.Option("--max-flops", metavar="1.4G", help="Most multiply-accumulates of one image.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option("--evaluations", min=1, help="Architectures to score. Default: 300.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=options.MAX_SEED, help="Of the search.")] = 0,
    batch_size: options.BatchSize = 8,
    dataset: options.MeasuredOn = None,
    data_root: options.ImageRoot = None,
    augment: options.Augment = False,
    text: options.Text = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    track: options.Track = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Architecture file to write.")] = Path("arch.json"),
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    json: options.Json = False,
) -> None:
    """Find the architecture with the highest score in a search space, within budgets; nothing is trained."""
    from autoprox.measuring.workers import Workers
    from autoprox.report import search_tables, show, work_view

    given: dict[str, Any] = {
        "proxy": proxy,
        "space": space,
        "preset": None if preset is None else preset.value,
        "algorithm": None if algorithm is None else algorithm.value,
        "positions": positions.value,
        "max_params": max_params,
        "max_flops": max_flops,
        "evaluations": evaluations,
        "seed": seed,
        "batch_size": batch_size,
        "dataset": dataset,
        "data_root": None if data_root is None else str(data_root),
        "augment": augment,
        "device": device,
        "text": None if text is None else str(text),
        "track": track,
        "out": str(out),
    }
    asked = recall(context, "search", run_dir, resume, given | completed(given, told=not resume))
    with Workers(workers) as pool:
        found = searched(asked, run_dir, resume, pool, stoppable(work_view))
    record = found.found.to_json()
    if json:
        options.emit_json({**record, "out": str(found.out), "run_dir": str(found.run_dir)})
    else:
        show(*search_tables(record), f"written to {found.out}")


def score(
    proxy: options.Proxies,
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="arch.json|timm:NAME|hf:CONFIG",
            help="An architecture file; a model of timm, such as timm:deit_tiny_patch16_224?depth=6; or one of transformers by "
            "model type, configuration file or folder, such as hf:vit?hidden_size=192. Several may follow.",
        ),
    ],
    batch_size: options.BatchSize = 8,
    seed: options.Seed = 0,
    dataset: options.MeasuredOn = None,
    data_root: options.ImageRoot = None,
    augment: options.Augment = False,
    text: options.Text = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    download: Annotated[
        bool, typer.Option("--download", help="Allow hf:NAME to fetch a configuration from the hub; never weights.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Score models by proxies, the best first, beside their parameters. Proxies with ranks compare the given ones."""
    from autoprox.api.scoring import score as scored
    from autoprox.measuring.workers import Workers
    from autoprox.report import score_table, show

    with Workers(workers) as pool:
        found = scored(
            model, proxy, batch_size=batch_size, seed=seed, dataset=dataset, data_root=data_root, augment=augment, text=text,
            device=device, workers=pool, download=download,
        )  # fmt: skip
    if found.caution:
        typer.echo(f"autoprox: {found.caution}", err=True)
    if json:
        options.emit_json({"scores": found.records})
    else:
        show(*score_table(found.proxies, found.models))
