"""`autoprox bench`: ground truth on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprox.cli import options

if TYPE_CHECKING:
    from benchdata import Benchmark

__all__ = ["benches"]

benches = typer.Typer(no_args_is_help=False)


@benches.command("list")
def list_(json: options.Json = False) -> None:
    """List the tables found, and the public ones that can be installed."""
    from autoprox.report import listing, show
    from benchdata import KNOWN, MissingTableError, TableError, find_benchmarks, load_benchmark

    records: list[dict[str, Any]] = []
    for location in find_benchmarks().values():
        record = {"name": location.name, "where": location.where, "path": str(location.path)}
        try:
            content = {"problem": location.problem} if location.problem else _content(load_benchmark(location.path))
        except (TableError, MissingTableError) as error:
            content = {"problem": str(error)}
        records.append({"problem": None, **record, **content})
    found = {record["name"] for record in records}
    records += [{"name": name, "where": "not installed", "problem": None} for name in KNOWN if name not in found]
    if json:
        options.emit_json({"benchmarks": records})
        return
    rows = [
        (
            r["name"],
            r["where"],
            r.get("rows"),
            r["problem"] or ", ".join(r.get("spaces", ())) or f"autoprox bench add {r['name']}",
            ", ".join(r.get("datasets", ())),
        )
        for r in records
    ]
    show(listing(("name", "where", "rows", "spaces", "data sets"), rows, wrapped=("where", "spaces", "data sets")))


def _content(table: Benchmark) -> dict[str, Any]:
    return {
        "spaces": list(table.spaces),
        "rows": len(table.rows),
        "datasets": list(dict.fromkeys(d for space in table.spaces for d in table.datasets(space))),
    }


@benches.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or path of a table.")],
    json: options.Json = False,
) -> None:
    """Describe a table: origin, known defects, spread and noise of the accuracies, and how well plain size ranks them."""
    from autoprox.report import show
    from autoprox.report.benchmarks import benchmark_tables
    from benchdata import load_benchmark

    table = load_benchmark(name)
    record: dict[str, Any] = {
        "name": table.name,
        "title": table.title,
        "source": table.source,
        "licence": table.licence,
        "default_label": table.default_label,
        "default_datasets": list(table.default_datasets),
        "defects": list(table.defects),
        "provenance": table.provenance,
        "content_hash": table.content_hash,
        "labels": [row for space in table.spaces for row in _labels(table, space)],
    }
    if json:
        options.emit_json(record)
        return
    show(*benchmark_tables(record))


def _labels(table: Benchmark, space: str) -> list[dict[str, Any]]:
    """Spread of each label of a space, and Kendall's tau of the architecture numbers; None for an unknown space.

    Where a data set has labels of several training seeds, its first kind (the default) has their noise ceiling too.
    """
    import numpy as np

    from autoprox.ranking.agreement import kendall
    from autoprox.ranking.problem import numbers_of
    from autoprox.report.benchmarks import NUMBERS
    from autoprox.spaces import SPACES

    numbers: dict[str, list[float]] = {}
    if space in SPACES:
        known = SPACES[space]
        numbers = numbers_of([(space, known.key(known.parse(row.architecture))) for row in table.select(space)])
    rows = []
    for dataset in table.datasets(space):
        ceiling = _ceiling(table, space, dataset)
        for label in table.labels(space, dataset):
            accuracies = table.accuracies(space, dataset, label)
            present = accuracies[np.isfinite(accuracies)]
            taus = {number: kendall(numbers[number], accuracies) if numbers else None for number in NUMBERS}
            rows.append(
                {
                    "space": space,
                    "dataset": dataset,
                    "label": label,
                    "n": len(present),
                    "min": float(present.min()),
                    "median": float(np.median(present)),
                    "max": float(present.max()),
                    "sd": float(present.std(ddof=1)) if len(present) > 1 else 0.0,
                    "kendall": {number: None if tau is None or np.isnan(tau) else tau for number, tau in taus.items()},
                    **ceiling,
                }
            )
            ceiling = {}
    return rows


def _ceiling(table: Benchmark, space: str, dataset: str) -> dict[str, Any]:
    """The noise ceiling as a record has it: absent without labels of seeds, null where these are too few to say."""
    from autoprox.errors import InputError
    from autoprox.ranking.ceiling import noise_ceiling, seed_labels

    labels = seed_labels(table, space, dataset)
    if not labels:
        return {}
    try:
        return {"ceiling": noise_ceiling(labels).to_json()}
    except InputError:
        return {"ceiling": None}


@benches.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a public table, such as vit-bench-101.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Take its files from a folder, without a download.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Install a public table: its files are checked against the published ones' SHA-256; nothing is unpickled."""
    from autoprox.report import work_view
    from benchdata import add_benchmark, load_benchmark

    with work_view() as view:
        path = add_benchmark(name, source, progress=lambda done, total: view.progress(f"files of {name}", done, total))
    table = load_benchmark(path)
    content = _content(table)
    if json:
        options.emit_json({"name": table.name, "path": str(path), **content})
        return
    typer.echo(f"{table.name} is installed in {path}")
    for space in table.spaces:
        typer.echo(f"  {space}: {len(table.select(space))} architectures, {', '.join(table.datasets(space))}")
