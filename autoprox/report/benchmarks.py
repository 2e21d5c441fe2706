"""What a table of ground truth holds: where it came from, its accuracies, their noise, and what plain size knows of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from autoprox.ranking.ceiling import seed_of
from autoprox.report.figures import ABSENT, clock, correlation, interval
from autoprox.report.tables import listing

__all__ = ["NUMBERS", "benchmark_tables"]

NUMBERS = ("params", "flops", "depth")
"""The architecture numbers whose Kendall's tau with the accuracies is shown."""

_SIZES = tuple(f"{number} τ" for number in NUMBERS)
_PERCENT = "accuracies in percent; τ: Kendall's tau-b of parameter count, FLOPs and depth with them"
_NOISE = (
    f"{_PERCENT}; spread: standard deviation over architectures; seed noise: of one training about its architecture's "
    "mean; noise ceiling: τ of one training with the mean of the other seeds [95 %], so a proxy above it predicts a "
    "training better than further trainings do; ideal τ: what accuracies without noise would reach with the mean over "
    "all seeds, estimated"
)

Record = Mapping[str, Any]


def benchmark_tables(record: Record) -> list[RenderableType]:
    """A table of ground truth, described by what ``autoprox bench show --json`` prints."""
    facts = [
        ("source", record["source"]),
        ("licence", record["licence"]),
        ("counts by default", f"{', '.join(record['default_datasets'])} ({record['default_label']})"),
        ("content", record["content_hash"]),
        *_provenance(record["provenance"]),
        *(("known defect", defect) for defect in record["defects"]),
    ]
    head = listing((record["name"], record["title"]), facts, wrapped=(record["title"],))
    rows: list[Record] = record["labels"]
    if any("ceiling" in row for row in rows):
        return [head, "", *_with_noise(rows, record["default_label"]), _NOISE]
    return [head, "", *_by_space(rows), _PERCENT]


def _provenance(record: Record) -> Iterator[tuple[str, str]]:
    """Of how a table was made, what people ask first; whatever is recorded in another form is shown as it is."""
    of_spaces = record.get("recipes")
    recipes = {space: _line(recipe) for space, recipe in of_spaces.items()} if isinstance(of_spaces, dict) else {}
    for text in dict.fromkeys(recipes.values()):
        yield f"recipe of {', '.join(space for space, recipe in recipes.items() if recipe == text)}", text
    for name in ("recipe", "seeds", "versions"):
        if name in record:
            yield name, _line(record[name])
    if "seconds" in record:
        spent = record["seconds"]
        yield "time of trainings", clock(spent) if isinstance(spent, int | float) else _line(spent)
    if "failures" in record:
        failures = record["failures"]
        yield "failed trainings", str(len(failures)) if isinstance(failures, list | dict) else _line(failures)


def _line(value: object) -> str:
    """A JSON value in one line, without brackets around the outermost."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_inner(item)}" for name, item in value.items())
    return ", ".join(map(_inner, value)) if isinstance(value, list) else str(value)


def _inner(value: object) -> str:
    return f"({_line(value)})" if isinstance(value, dict | list) else str(value)


def _by_space(rows: Sequence[Record]) -> Iterator[RenderableType]:
    """Tables whose accuracies are single figures: every label kind."""
    for space in dict.fromkeys(row["space"] for row in rows):
        columns = (space, "n", "min", "max", "sd", *_SIZES)
        cells = [
            (f"{r['dataset']}.{r['label']}", r["n"], *_points(r, "min", "max", "sd"), *_taus(r))
            for r in rows if r["space"] == space
        ]  # fmt: skip
        yield listing(columns, cells, right=columns[1:])
        yield ""


def _with_noise(rows: Sequence[Record], default: str) -> Iterator[RenderableType]:
    """Tables with several training seeds: what a space's accuracies are like, then what can rank them."""
    # seeds are folded into the label kind that has their ceiling, unless that is itself one of them
    folded = {(r["space"], r["dataset"]) for r in rows if "ceiling" in r and seed_of(r["label"]) is None}
    for space in dict.fromkeys(row["space"] for row in rows):
        accuracies, rankings = [], []
        for r in rows:
            if r["space"] != space or (seed_of(r["label"]) is not None and (space, r["dataset"]) in folded):
                continue
            name = r["dataset"] if r["label"] == default else f"{r['dataset']}.{r['label']}"
            noise, *ceilings = _noise(r.get("ceiling"))
            accuracies.append((name, r["n"], *_points(r, "min", "median", "max", "sd"), noise))
            rankings.append((name, *ceilings, *_taus(r)))
        for columns, cells in (
            (("n", "lowest", "median", "highest", "spread", "seed noise"), accuracies),
            (("noise ceiling", "ideal τ", *_SIZES), rankings),
        ):
            yield listing((space, *columns), cells, wrapped=(space,), right=columns)
            yield ""


def _noise(ceiling: Record | None) -> tuple[str, str, str]:
    """Seed noise, noise ceiling with its interval, ideal tau."""
    if ceiling is None:
        return ABSENT, ABSENT, ABSENT
    measured = f"{correlation(ceiling['kendall'])} {interval(ceiling['kendall_ci'])}".rstrip()
    return f"{ceiling['seed_noise']:.2f}", measured, correlation(ceiling["ideal_kendall"])


def _points(row: Record, *names: str) -> list[str]:
    return [f"{row[name]:.2f}" for name in names]


def _taus(row: Record) -> list[str]:
    return [correlation(row["kendall"][number]) for number in NUMBERS]
