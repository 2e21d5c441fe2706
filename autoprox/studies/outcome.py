"""The table of a study: what each method reaches under each design, and whether it is more than the others.

All trials of a design are judged together: an architecture that several of them test is drawn as often in all of them, so
intervals are right for splits that overlap and for data sets of the same architectures. Figures of a method are means over
its proxies (`Assessor.assess_method`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from scipy import stats

from autoprox.discovery.fields import Laboratory, fields_of, remaining
from autoprox.language.expression import Expression
from autoprox.language.text import to_text
from autoprox.measuring.capture import CaptureSettings
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.known import BASELINES
from autoprox.ranking.assessment import Assessor, Scores, sizes_of
from autoprox.ranking.correlations import kendall
from autoprox.ranking.problem import PARTS, Group, numbers_of
from autoprox.ranking.resampling import Floats
from autoprox.ranking.verdict import verdict
from autoprox.studies.plan import PRESETS, Plan
from autoprox.studies.trials import Trial

__all__ = ["Found", "rows_of"]


@dataclass(frozen=True)
class Found:
    """One proxy of a method in one trial; a text instead of it says why there is none. A given proxy has no seed."""

    method: str
    seed: int | None
    capture: CaptureSettings
    proxy: Expression | str


def rows_of(
    trials: Sequence[Trial], plan: Plan, found: Sequence[Sequence[Found]], laboratory: Laboratory
) -> list[dict[str, Any]]:
    """One row a design and method, in the order of the plan.

    Args:
        found: for each trial what every method has found, in the same order in all trials of one design.

    Returns:
        design, kind, method, ``unseen`` (true: no test architecture was read by evolution or selection, or nothing was chosen
        at all; None: the proxy was given, so that is not known), evaluations, trials, proxies, failed (reasons), then the
        figures on test: n (architectures), ``kendall``, ``difference`` (to the parameter count), ``partial_spearman`` (given
        it), each with ``_ci``; ``p``; ``params``; ``parts``: n, ``kendall`` and ``difference`` on discovery, selection and
        test; ``repetitions``: each proxy on its own; ``seeds_ci``: 95 % t interval of the mean of its differences; ``against``:
        {method: difference, its paired bootstrap interval over architectures, and ``seeds_ci``, Welch's t interval over
        seeds}; ``verdict`` in words. A method without a usable proxy has no figures.
    """
    rows = []
    paired = list(zip(trials, found, strict=True))
    for _, several in groupby(paired, key=lambda pair: (id(pair[0].plan), pair[0].design)):
        of_design = list(several)
        rows += _Design([trial for trial, _ in of_design], [what for _, what in of_design], laboratory).rows(plan)
    return rows


class _Design:
    def __init__(self, trials: Sequence[Trial], found: Sequence[Sequence[Found]], laboratory: Laboratory) -> None:
        self.trials, self.found, self.laboratory = trials, found, laboratory
        self.pools = {part: _pooled(trials, part) for part in PARTS}
        columns = {part: self._columns(part) for part in PARTS}
        if laboratory.lost:  # every proxy on the same networks: those that all of them could be measured on
            self.pools = {part: [remaining(g, laboratory.lost) for g in pool] for part, pool in self.pools.items()}
            columns = {part: self._columns(part) for part in PARTS}
        count = range(len(found[0]))
        self.failures = {i: reason for i in count if (reason := self._failure(i, columns))}
        self.usable: dict[str, list[int]] = {}
        for i in count:
            if i not in self.failures:
                self.usable.setdefault(found[0][i].method, []).append(i)
        self.scores = {
            part: {i: _joined(found, i) for i in count if i not in self.failures} for part, found in columns.items()
        }

    def _columns(self, part: str) -> list[list[dict[str, dict[str, Any]]]]:
        """For each trial, of each found proxy: {space: {column: scores or why there are none}} on the pooled networks."""
        result = []
        for trial, found in zip(self.trials, self.found, strict=True):
            groups = [_in_trial(self.pools[part], trial, group) for group in trial.parts()[part]]
            taken: list[dict[str, dict[str, Any]]] = [{} for _ in found]
            for capture in dict.fromkeys(one.capture for one in found):
                here = [i for i, one in enumerate(found) if one.capture == capture and not isinstance(one.proxy, str)]
                fields = fields_of(groups, capture)
                expressions = [one for i in here if not isinstance(one := found[i].proxy, str)]
                _, columns = self.laboratory.scores(expressions, fields, "measure what was found")
                for field, scores in zip(fields, columns, strict=True):
                    for i, column in zip(here, scores, strict=True):
                        named = {_named(trial, dataset): column for dataset in field.group.labels}
                        taken[i].setdefault(field.group.space, {}).update(named)
            result.append(taken)
        return result

    def _failure(self, i: int, columns: Mapping[str, Any]) -> str | None:
        for trial, found in zip(self.trials, self.found, strict=True):
            if isinstance(found[i].proxy, str):
                return f"{trial.name}: {found[i].proxy}" if trial.name else str(found[i].proxy)
        for part, of_trials in columns.items():
            for of_found in of_trials:
                for space, scores in of_found[i].items():
                    for column in scores.values():
                        if isinstance(column, Invalid):
                            return f"{space}, {part}: {column.reason}"
        return None

    def rows(self, plan: Plan) -> list[dict[str, Any]]:
        assessors = {part: self._assessor(part) for part in PARTS}
        return [self._row(method.name, assessors) for method in plan.methods]

    def _assessor(self, part: str) -> Assessor:
        groups = self.pools[part]
        methods = {
            name: [self._of_groups(part, i, groups) for i in numbers]
            for name, numbers in self.usable.items()
            if name != "params"
        }
        return Assessor(groups, {"params": sizes_of(groups)["params"]}, methods)

    def _of_groups(self, part: str, i: int, groups: Sequence[Group]) -> list[Scores]:
        return [self.scores[part][i][group.space] for group in groups]

    def _row(self, name: str, assessors: Mapping[str, Assessor]) -> dict[str, Any]:
        first, every = self.trials[0], [i for i, one in enumerate(self.found[0]) if one.method == name]
        failed = [self.failures[i] for i in every if i in self.failures]
        numbers = self.usable.get(name, [])
        row: dict[str, Any] = {
            "design": first.design,
            "kind": first.plan.kind,
            "method": name,
            "unseen": True if name in PRESETS or name in BASELINES else None,
            "evaluations": first.plan.evaluations if name in PRESETS else None,
            "trials": len(self.trials),
            "proxies": len(numbers),
            "failed": failed,
        }
        if not numbers:
            return row | {"verdict": [{"about": "scores", "text": "has no usable scores", "good": False}]}
        groups = self.pools["test"]
        parts = {}
        for part, assessor in assessors.items():
            counted = name == "params"  # a reference already
            found = assessor.assess(sizes_of(self.pools[part])[name]) if counted else assessor.assess_method(name)
            figures = found.joint.to_json()
            names = ("n", "kendall", "kendall_ci", "difference", "difference_ci")
            parts[part] = {key: figures[key] for key in names}
        taus = {other: self._taus(other) for other in self.usable}
        params = _tau(groups, sizes_of(groups)["params"])
        gains = taus[name] - params
        return row | {
            **parts["test"],
            **{key: figures[key] for key in ("partial_spearman", "partial_spearman_ci", "p")},
            "params": figures["params"]["kendall"],
            "params_ci": figures["params"]["kendall_ci"],
            "parts": parts,
            "repetitions": [
                {
                    "seed": self.found[0][i].seed,
                    "capture": self.found[0][i].capture.to_json(),
                    "kendall": float(tau),
                    "difference": float(tau - params),
                    "expressions": {t.name: _text(f[i].proxy) for t, f in zip(self.trials, self.found, strict=True)},
                }
                for i, tau in zip(numbers, taus[name], strict=True)
            ],
            "seeds_ci": _t_interval(gains),
            "against": {
                other: {key: figures["against"][other][key] for key in ("difference", "difference_ci")}
                | {"seeds_ci": _welch(taus[name], values)}
                for other, values in taus.items()
                if other in figures["against"] and other not in (name, "params")
            },
            "verdict": [finding.to_json() for finding in verdict(found.to_json())],
        }

    def _taus(self, name: str) -> Floats:
        """Mean tau on test of each proxy of a method."""
        groups = self.pools["test"]
        return np.array([_tau(groups, self._of_groups("test", i, groups)) for i in self.usable[name]])


def _pooled(trials: Sequence[Trial], part: str) -> list[Group]:
    """One group a space: every architecture of the part in any trial, with the labels of each trial as columns."""
    there: dict[str, list[tuple[Trial, Group]]] = {}
    for trial in trials:
        for group in trial.parts()[part]:
            there.setdefault(group.space, []).append((trial, group))
    pools = []
    for space, several in there.items():
        networks = tuple(dict.fromkeys(network for _, group in several for network in group.networks))
        place = {network: i for i, network in enumerate(networks)}
        labels, kinds = {}, {}
        for trial, group in several:
            rows = [place[network] for network in group.networks]
            for dataset, values in group.labels.items():
                column = labels[_named(trial, dataset)] = np.full(len(networks), np.nan)
                column[rows] = values
                kinds[_named(trial, dataset)] = group.label_kinds[dataset]
        pools.append(Group(space, networks, labels, kinds, numbers_of(networks)))
    return pools


def _named(trial: Trial, dataset: str) -> str:
    return f"{dataset} ({trial.name})" if trial.name else dataset


def _in_trial(pools: Sequence[Group], trial: Trial, group: Group) -> Group:
    """All pooled architectures of a space, with the data sets that a trial has there."""
    pool = next(pool for pool in pools if pool.space == group.space)
    return Group(
        pool.space,
        pool.networks,
        {dataset: pool.labels[_named(trial, dataset)] for dataset in group.labels},
        group.label_kinds,
        pool.numbers,
    )


def _joined(trials: Sequence[Sequence[dict[str, dict[str, Any]]]], i: int) -> dict[str, dict[str, Any]]:
    """The columns of one proxy of all trials: {space: {column: scores}}."""
    found: dict[str, dict[str, Any]] = {}
    for of_found in trials:
        for space, columns in of_found[i].items():
            found.setdefault(space, {}).update(columns)
    return found


def _tau(groups: Sequence[Group], scores: Sequence[Scores]) -> float:
    """Mean Kendall tau over all columns."""
    taus = []
    for group, given in zip(groups, scores, strict=True):
        for dataset, labels in group.labels.items():
            x = np.asarray(given[dataset] if isinstance(given, Mapping) else given, float)
            there = np.isfinite(labels)
            taus.append(kendall(x[there], labels[there]))
    return float(np.mean(taus))


def _t_interval(values: Floats) -> list[float] | None:
    """95 % of a mean over seeds; None for one, and where all are equal."""
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    low, high = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return [float(low), float(high)]


def _welch(mine: Floats, other: Floats) -> list[float] | None:
    """95 % of the difference of two means over seeds; None where one method has a single proxy."""
    if min(len(mine), len(other)) < 2 or np.ptp(mine) == np.ptp(other) == 0:
        return None
    low, high = stats.ttest_ind(mine, other, equal_var=False).confidence_interval()
    return [float(low), float(high)]


def _text(proxy: Expression | str) -> str:
    return proxy if isinstance(proxy, str) else to_text(proxy)
