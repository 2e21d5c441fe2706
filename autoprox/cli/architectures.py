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
    text: options.Text = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    ray: options.Ray = None,
    gpus_per_task: options.GpusPerTask = None,
    download: Annotated[
        bool, typer.Option("--download", help="Allow hf:NAME to fetch a configuration from the hub; never weights.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Score models by proxies, the best first, beside their parameters. Proxies with ranks compare the given ones."""
    from autoprox.language.expression import is_relative
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.store import FeatureStore
    from autoprox.models.comparing import score_models
    from autoprox.models.sources import PREFIXES
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.report import score_records, score_table, show, work_view
    from autoprox.spaces.architecture_file import load_architecture

    judges = {judge.label: judge.expression for judge in map(resolve_proxy, proxy)}
    settings = options.capture_settings(batch_size, seed, device=device, text=text, ray=ray)
    files = [name for name in model if not name.startswith(PREFIXES)]
    if text is not None and len(files) == len(model):
        check_text(settings, [load_architecture(Path(name)).space for name in files])
    with (
        FeatureStore(options.memo()) as store,
        work_view() as view,
        options.pool(workers, ray, device, gpus_per_task) as pool,
    ):
        found = score_models(list(judges.values()), model, settings, store, pool, view.progress, download=download)
    if any(map(is_relative, judges.values())):
        alone = len(files) == len(model)
        typer.echo(
            f"autoprox: this proxy ranks the given models{' of one space' * alone} among each other; its scores do not compare "
            f"models of different {'spaces' if alone else 'calls'}, nor say anything of a model that is alone",
            err=True,
        )
    if json:
        options.emit_json({"scores": score_records(list(judges), found)})
    else:
        show(*score_table(list(judges), found))
