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
    proxy: options.ProxyText,
    model: Annotated[
        list[str], typer.Option("--model", metavar="arch.json", help="An architecture file; several may follow.")
    ],
    batch_size: options.BatchSize = 8,
    seed: options.Seed = 0,
    dataset: options.MeasuredOn = None,
    data_root: options.ImageRoot = None,
    augment: options.Augment = False,
    text: options.Text = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    json: options.Json = False,
) -> None:
    """Score architectures by a proxy, the best first. Proxies with ranks compare the given ones of a space."""
    from autoprox.language.expression import is_relative
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.store import FeatureStore
    from autoprox.measuring.workers import Workers
    from autoprox.proxies.evaluation import Invalid
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.proxies.scoring import score_architectures
    from autoprox.report import listing, show, work_view
    from autoprox.spaces.architecture_file import load_architecture

    judge = resolve_proxy(proxy)
    settings = options.capture_settings(batch_size, seed, data_root, device, text, dataset=dataset, augment=augment)
    if text is not None:
        check_text(settings, [load_architecture(Path(name)).space for name in model])
    with FeatureStore(options.memo()) as store, work_view() as view, Workers(workers) as pool:
        scores = score_architectures(judge.expression, model, settings, store, pool, view.progress)
    if is_relative(judge.expression):
        typer.echo(
            "autoprox: this proxy ranks the given models of one space among each other; its scores do not compare "
            "models of different spaces, nor say anything of a model that is alone",
            err=True,
        )
    if json:
        records = [
            {"model": name, "score": None, "invalid": value.reason}
            if isinstance(value, Invalid)
            else {"model": name, "score": value}
            for name, value in scores
        ]
        options.emit_json({"scores": records})
        return
    ordered = sorted(scores, key=lambda pair: float("inf") if isinstance(pair[1], Invalid) else -pair[1])
    rows = [(name, f"no score: {v.reason}" if isinstance(v, Invalid) else f"{v:.6g}") for name, v in ordered]
    show(listing(("model", "score"), rows, wrapped=("model",), right=("score",)))
