"""The outcome of an architecture search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from autoprox.report.figures import ABSENT, count
from autoprox.report.ranks import left_out_lines
from autoprox.report.tables import listing

__all__ = ["choices", "search_tables"]


def search_tables(record: Mapping[str, Any]) -> list[RenderableType]:
    """An architecture file's content: the winner beside random picks of its size or budget."""
    provenance = record["provenance"]
    picks = provenance["random"]
    rows = [
        ("winner", _number(picks["score_winner"]), count(record["params"]), count(record["flops"])),
        (f"best of {picks['count']} random picks", _number(picks["score_max"]), "", ""),
        ("mean of the random picks", _number(picks["score_mean"]), _count(picks["params_mean"]), ""),
    ]
    tail = f"random picks with {picks['matched']}; {provenance['evaluated']} architectures scored"
    if "preset" in provenance:
        tail += f" with the preset {provenance['preset']}"
    if provenance["invalid"]:
        tail += f", {provenance['invalid']} without a usable score"
    if provenance["exhausted"]:
        tail += "; no further one within the budget was found"
    best = picks["score_max"]
    behind = best is not None and picks["score_winner"] is not None and best > picks["score_winner"]
    return [
        Text.assemble((record["space"], "bold"), f"  {choices(record['architecture'])}"),
        Text(),
        listing(("", "score", "params", "FLOPs"), rows, right=("score", "params", "FLOPs")),
        Text(tail, "dim"),
        *[Text("a random pick scores higher than the winner: give --evaluations more", "yellow")] * behind,
        *left_out_lines(provenance.get("left_out") or ()),
    ]


def choices(architecture: Mapping[str, Any]) -> str:
    """An architecture on one line: ``depth 2, embed_dim 32, num_heads 4-2``."""
    return ", ".join(f"{name} {_choice(value)}" for name, value in architecture.items())


def _choice(value: object) -> str:
    """Blocks are joined by hyphens; stages, and layers with several choices, by bars."""
    if isinstance(value, Mapping):
        return " ".join(map(str, value.values()))
    if isinstance(value, list | tuple):
        return (" | " if any(isinstance(v, list | tuple | Mapping) for v in value) else "-").join(map(_choice, value))
    return str(value)


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.6g}"


def _count(value: float | None) -> str:
    return ABSENT if value is None else count(value)
