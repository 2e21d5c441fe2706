"""The end of a discovery: finalists are measured exactly, and one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from autoprox.discovery.fields import Field, Laboratory
from autoprox.discovery.judging import Verdict
from autoprox.errors import InputError
from autoprox.language.expression import complexity
from autoprox.language.text import to_text
from autoprox.proxies.evaluation import Invalid, Scores
from autoprox.ranking.fitness import Fitness

__all__ = ["NO_SCORE_ADVICE", "NoScoreError", "exact_finalists", "exact_front"]

NO_SCORE_ADVICE = "give --evaluations more, or ground truth whose labels differ"


class NoScoreError(InputError):
    """A discovery found no proxy with usable scores."""


def exact_finalists(
    verdicts: Sequence[Verdict], fields: Sequence[Field], mode: str, laboratory: Laboratory
) -> list[dict[str, Any]]:
    """Measure candidates exactly on the discovery and selection architectures.

    Returns:
        Records ``expression``, ``complexity``, ``screened`` and the exact fitness on ``discovery``, ``selection`` and
        ``both`` together, best by ``both`` first; one without a score has a ``reason`` and comes last.

    Raises:
        NoScoreError: none has a score.
    """
    chosen = {to_text(verdict.expression): verdict for verdict in verdicts}
    expressions = [verdict.expression for verdict in chosen.values()]
    parts = {"both": ("discovery", "selection"), "discovery": ("discovery",), "selection": ("selection",)}
    _, columns = laboratory.scores(expressions, [field.part(*parts["both"]) for field in fields], "measure finalists")
    views = {
        name: [field.group for field in laboratory.left([field.part(*names) for field in fields])]
        for name, names in parts.items()
    }
    fitness = {name: Fitness(view, mode) for name, view in views.items()}
    rows = {
        name: [
            [whole.networks.index(n) for n in part.networks] for whole, part in zip(views["both"], view, strict=True)
        ]
        for name, view in views.items()
    }
    finalists = []
    for (text, verdict), *scores in zip(chosen.items(), *columns, strict=True):
        record: dict[str, Any] = {
            "expression": text,
            "complexity": complexity(verdict.expression),
            "screened": verdict.value,
        }
        invalid = next((score.reason for score in scores if isinstance(score, Invalid)), None)
        if invalid is None:
            valid = [cast("Scores", score) for score in scores]
            for name in parts:
                value = fitness[name].joint([score[row] for score, row in zip(valid, rows[name], strict=True)])[0]
                record[name] = _number(value)
        if invalid is not None or record["both"] is None:
            record["reason"] = invalid or "a rank correlation is undefined"
        finalists.append(record)
    if all("reason" in record for record in finalists):
        reason = f" ({finalists[0]['reason']})" if finalists else ""
        raise NoScoreError(f"no candidate has a usable score when measured exactly{reason}; {NO_SCORE_ADVICE}")
    return sorted(finalists, key=lambda r: ("reason" in r, -(r.get("both") or 0.0), r["complexity"], r["expression"]))


def exact_front(finalists: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Finalists that no simpler one equals, by exact fitness on discovery and selection, simplest first."""
    kept: list[dict[str, Any]] = []
    usable = [record for record in finalists if "reason" not in record]
    for record in sorted(usable, key=lambda r: (r["complexity"], -r["both"])):
        if not kept or record["both"] > kept[-1]["both"]:
            kept.append(record)
    return kept


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
