"""`autoprox bench build` and `autoprox bench retrain`: ground truth of one's own."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprox.cli import options
from autoprox.cli.interruption import stopping
from autoprox.cli.remembered import recall, recall_all, remember, running
from autoprox.errors import InputError, InterruptedRunError, MissingError

if TYPE_CHECKING:
    from autoprox.building import BuildSettings
    from benchdata import Benchmark

__all__ = ["build", "merge", "retrain"]

_NUMBERS = ("architectures", "epochs", "batch_size", "learning_rate")
_NEEDED = ("space", "dataset", "architectures", "seeds")
_MERGE_RUNS = "join their folders with: autoprox bench merge DIR... --run-dir NEW"
_MOST = 1000  # seeds, more than which is a slip


def build(
    context: typer.Context,
    space: Annotated[
        list[str] | None, typer.Option("--space", metavar="S", help="Search space; several may follow.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", metavar="NAME|DIR|hf:DIR", help="Data set or folder, as of train; several may follow."
        ),
    ] = None,
    architectures: Annotated[int | None, typer.Option("--architectures", min=1, help="How many of each space.")] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="K|A,B", help="Of the trainings: how many, or a list like 4,7,9.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the table. Default: spaces and data sets, joined by hyphens.")
    ] = None,
    data_root: options.ImageRoot = None,
    epochs: options.Epochs = None,
    batch_size: options.TrainingBatch = None,
    learning_rate: options.LearningRate = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=options.MAX_SEED, help="Of the choice of architectures.")
    ] = 0,
    licence: Annotated[str, typer.Option("--licence", help="Under which the table may be passed on.")] = "not stated",
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    ray: options.Ray = None,
    gpus_per_task: options.GpusPerTask = None,
    shard: options.ShardText = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the table. Default: where --bench NAME finds it."),
    ] = None,
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    json: options.Json = False,
) -> None:
    """Build ground truth: train architectures of all sizes on data sets, with several seeds each.

    A build that is resumed may have more architectures, seeds, spaces and data sets than before.
    """
    from autoprox.building import build as run
    from autoprox.building import build_part
    from autoprox.measuring.capture import check_device
    from autoprox.measuring.shards import Shard
    from autoprox.report import show, work_view
    from autoprox.report.training import build_tables
    from benchdata import MissingTableError, TableError, benchmarks_home, write_benchmark

    given: dict[str, Any] = {
        "space": space or [],
        "dataset": dataset or [],
        "architectures": architectures,
        "seeds": seeds,
        "name": name,
        "data_root": None if data_root is None else str(data_root),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "licence": licence,
        "device": device,
        "shard": shard,
        "out": None if out is None else str(out),
    }
    asked = recall(context, "build", run_dir, resume, given, _NUMBERS)
    if ray is None:  # otherwise the device is one of the nodes
        check_device(asked["device"])
    settings = _settings(asked)
    part = None if asked["shard"] is None else Shard.parse(asked["shard"])
    installed = benchmarks_home() / settings.name
    target = installed if asked["out"] is None else Path(asked["out"])
    if part is None:
        _check_place(target, resume)
    with (
        running("build", run_dir, resume, asked) as folder,
        work_view() as view,
        options.pool(workers, ray, asked["device"], gpus_per_task) as pool,
        stopping(view.notice, folder) as stop,
    ):
        work: dict[str, Any] = {"progress": view.progress, "stop": stop, "accepted": lambda: remember(folder, asked)}
        if part is None:
            table = run(settings, folder, resume, pool, **work)
        else:
            done = build_part(settings, part, folder, resume, pool, **work)
    if part is not None:
        options.end_of_shard(part, "trainings", folder, done, _MERGE_RUNS, json)
        return
    try:
        write_benchmark(table, target)
    except (TableError, MissingTableError) as error:
        raise MissingError(
            f"{error}; all trainings are in {folder}: write the table with --resume --run-dir {folder} --out DIR"
        ) from None
    record = {**_content(table), "path": str(target), "run_dir": str(folder)}
    if json:
        options.emit_json(record)
    else:
        where = settings.name if target == installed else target
        show(*build_tables(record), f"look at it with: autoprox bench show {where}")


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders of bench build --shard.")],
    run_dir: Annotated[Path, typer.Option("--run-dir", metavar="DIR", help="Folder with all of them, new or not.")],
    json: options.Json = False,
) -> None:
    """Join the trainings that parts of one build have made."""
    from autoprox.building import merge_runs
    from autoprox.report import show

    found = merge_runs(folders, run_dir)
    asked = recall_all(folders[0])
    remember(run_dir, {**asked, "shard": None})
    if json:
        options.emit_json({**asdict(found), "run_dir": str(run_dir)})
    else:
        show(
            f"{found.trainings} trainings are in {run_dir}, {found.taken} of them new there; write the table, and make what is "
            f"missing, with: autoprox bench build --resume --run-dir {run_dir}"
        )


def _settings(asked: dict[str, Any]) -> BuildSettings:
    """The settings that the options describe, checked; InputError says what is wrong or absent."""
    from autoprox.building import BuildSettings
    from benchdata import KNOWN, NAME

    absent = [f"--{name}" for name in _NEEDED if not asked[name]]
    if absent:
        raise InputError(f"bench build needs {' '.join(absent)}; see 'autoprox bench build --help'")
    settings = BuildSettings(
        name=asked["name"] or "",
        spaces=tuple(asked["space"]),
        datasets=tuple(asked["dataset"]),
        architectures=asked["architectures"],
        seeds=_seeds(asked["seeds"]),
        seed=asked["seed"],
        data_root=None if asked["data_root"] is None else Path(asked["data_root"]),
        **{name: asked[name] for name in ("device", "epochs", "batch_size", "learning_rate", "licence")},
    )
    settings.check()
    for space in settings.spaces:
        settings.recipe(space)
    names = [dataset.name for dataset in settings.load().values()]
    if asked["name"] is None:
        return replace(settings, name="-".join([*settings.spaces, *names]))
    if not NAME.fullmatch(settings.name):
        raise InputError(
            f"the name {settings.name!r} cannot be that of a table; expected lower-case letters, digits, - and _"
        )
    if settings.name in KNOWN:
        raise InputError(f"{settings.name} is the name of a public table; choose another --name")
    return settings


def _seeds(text: str) -> tuple[int, ...]:
    """The seeds that are meant: so many, counted from 0, or those of a list, which a comma makes it.

    >>> _seeds("3"), _seeds("4,7"), _seeds("4,")
    ((0, 1, 2), (4, 7), (4,))
    """
    parts = [part.strip() for part in text.removesuffix(",").split(",")]
    wanted = "expected how many, such as 3, or a list, such as 4,7,9"
    if not all(re.fullmatch("[0-9]{1,19}", part) for part in parts):
        raise InputError(f"{text!r} says no seeds; {wanted}")
    numbers = tuple(map(int, parts))
    if "," in text:
        if max(numbers) > options.MAX_SEED:
            raise InputError(f"the seed {max(numbers)} is too large; expected at most {options.MAX_SEED}")
        return numbers
    if not 1 <= numbers[0] <= _MOST:
        raise InputError(f"--seeds {text} asks for {numbers[0]} seeds; {wanted}, and from 1 to {_MOST}")
    return tuple(range(numbers[0]))


def _check_place(target: Path, resume: bool) -> None:
    """Refuse, before long work, a place where the table could not be written, or would replace that of another build."""
    from autoprox.files import check_writable
    from benchdata import check_replaceable

    check_replaceable(target)
    if not resume and target.is_dir() and any(target.iterdir()):
        raise InputError(
            f"there is a table in {target}; choose another --name or --out, remove it, or go on with its build by --resume"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingError(f"cannot make the folder {target.parent}: {error.strerror}; name another --out") from None
    check_writable(target.with_name(f".{target.name}.json"))


def _content(table: Benchmark) -> dict[str, Any]:
    """What was built, for people and programs."""
    return {
        "name": table.name,
        "content_hash": table.content_hash,
        "spaces": {space: len(table.select(space)) for space in table.spaces},
        "datasets": list(table.provenance["data"]),
        "rows": len(table.rows),
        **{name: table.provenance[name] for name in ("trainings", "seconds", "failures")},
    }


def retrain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or path of a table that was built.")],
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many trainings to make again.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, max=options.MAX_SEED, help="Of their choice.")] = 0,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="DIR|hf:DIR", help="Folder that the table was made with; repeatable."),
    ] = None,
    data_root: options.ImageRoot = None,
    device: options.Device = "cpu",
    workers: options.WorkerCount = None,
    ray: options.Ray = None,
    gpus_per_task: options.GpusPerTask = None,
    json: options.Json = False,
) -> None:
    """Make some trainings of a built table again, and compare: the same, but for what another machine rounds otherwise."""
    from autoprox.building import retrain as run
    from autoprox.measuring.capture import check_device
    from autoprox.report import show, work_view
    from autoprox.report.training import retrained_tables
    from benchdata import load_benchmark

    table = load_benchmark(name)
    if ray is None:
        check_device(device)
    try:
        with work_view() as view, options.pool(workers, ray, device, gpus_per_task) as pool:
            found = run(
                table,
                rows,
                seed,
                pool,
                places=dataset or [],
                data_root=data_root,
                device=device,
                progress=view.progress,
            )
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; no training that was made again is kept") from None
    records = [item.to_json() for item in found]
    strange = [item for item in found if not item.within]
    if json:
        options.emit_json({"name": table.name, "rows": records, "within": not strange})
    else:
        verdict = (
            [] if strange else [f"{len(found)} of {len(found)} are within 1.96·√2·noise of what {table.name} records"]
        )
        show(*retrained_tables(records), *verdict)
    if strange:
        made = table.provenance.get("versions")
        raise MissingError(
            f"{len(strange)} of {len(found)} trainings came to another accuracy than {table.name} records, by more than "
            f"1.96·√2·seed noise; the table was made with {made}, so compare 'autoprox --version' and the libraries"
        )
