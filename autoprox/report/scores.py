"""Scores of models by proxies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from autoprox.report.figures import ABSENT, count
from autoprox.report.tables import listing

if TYPE_CHECKING:
    from autoprox.models.comparing import ScoredModel

__all__ = ["score_records", "score_table"]


def score_records(proxies: Sequence[str], found: Sequence[ScoredModel]) -> list[dict[str, Any]]:
    """One object a model; with several proxies one a proxy and model, which names the proxy as well."""
    from autoprox.proxies.evaluation import Invalid

    records = []
    for i, proxy in enumerate(proxies):
        for row in found:
            score = row.scores[i]
            record: dict[str, Any] = {"proxy": proxy} if len(proxies) > 1 else {}
            record |= {"model": row.model, "params": row.params}
            records.append(
                record | ({"score": None, "invalid": score.reason} if isinstance(score, Invalid) else {"score": score})
            )
    return records


def score_table(proxies: Sequence[str], found: Sequence[ScoredModel]) -> list[RenderableType]:
    """One line a model, the best of the first proxy first, and why some have no score."""
    from autoprox.proxies.evaluation import Invalid

    headings = list(proxies) if len(proxies) > 1 else ["score"]
    ordered = sorted(found, key=lambda row: float("inf") if isinstance(row.scores[0], Invalid) else -row.scores[0])
    rows = [
        (row.model, ABSENT if row.params is None else count(row.params), *map(_number, row.scores)) for row in ordered
    ]
    reasons: dict[str, list[str]] = {}
    for row in ordered:
        alike = len(set(row.scores)) == 1  # one reason for all
        for proxy, score in list(zip(proxies, row.scores, strict=True))[: 1 if alike else None]:
            if isinstance(score, Invalid):
                reasons.setdefault(score.reason, []).append(row.model if alike else f"{row.model} by {proxy}")
    notes = [Text(f"no score: {', '.join(models)}: {reason}") for reason, models in reasons.items()]
    table = listing(("model", "params", *headings), rows, wrapped=("model", *headings), right=("params", *headings))
    return [table, *notes]


def _number(score: object) -> str:
    return f"{score:.6g}" if isinstance(score, int | float) else ABSENT
