"""A discovered proxy on every architecture of its ground truth: what a report draws and a proxy file does not have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoprox.discovery.fields import Field, Laboratory, fields_of
from autoprox.errors import InputError
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression
from autoprox.language.text import parse_proxy
from autoprox.measuring.capture import CaptureSettings, Network
from autoprox.measuring.workers import Progress, Workers
from autoprox.proxies.evaluation import Invalid
from autoprox.ranking.agreement import Agreement, joint_agreement
from autoprox.ranking.fitness import FITNESS, Fitness
from autoprox.ranking.problem import PARTS, Group, split_hash
from autoprox.report.architectures import choices
from autoprox.report.pages.runs import Run

__all__ = ["Panel", "Scored", "Truth", "scored"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

_STAGE = "measure for the report"
_SEEN = ("discovery", "selection")
_FRONT: dict[str, tuple[str, ...]] = {
    "both": ("discovery", "selection"), "discovery": ("discovery",), "selection": ("selection",),
}  # fmt: skip
"""Where finalists are measured; the test part is the winner's alone."""


@dataclass(frozen=True)
class Truth:
    """The ground truth of a run, as it can be found now.

    Attributes:
        groups: one a space, not shuffled.
        capture: settings of the measurements.
        benchmarks: name and content hash of each table.
    """

    groups: Sequence[Group]
    capture: CaptureSettings
    benchmarks: Sequence[Mapping[str, str]]

    def check(self, run: Run) -> None:
        """InputError where it is not what the run was made with."""
        found: dict[str, Any] = {
            "benchmarks": [dict(table) for table in self.benchmarks],
            "labels": {group.space: group.label_kinds for group in self.groups},
            "split": split_hash(self.groups),
            "capture": self.capture.to_json(),
        }
        for name, value in json.loads(json.dumps(found)).items():
            if run.settings.get(name) != value:
                raise InputError(f"the {name} of the ground truth found now are not those of the run")

    def fields(self, run: Run) -> list[Field]:
        """What the run was measured on, its labels shuffled as a null run shuffles them."""
        groups = list(self.groups)
        if run.settings.get("null"):
            rng = np.random.default_rng(run.seed)
            groups = [group.shuffled(rng) for group in groups]
        return fields_of(groups, self.capture)

    def size(self, part: str) -> int:
        """How many architectures are in a part of the split."""
        return sum(len(group.part(part).networks) for group in self.groups)

    def of_params(self, run: Run) -> float:
        """The fitness of counting parameters on the discovery architectures."""
        groups = [field.part("discovery").group for field in self.fields(run)]
        mode = run.settings.get("fitness")
        if mode not in FITNESS:
            raise InputError(f"the settings of {run.path} are damaged: there is no fitness {mode!r}")
        return Fitness(groups, mode).of_params()


@dataclass(frozen=True)
class Panel:
    """All architectures of one space with their accuracies on one data set.

    Attributes:
        label: the kind of accuracy.
        architectures: their choices, to be read.
        parts: the part of the split that each is in.
        scores: (n,) NaN where the proxy has none.
        accuracies: (n,) in percent, NaN where missing.
        params: (n,)
    """

    space: str
    dataset: str
    label: str
    architectures: tuple[str, ...]
    parts: tuple[str, ...]
    scores: Floats
    accuracies: Floats
    params: Floats


@dataclass(frozen=True)
class Scored:
    """What was computed anew.

    Attributes:
        panels: one a (space, data set).
        reach: how well the proxy ranks each part of the split; None where its scores are unusable there.
        front: the same of each expression of the front, on ``discovery``, on ``selection`` and on ``both`` together.
        lost: networks that are in none of these, and why.
    """

    panels: tuple[Panel, ...]
    reach: Mapping[str, Agreement | None]
    front: Mapping[str, Mapping[str, Agreement | None]]
    lost: Mapping[Network, str]


def scored(
    run: Run,
    proxy: Expression,
    front: Sequence[str],
    truth: Truth,
    home: Path,
    workers: Workers,
    progress: Progress,
    lost: Mapping[Network, str],
) -> Scored:
    """Score all architectures by a run's proxy; features that are in the memo are not measured again.

    Args:
        front: expressions of the Pareto front.
        home: where measured features are kept.
        lost: networks that the run has left out, and why: they are left out here as well.

    Raises:
        InputError: the ground truth is not that of the run, or something cannot be measured.
        MissingError: the memo or an image cannot be read, or too few networks are left.
    """
    truth.check(run)
    fields = truth.fields(run)
    laboratory = Laboratory(home, workers, progress, dict(lost))
    winner, members = [canonical(proxy)], [canonical(parse_proxy(text)) for text in front]
    for expressions, there in ((winner, PARTS), (members, _SEEN)):  # afterwards it is known which networks are left
        laboratory.scores(expressions, [f.part(*there) for f in fields], _STAGE)
    columns = {part: _columns(laboratory, winner, [f.part(part) for f in fields])[0] for part in PARTS}
    found: dict[str, dict[str, Agreement | None]] = {text: {} for text in front}
    for done, (name, parts) in enumerate(_FRONT.items() if front else ()):
        known = laboratory.left([f.part(*parts) for f in fields])
        for text, scores in zip(front, _columns(laboratory, members, known), strict=True):
            found[text][name] = _agreement(known, scores, run.seed)
        progress("intervals", done + 1, len(_FRONT))
    return Scored(
        panels=tuple(panel for i, field in enumerate(fields) for panel in _panels(field, i, columns, laboratory)),
        reach={
            part: _agreement(laboratory.left([f.part(part) for f in fields]), columns[part], run.seed) for part in PARTS
        },
        front=found,
        lost=laboratory.lost,
    )


def _columns(
    laboratory: Laboratory, expressions: Sequence[Expression], fields: Sequence[Field]
) -> list[list[Floats | Invalid]]:
    """For each expression the scores of each field's networks."""
    _, found = laboratory.scores(expressions, fields, _STAGE)
    return [[column[i] for column in found] for i in range(len(expressions))]


def _agreement(fields: Sequence[Field], columns: Sequence[Floats | Invalid], seed: int) -> Agreement | None:
    usable = [
        (column, field.group.labels, np.array(field.group.numbers["params"]))
        for field, column in zip(fields, columns, strict=True)
        if not isinstance(column, Invalid)
    ]
    if len(usable) < len(fields):
        return None
    return joint_agreement(usable, spaces=[field.group.space for field in fields], seed=seed)


def _panels(
    field: Field, number: int, columns: Mapping[str, Sequence[Floats | Invalid]], laboratory: Laboratory
) -> list[Panel]:
    """One a data set of the field; the parts one after the other."""
    groups = {part: laboratory.left([field.part(part)])[0].group for part in PARTS}
    scores = []
    for part, group in groups.items():
        column = columns[part][number]
        scores.append(np.full(len(group.networks), np.nan) if isinstance(column, Invalid) else column)
    networks = [network for group in groups.values() for network in group.networks]
    return [
        Panel(
            space=field.group.space,
            dataset=dataset,
            label=field.group.label_kinds[dataset],
            architectures=tuple(choices(json.loads(key)) for _, key in networks),
            parts=tuple(part for part, group in groups.items() for _ in group.networks),
            scores=np.concatenate(scores),
            accuracies=np.concatenate([group.labels[dataset] for group in groups.values()]),
            params=np.array([value for group in groups.values() for value in group.numbers["params"]]),
        )
        for dataset in field.group.labels
    ]
