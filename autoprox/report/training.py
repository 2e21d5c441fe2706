"""What trainings came to: one network, a table that was built, and trainings that were made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from autoprox.report.figures import ABSENT, clock, count
from autoprox.report.tables import listing

__all__ = ["build_tables", "retrained_tables", "training_table"]

_SHOWN = 5  # reasons of failures

Record = Mapping[str, Any]


def training_table(record: Record) -> RenderableType:
    """A training, by the content of its ``training.json``, ``out`` and ``weights``."""
    low, high = record["test_interval"]
    rows = [
        (
            "test accuracy [95 %]",
            f"{record['test_accuracy']:.2f} % [{low:.2f}, {high:.2f}], {record['test_images']} images",
        ),
        ("validation accuracy", f"{record['validation_accuracy']:.2f} %"),
        ("epochs", record["recipe"]["epochs"]),
        ("parameters", count(record["params"])),
        ("time", clock(record["seconds"])),
        ("weights", record["weights"]),
    ]
    heading = f"trained on {record['dataset']}, seed {record['seed']}"
    return listing((record["space"], heading), [(name, str(value)) for name, value in rows], wrapped=(heading,))


def build_tables(record: Record) -> list[RenderableType]:
    """A table that was built, by what ``autoprox bench build --json`` prints."""
    failures: Sequence[Record] = record["failures"]
    rows = [(space, rows, ", ".join(record["datasets"])) for space, rows in record["spaces"].items()]
    made = f"{record['trainings']} trainings in {clock(record['seconds'])}, {len(failures)} failed"
    reasons = [f"failed: {f['space']}, {f['dataset']}, seed {f['seed']}: {f['failure']}" for f in failures[:_SHOWN]]
    if len(failures) > _SHOWN:
        reasons.append(f"and {len(failures) - _SHOWN} more, see the provenance in the table's benchmark.json")
    table = listing((record["name"], "architectures", "data sets"), rows, wrapped=("data sets",))
    return [table, "", made, *reasons, f"written to {record['path']}"]


def retrained_tables(rows: Sequence[Record]) -> list[RenderableType]:
    """Recorded and retrained accuracies, by what ``autoprox bench retrain --json`` prints."""
    cells = [
        (
            f"{r['space']}, {r['dataset']}, seed {r['seed']}", f"{r['recorded']:.2f}", _points(r["retrained"]),
            _points(r["difference"], "+"), _points(r["seed_noise"]), f"{r['bound']:.2f}", "yes" if r["within"] else "no",
        )
        for r in rows
    ]  # fmt: skip
    figures = ("recorded", "retrained", "difference", "noise", "bound")
    return [
        listing(("training", *figures, "within"), cells, right=figures, wrapped=("training",)),
        "accuracies in percent; noise: standard deviation over seeds; bound: 1.96·√2·noise, what two trainings "
        "with different seeds differ by in 19 of 20 cases",
        *(f"failed: {r['space']}, {r['dataset']}, seed {r['seed']}: {r['failure']}" for r in rows if r["failure"]),
    ]


def _points(value: float | None, sign: str = "") -> str:
    return ABSENT if value is None else f"{value:{sign}.2f}"
