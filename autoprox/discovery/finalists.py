"""The end of a discovery: finalists are measured exactly, one is chosen, and it alone is tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from autoprox.discovery.fields import Field, Laboratory
from autoprox.discovery.judging import Verdict
from autoprox.errors import InputError
from autoprox.language.expression import Expression, complexity
from autoprox.language.text import parse_proxy, to_text
from autoprox.proxies.evaluation import Invalid, Scores
from autoprox.ranking.agreement import agreement, joint_agreement, kendall
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import Group

__all__ = ["NO_SCORE_ADVICE", "SIZES", "exact_finalists", "exact_front", "metrics_on_test", "params_reach"]

NO_SCORE_ADVICE = "give --evaluations more, or ground truth whose labels differ"


def exact_finalists(
    verdicts: Sequence[Verdict], fields: Sequence[Field], mode: str, laboratory: Laboratory
) -> list[dict[str, Any]]:
    """Measure candidates exactly on the discovery and selection architectures.

    Returns:
        Records ``expression``, ``complexity``, ``screened`` and the exact fitness on ``discovery``, ``selection`` and
        ``both`` together, best by ``both`` first; one without a score has a ``reason`` and comes last.

    Raises:
        InputError: none has a score.
    """
    chosen = {to_text(verdict.expression): verdict for verdict in verdicts}
    parts = {"both": ("discovery", "selection"), "discovery": ("discovery",), "selection": ("selection",)}
    views = {name: [field.part(*names).group for field in fields] for name, names in parts.items()}
    fitness = {name: Fitness(view, mode) for name, view in views.items()}
    rows = {
        name: [
            [whole.networks.index(n) for n in part.networks] for whole, part in zip(views["both"], view, strict=True)
        ]
        for name, view in views.items()
    }
    expressions = [verdict.expression for verdict in chosen.values()]
    measured = [field.part(*parts["both"]) for field in fields]
    columns = laboratory.scores(expressions, measured, "measure finalists")
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
        raise InputError(f"no candidate has a usable score when measured exactly{reason}; {NO_SCORE_ADVICE}")
    return sorted(finalists, key=lambda r: ("reason" in r, -(r.get("both") or 0.0), r["complexity"], r["expression"]))


def exact_front(finalists: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Finalists that no simpler one equals, by exact fitness on discovery and selection, simplest first."""
    kept: list[dict[str, Any]] = []
    usable = [record for record in finalists if "reason" not in record]
    for record in sorted(usable, key=lambda r: (r["complexity"], -r["both"])):
        if not kept or record["both"] > kept[-1]["both"]:
            kept.append(record)
    return kept


SIZES = ("params", "flops", "depth", "width", "depth * width")


def metrics_on_test(
    expression: Expression, fields: Sequence[Field], mode: str, seed: int, laboratory: Laboratory
) -> tuple[dict[str, Any], float | None, dict[str, float]]:
    """Metrics of the chosen proxy on the test architectures, which nothing has read before, and the joint fitness there.

    Returns:
        {space: {data set: figures}} with the means as ``joint``/``mean``, as proxy files hold them; the fitness, None
        where a score or a correlation is undefined; and {measure of size: Kendall tau of the scores with it, mean over
        the spaces}, most alike first, so that nobody takes a measure of size for more.
    """
    tests = [field.part("test") for field in fields]
    columns = laboratory.scores([expression], tests, "measure on test")
    groups = [field.group for field in tests]
    metrics: dict[str, Any] = {}
    scored = []
    for group, (scores,) in zip(groups, columns, strict=True):
        rows = metrics.setdefault(group.space, {})
        if isinstance(scores, Invalid):
            rows.update({dataset: {"n": len(group.networks), "invalid": scores.reason} for dataset in group.labels})
            continue
        params = np.array(group.numbers["params"])
        scored.append((scores, group.labels, params))
        for dataset, labels in group.labels.items():
            rows[dataset] = agreement(scores, labels, params, seed=seed).to_json()
    if len(scored) < len(groups):
        return metrics, None, {}
    joint = joint_agreement(scored, spaces=[group.space for group in groups], seed=seed)
    metrics["joint"] = {"mean": joint.to_json()}
    value = Fitness(groups, mode).joint([scores for scores, _, _ in scored])[0]
    return metrics, _number(value), _likeness(groups, [scores for scores, _, _ in scored])


def _likeness(groups: Sequence[Group], columns: Sequence[Scores]) -> dict[str, float]:
    found = {}
    for text in SIZES:
        sizes = [group.population().score(parse_proxy(text)) for group in groups]
        taus = [kendall(x, y) for x, y in zip(columns, sizes, strict=True) if not isinstance(y, Invalid)]
        if taus and np.isfinite(taus).all():
            found[text] = float(np.mean(taus))
    return dict(sorted(found.items(), key=lambda item: -abs(item[1])))


def params_reach(fields: Sequence[Field], mode: str) -> dict[str, float | None]:
    """The fitness of plain parameter counting on each part."""
    parts = ("discovery", "selection", "test")
    return {part: _number(Fitness([f.part(part).group for f in fields], mode).of_params()) for part in parts}


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
