"""`autoprox study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autoprox.api.groundtruth import ground_truth
from autoprox.cli import options
from autoprox.cli.interruption import stopping
from autoprox.cli.remembered import recall, running
from autoprox.errors import InputError

__all__ = ["study"]


def study(
    context: typer.Context,
    plan: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY.toml", help="What to compare (docs/studies.md). With --resume: as it was."),
    ] = None,
    workers: options.WorkerCount = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.csv", help="The table to write; beside it FILE.json.")
    ] = Path("study.csv"),
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    json: options.Json = False,
) -> None:
    """Compare ways to discover proxies, under designs that hold something out, as one table."""
    from autoprox.files import check_writable, write_json, write_text
    from autoprox.measuring.store import home_folder
    from autoprox.measuring.workers import Workers
    from autoprox.report import discovery_view, left_out_lines, show, study_csv, study_tables
    from autoprox.studies.plan import read_plan
    from autoprox.studies.study import Ground
    from autoprox.studies.study import study as run

    given: dict[str, Any] = {"plan": None if plan is None else str(plan), "out": str(out)}
    asked = recall(context, "study", run_dir, resume, given)
    if asked["plan"] is None:
        raise InputError("no study is named; give its file, as in 'autoprox study STUDY.toml'")
    target = Path(asked["out"])
    if target.suffix != ".csv":
        raise InputError(
            f"--out is {target}; expected a file that ends with .csv, beside which one with .json is written"
        )
    beside = target.with_suffix(".json")
    check_writable(target)
    check_writable(beside)
    what = read_plan(Path(asked["plan"]))
    truth = {}
    for name, names in what.truth.items():
        found = ground_truth(names.bench, names.spaces, names.datasets, names.labels, what.captures[0])
        truth[name] = Ground(found.groups, found.benchmarks)
    with (
        running("study", run_dir, resume, asked) as folder,
        discovery_view() as view,
        Workers(workers) as pool,
        stopping(view.notice, folder) as stop,
    ):
        record = run(
            what,
            truth,
            run_dir=folder,
            home=home_folder(),
            workers=pool,
            resume=resume,
            observe=view.observe,
            told=view.say,
            progress=view.progress,
            stop=stop,
        )
    with options.result_kept(folder / "study.json"):
        write_text(target, study_csv(record["rows"]))
        write_json(beside, record)
    if json:
        options.emit_json({**record, "out": str(target), "run_dir": str(folder)})
    else:
        show(
            *study_tables(record["rows"]),
            *left_out_lines(record.get("left_out") or ()),
            f"written to {target} and {beside}",
        )
