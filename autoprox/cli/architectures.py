"""`autoprox search` and `autoprox score`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprox.cli import options
from autoprox.cli.interruption import stopping
from autoprox.cli.remembered import recall, running
from autoprox.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autoprox.proxies.proxy import Proxy

__all__ = ["score", "search"]

_SPACE = "autoformer-sub"


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
        str | None, typer.Option("--space", help=f"Search space. Default: the proxy file's first, or {_SPACE}.")
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
    text: options.Text = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    ray: options.Ray = None,
    gpus_per_task: options.GpusPerTask = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Architecture file to write.")] = Path("arch.json"),
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    json: options.Json = False,
) -> None:
    """Find the architecture with the highest score in a search space, within budgets; nothing is trained."""
    from autoprox.files import check_writable
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.store import FeatureStore
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.report import search_tables, show, work_view
    from autoprox.search import SearchSettings
    from autoprox.search import search as run
    from autoprox.spaces.architecture_file import save_architecture
    from autoprox.spaces.budget import parse_size

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
        "device": device,
        "text": None if text is None else str(text),
        "out": str(out),
    }
    given |= _defaults(given["preset"], given, told=not resume)
    asked = recall(context, "search", run_dir, resume, given)
    if asked["proxy"] is None:
        raise InputError("search needs a proxy: give a file, a known name or an expression with --proxy")
    target, judge = Path(asked["out"]), resolve_proxy(asked["proxy"])
    words = None if asked["text"] is None else Path(asked["text"])
    check_writable(target)
    settings = SearchSettings(
        space=_space_of(judge) if asked["space"] is None else asked["space"],
        preset=asked["preset"],
        algorithm=asked["algorithm"],
        positions=asked["positions"],
        max_params=None if asked["max_params"] is None else parse_size(asked["max_params"]),
        max_flops=None if asked["max_flops"] is None else parse_size(asked["max_flops"]),
        evaluations=asked["evaluations"],
        seed=asked["seed"],
        capture=options.capture_settings(asked["batch_size"], 0, device=asked["device"], text=words, ray=ray),
    )
    settings.check()
    check_text(settings.capture, [settings.space])
    with (
        running("search", run_dir, resume, asked) as folder,
        FeatureStore(options.memo()) as store,
        work_view() as view,
        options.pool(workers, ray, asked["device"], gpus_per_task) as pool,
        stopping(view.notice, folder) as stop,
    ):
        found = run(
            judge.expression, settings, run_dir=folder, store=store, workers=pool,
            resume=resume, progress=view.progress, stop=stop,
        )  # fmt: skip
    winner = found.file()
    with options.result_kept(folder / "arch.json"):
        save_architecture(target, winner)
    if json:
        options.emit_json({**winner.to_json(), "out": str(target), "run_dir": str(folder)})
    else:
        show(*search_tables(winner.to_json()), f"written to {target}")


def _defaults(preset: str | None, given: Mapping[str, Any], told: bool) -> dict[str, Any]:
    """Values of the options that were not given; what a preset sets is told on standard error."""
    usual = {"algorithm": Algorithm.EVOLUTION.value, "evaluations": 300}
    if preset is None:
        return {name: value for name, value in usual.items() if given[name] is None}
    from autoprox.search import PRESETS

    published = PRESETS[preset]
    budget = published.max_params.get(given["space"] or published.space)
    values = {
        "proxy": published.proxy,
        "space": published.space,
        "algorithm": published.algorithm,
        "evaluations": published.evaluations,
        "max_params": None if budget is None else str(budget),
    }
    missing = {name: value for name, value in values.items() if given[name] is None}
    if told:
        options_set = " ".join(f"--{name.replace('_', '-')} {v}" for name, v in missing.items() if v is not None)
        typer.echo(f"autoprox: {preset} sets {options_set or 'nothing'} ({published.source})", err=True)
    return missing


def _space_of(proxy: Proxy) -> str:
    """The first space that the proxy was discovered on."""
    spaces = proxy.provenance.get("spaces")
    return str(spaces[0]) if isinstance(spaces, list) and spaces else _SPACE


def score(
    proxy: options.ProxyText,
    model: Annotated[
        list[str], typer.Option("--model", metavar="arch.json", help="An architecture file; several may follow.")
    ],
    batch_size: options.BatchSize = 8,
    seed: options.Seed = 0,
    text: options.Text = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    ray: options.Ray = None,
    gpus_per_task: options.GpusPerTask = None,
    json: options.Json = False,
) -> None:
    """Score architectures by a proxy, the best first. Proxies with ranks compare the given ones of a space."""
    from autoprox.language.expression import is_relative
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.store import FeatureStore
    from autoprox.proxies.evaluation import Invalid
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.proxies.scoring import score_architectures
    from autoprox.report import listing, show, work_view
    from autoprox.spaces.architecture_file import load_architecture

    judge = resolve_proxy(proxy)
    settings = options.capture_settings(batch_size, seed, device=device, text=text, ray=ray)
    if text is not None:
        check_text(settings, [load_architecture(Path(name)).space for name in model])
    with (
        FeatureStore(options.memo()) as store,
        work_view() as view,
        options.pool(workers, ray, device, gpus_per_task) as pool,
    ):
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
