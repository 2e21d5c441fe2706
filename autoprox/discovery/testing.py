"""The winner of a discovery on the test architectures, which nothing has read before, and beside them on those that chose it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprox.discovery.fields import Field, Laboratory
from autoprox.language.expression import Expression
from autoprox.language.text import parse_proxy
from autoprox.proxies.evaluation import Invalid, Scores
from autoprox.ranking.agreement import joint_agreement, kendall
from autoprox.ranking.assessment import Assessor, sizes_of
from autoprox.ranking.assessment import Scores as Given
from autoprox.ranking.ceiling import NoiseCeiling
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import Group
from autoprox.ranking.supervised import LEAST_LABELS, SUPERVISED, predicted
from autoprox.ranking.verdict import SIZES, Finding, verdict

__all__ = ["Tested", "measure_on_test", "references_for"]

_SEEN = ("discovery", "selection")


@dataclass(frozen=True)
class Tested:
    """What a proxy file and a run folder hold about the winner.

    Attributes:
        metrics: {space: {data set: figures}} with the means as ``joint``/``mean``: all of `autoprox.ranking.evidence`, against
            the sizes and the supervised ridge, and the ``ceiling`` that the noise of training leaves, where it is known.
        verdict: the same in words.
        parts: {``discovery``, ``selection`` or ``test``: figures}, to be read side by side: n (architectures), fitness, kendall
            with its interval, the same of the parameter count, the difference, and whether selection has ``seen`` it.
        likeness: {measure of size: Kendall tau of the scores with it, mean over the spaces}, most alike first, so that nobody
            takes a measure of size for more.
        scores: of the test architectures, for whoever wants to compare: one record a field.
    """

    metrics: dict[str, Any]
    verdict: tuple[Finding, ...]
    parts: dict[str, dict[str, Any]]
    likeness: dict[str, float]
    scores: list[dict[str, Any]]


def measure_on_test(
    expression: Expression,
    parts: Mapping[str, Sequence[Field]],
    laboratory: Laboratory,
    *,
    mode: str,
    seed: int,
    supervised: bool,
    ceilings: Mapping[tuple[str, str], NoiseCeiling],
) -> Tested:
    """Measure the chosen proxy exactly on every part.

    Args:
        parts: the fields of ``discovery``, ``selection`` and ``test``.
        mode: of the fitness.
        seed: of the bootstrap and the permutations.
        supervised: whether the discovery and selection architectures belong to the spaces and data sets of the test, so that
            a ridge can be fitted to them.
        ceilings: noise ceilings of the test architectures.
    """
    taken = {part: laboratory.scores([expression], parts[part], "measure on test") for part in ("test", *_SEEN)}
    parts = {part: laboratory.left(fields) for part, fields in parts.items()}
    tests = parts["test"]
    columns = [scores for (scores,) in taken["test"][1]]
    groups = [field.group for field in tests]
    known = [one.group for one in parts["discovery"]], [one.group for one in parts["selection"]]
    references = references_for(groups, [_joined(*pair) for pair in zip(*known, strict=True)] if supervised else ())
    metrics: dict[str, Any] = {}
    usable = [i for i, scores in enumerate(columns) if not isinstance(scores, Invalid)]
    for group, scores in zip(groups, columns, strict=True):
        if isinstance(scores, Invalid):
            rows = metrics.setdefault(group.space, {})
            rows.update({dataset: {"n": len(group.networks), "invalid": scores.reason} for dataset in group.labels})
    if usable:
        chosen = {name: [scores[i] for i in usable] for name, scores in references.items()}
        assessor = Assessor([groups[i] for i in usable], chosen, seed=seed)
        valid = [scores for scores in columns if not isinstance(scores, Invalid)]
        found = assessor.assess(valid).to_json()
        if len(usable) < len(groups):
            del found["joint"]
        for space, figures in found.items():
            metrics.setdefault(space, {}).update(figures)
    metrics = {
        space: metrics[space] for space in dict.fromkeys([*(g.space for g in groups), "joint"]) if space in metrics
    }
    ceiling = _add_ceilings(metrics, ceilings)
    scored = {part: [scores for (scores,) in found] for part, (_, found) in taken.items()}
    return Tested(
        metrics,
        verdict(metrics, ceiling=ceiling),
        {part: _reach(fields, scored[part], mode, seed) | {"seen": part in _SEEN} for part, fields in parts.items()},
        _likeness(groups, columns),
        [_scores(field, scores) for field, scores in zip(tests, columns, strict=True)],
    )


def references_for(tests: Sequence[Group], known: Sequence[Group]) -> dict[str, list[Given]]:
    """What a proxy is compared with on test architectures: sizes, and the supervised ridge.

    Args:
        known: labelled architectures of the same spaces and data sets to fit the ridge to, in the order of the tests; none,
            or fewer than ``LEAST_LABELS`` labels somewhere: it is left out.
    """
    references: dict[str, list[Given]] = sizes_of(tests)
    if known and all(np.isfinite(labels).sum() >= LEAST_LABELS for group in known for labels in group.labels.values()):
        references[SUPERVISED] = [_ridge(*pair) for pair in zip(known, tests, strict=True)]
    return references


def _ridge(known: Group, test: Group) -> Given:
    whole, n = _joined(known, test), len(known.networks)
    return predicted(whole, range(n), range(n, n + len(test.networks)))


def _joined(one: Group, other: Group) -> Group:
    """The architectures of two groups of one space and the same data sets."""
    return Group(
        one.space,
        one.networks + other.networks,
        {dataset: np.concatenate([labels, other.labels[dataset]]) for dataset, labels in one.labels.items()},
        one.label_kinds,
        {name: [*column, *other.numbers[name]] for name, column in one.numbers.items()},
    )


def _add_ceilings(metrics: Mapping[str, Any], ceilings: Mapping[tuple[str, str], NoiseCeiling]) -> float | None:
    """Put the ceilings beside the figures; their mean, where every pair has one."""
    pairs = [(space, dataset) for space, rows in metrics.items() if space != "joint" for dataset in rows]
    for space, dataset in pairs:
        if (space, dataset) in ceilings:
            metrics[space][dataset]["ceiling"] = ceilings[space, dataset].to_json()
    ideals = [ceilings[pair].ideal_kendall for pair in pairs if pair in ceilings]
    known = [ideal for ideal in ideals if ideal is not None]
    if "joint" not in metrics or len(known) < len(pairs):
        return None
    mean = float(np.mean(known))
    metrics["joint"]["mean"]["ceiling"] = {"ideal_kendall": mean}
    return mean


def _reach(fields: Sequence[Field], columns: Sequence[Scores | Invalid], mode: str, seed: int) -> dict[str, Any]:
    """How well the proxy and the parameter count rank one part; figures are None where a score is unusable."""
    groups = [field.group for field in fields]
    fitness = Fitness(groups, mode)
    usable = [scores for scores in columns if not isinstance(scores, Invalid)]
    record: dict[str, Any] = {
        "n": _architectures(groups),
        "fitness": None,
        "fitness_params": _number(fitness.of_params()),
    }
    names = ("kendall", "kendall_ci", "difference", "difference_ci")
    if len(usable) < len(groups):
        return record | dict.fromkeys((*names, "params", "params_ci"))
    given = [(x, g.labels, np.array(g.numbers["params"])) for x, g in zip(usable, groups, strict=True)]
    found = joint_agreement(given, spaces=[group.space for group in groups], seed=seed).to_json()
    record["fitness"] = _number(fitness.joint(usable)[0])
    params = {"params": found["params"]["kendall"], "params_ci": found["params"]["kendall_ci"]}
    return record | {name: found[name] for name in names} | params


def _architectures(groups: Iterable[Group]) -> int:
    """Labelled ones, those of each space once."""
    labelled = {
        network
        for group in groups
        for i, network in enumerate(group.networks)
        if any(np.isfinite(labels[i]) for labels in group.labels.values())
    }
    return len(labelled)


def _likeness(groups: Sequence[Group], columns: Sequence[Scores | Invalid]) -> dict[str, float]:
    if any(isinstance(column, Invalid) for column in columns):
        return {}
    found = {}
    for text in SIZES:
        sizes = [group.population().score(parse_proxy(text)) for group in groups]
        taus = [
            kendall(x, y)
            for x, y in zip(columns, sizes, strict=True)
            if not isinstance(x, Invalid) and not isinstance(y, Invalid)
        ]
        if taus and np.isfinite(taus).all():
            found[text] = float(np.mean(taus))
    return dict(sorted(found.items(), key=lambda item: -abs(item[1])))


def _scores(field: Field, scores: Scores | Invalid) -> dict[str, Any]:
    record = {
        "space": field.group.space,
        "datasets": list(field.group.labels),
        "architectures": [key for _, key in field.group.networks],
    }
    if isinstance(scores, Invalid):
        return record | {"invalid": scores.reason}
    return record | {"scores": [float(score) for score in scores]}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
