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
    from autoprox.proxies.proxy import Proxy

__all__ = ["score", "search"]

_SPACE = "autoformer-sub"


class Algorithm(StrEnum):
    """Ways to search."""

    RANDOM = "random"
    EVOLUTION = "evolution"


def search(
    context: typer.Context,
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", metavar="FILE|NAME|EXPRESSION", help="A proxy file, a known proxy or an expression."),
    ] = None,
    space: Annotated[
        str | None, typer.Option("--space", help=f"Search space. Default: the proxy file's first, or {_SPACE}.")
    ] = None,
    algorithm: Annotated[Algorithm, typer.Option("--algorithm", help="How to search.")] = Algorithm.EVOLUTION,
    max_params: Annotated[str | None, typer.Option("--max-params", metavar="6.2M", help="Most parameters.")] = None,
    max_flops: Annotated[
        str | None, typer.Option("--max-flops", metavar="1.4G", help="Most multiply-accumulates of one image.")
    ] = None,
    evaluations: Annotated[int, typer.Option("--evaluations", min=1, help="Architectures to score.")] = 300,
    seed: Annotated[int, typer.Option("--seed", min=0, max=options.MAX_SEED, help="Of the search.")] = 0,
    batch_size: options.BatchSize = 8,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Architecture file to write.")] = Path("arch.json"),
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    json: options.Json = False,
) -> None:
    """Find the architecture with the highest score in a search space, within budgets; nothing is trained."""
    from autoprox.files import check_writable
    from autoprox.measuring.store import FeatureStore
    from autoprox.measuring.workers import Workers
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.report import search_tables, show, work_view
    from autoprox.search import SearchSettings
    from autoprox.search import search as run
    from autoprox.spaces.architecture_file import save_architecture
    from autoprox.spaces.budget import parse_size

    given: dict[str, Any] = {
        "proxy": proxy,
        "space": space,
        "algorithm": algorithm.value,
        "max_params": max_params,
        "max_flops": max_flops,
        "evaluations": evaluations,
        "seed": seed,
        "batch_size": batch_size,
        "device": device,
        "out": str(out),
    }
    asked = recall(context, "search", run_dir, resume, given)
    if asked["proxy"] is None:
        raise InputError("search needs a proxy: give a file, a known name or an expression with --proxy")
    target, judge = Path(asked["out"]), resolve_proxy(asked["proxy"])
    check_writable(target)
    settings = SearchSettings(
        space=_space_of(judge) if asked["space"] is None else asked["space"],
        algorithm=asked["algorithm"],
        max_params=None if asked["max_params"] is None else parse_size(asked["max_params"]),
        max_flops=None if asked["max_flops"] is None else parse_size(asked["max_flops"]),
        evaluations=asked["evaluations"],
        seed=asked["seed"],
        capture=options.capture_settings(asked["batch_size"], 0, device=asked["device"]),
    )
    settings.check()
    with (
        running("search", run_dir, resume, asked) as folder,
        FeatureStore(options.memo()) as store,
        work_view() as view,
        Workers(workers) as pool,
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
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    json: options.Json = False,
) -> None:
    """Score architectures by a proxy, the best first. Proxies with ranks compare the given ones of a space."""
    from autoprox.language.expression import is_relative
    from autoprox.measuring.store import FeatureStore
    from autoprox.measuring.workers import Workers
    from autoprox.proxies.evaluation import Invalid
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.proxies.scoring import score_architectures
    from autoprox.report import listing, show, work_view

    judge = resolve_proxy(proxy)
    settings = options.capture_settings(batch_size, seed, device=device)
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
