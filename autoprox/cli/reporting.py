"""`autoprox report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprox.api.groundtruth import ground_truth
from autoprox.cli import options
from autoprox.errors import InputError, MissingError

if TYPE_CHECKING:
    from autoprox.report.pages import Run, Truth

__all__ = ["report"]


def report(
    run_dir: Annotated[
        Path | None, typer.Argument(metavar="RUN_DIR", help="Folder of a run. Default: the newest in runs/.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")] = Path("report.html"),
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            help="Folder for the figures as SVG, PNG and PDF. Default: beside FILE; report-figures for report.html.",
        ),
    ] = None,
    workers: options.WorkerCount = None,
    json: options.Json = False,
) -> None:
    """Write a run of discover or search as one HTML file, with figures for papers."""
    from autoprox.files import check_writable
    from autoprox.measuring.store import home_folder
    from autoprox.measuring.workers import Workers
    from autoprox.report import show, work_view
    from autoprox.report.pages import newest_run, read_run, write_report

    check_writable(out)
    run = read_run(newest_run() if run_dir is None else run_dir)
    folder = out.with_name(f"{out.stem}-figures") if figures is None else figures
    with work_view() as view, Workers(workers) as pool:
        record = write_report(
            run, out, folder, lambda: _truth(run), home=home_folder(), workers=pool, progress=view.progress
        )
    if json:
        options.emit_json(record)
        return
    for trouble in record["missing"]:
        typer.echo(f"autoprox: not in the report: {trouble}", err=True)
    show(f"written to {out}; {len(record['figures'])} figures in {folder}")


def _truth(run: Run) -> Truth:
    """The ground truth and the capture that a discovery was started with, by the options kept in its folder.

    Raises:
        InputError: options are damaged, or name what is not there.
        MissingError: there is no ground truth, or an image cannot be read.
    """
    from autoprox.report.pages import Truth
    from benchdata import MissingTableError, TableError

    asked: dict[str, Any] = {**_named(run), **{k: v for k, v in run.options.items() if v is not None and v != []}}
    texts = {name: asked.get(name) for name in ("spaces", "datasets", "labels", "data_root", "text")}
    bench, batch, device = asked["bench"], asked.get("batch_size", 8), asked.get("device", "cpu")
    if not (
        all(value is None or isinstance(value, str) for value in (*texts.values(), device))
        and isinstance(bench, list)
        and all(isinstance(name, str) for name in bench)
        and type(batch) is int
    ):
        raise InputError(f"{run.path / 'options.json'} is damaged: an option has no value that it could have")
    root, text = (None if texts[name] is None else Path(str(texts[name])) for name in ("data_root", "text"))
    capture = options.capture_settings(batch, 0, root, device, text, augment=asked.get("augment") is True)
    names = options.listed(texts["spaces"]), options.listed(texts["datasets"])
    try:
        truth = ground_truth(bench, *names, texts["labels"], capture)
    except (TableError, MissingTableError) as error:
        raise MissingError(str(error)) from None
    return Truth(truth.groups, capture, truth.record())


def _named(run: Run) -> dict[str, Any]:
    """The tables that the settings of a run name: what was not given as an option may be another one by now."""
    tables = run.settings.get("benchmarks")
    names = [table.get("name") for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
    return {"bench": [name for name in names if isinstance(name, str)]}
