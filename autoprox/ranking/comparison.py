"""Comparison of proxies on ground truth: the rows that ``autoprox rank`` shows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from autoprox.errors import InputError, MissingError
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features
from autoprox.measuring.capture import CaptureSettings, Network, settings_for
from autoprox.measuring.losses import lost_among
from autoprox.measuring.measure import measured_where_possible
from autoprox.measuring.shards import Shard
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Notice, Progress, Workers, silent
from autoprox.proxies.evaluation import Invalid, Population
from autoprox.proxies.known import BASELINES
from autoprox.proxies.proxy import Proxy, named, resolve_proxy
from autoprox.ranking.agreement import agreement
from autoprox.ranking.assessment import Assessor
from autoprox.ranking.correlations import LEAST_LABELS
from autoprox.ranking.evidence import Evidence
from autoprox.ranking.problem import Group

__all__ = [
    "SPLITS",
    "Comparison",
    "Row",
    "compare",
    "labelled",
    "measure_part",
    "measured_populations",
    "part_of",
    "with_baselines",
]

SPLITS = ("all", "test")
_FIGURES = ("kendall", "kendall_ci", "spearman", "pearson", "partial_kendall", "partial_kendall_ci", "kendall_params")

Row: TypeAlias = dict[str, Any]
"""One proxy on one data set of one space: proxy, space, dataset, label, n, kendall, kendall_ci, spearman, pearson,
partial_kendall, partial_kendall_ci, kendall_params (Kendall's tau of the proxy with the parameter count); unusable scores have
nulls there and the reason under invalid."""


@dataclass(frozen=True)
class Comparison:
    """How well proxies rank.

    Attributes:
        rows: by proxy, space and data set, in the order given.
        evidence: {proxy: all that is known about it}, of those with usable scores on every space and data set.
        lost: architectures that take part nowhere, since their processes died twice, and how.
    """

    rows: list[Row]
    evidence: dict[str, Evidence]
    lost: dict[Network, str]


def with_baselines(proxies: Sequence[Proxy]) -> list[Proxy]:
    """The proxies, each once and under a name of its own, and after them the baselines that are not among them."""
    every = named([*proxies, *map(resolve_proxy, BASELINES)])
    return [replace(proxy, label=name) for name, proxy in every.items()]


def compare(
    groups: Sequence[Group],
    proxies: Sequence[Proxy],
    settings: CaptureSettings,
    memo: Path,
    workers: Workers,
    *,
    split: str = "all",
    seed: int = 0,
    resamples: int = 2000,
    progress: Progress = silent,
) -> Comparison:
    """Measure how well proxies, and the baselines beside them, rank the architectures of each space and data set.

    Scores that are relative to a population are relative to the labelled architectures of one space. Without a data
    root one capture serves all data sets; with one, each data set has its own batch. A proxy over a statistic that some
    architecture of a space cannot have (the attention map of a layer without attention) is an unusable row with the
    reason; it neither ends the comparison nor is it ranked on the other architectures alone, which are another population.
    An architecture whose processes die twice is left out for all proxies alike, and ``n`` is that of the others.

    Args:
        groups: the ground truth, one group a space.
        proxies: what is ranked.
        settings: of the capture.
        memo: file of measured features; opened only if a proxy needs a network.
        workers: for the captures; not started if no proxy needs a network.
        split: ``all`` architectures, or those of the ``test`` part that none of the proxies was found on (a `Notice` says
            how many others there are).
        seed, resamples: of the bootstrap behind the intervals.
        progress: told about the captures.

    Raises:
        InputError: an unknown split, or fewer than three labelled architectures.
        MissingError: fewer than three are left.
    """
    asked, expressions, wanted, parts = _asked(groups, proxies, split)
    parts, populations, lost = measured_populations(parts, wanted, settings, memo, workers, progress)
    scores: list[dict[str, list[Any]]] = []
    for group, by_capture in zip(parts, populations, strict=True):
        made: dict[CaptureSettings, list[Any]] = {
            chosen: [population.score(e) for e in expressions] for chosen, population in by_capture.items()
        }
        scores.append({dataset: made[settings_for(settings, dataset)] for dataset in group.labels})
    assessor = Assessor(parts, seed=seed, resamples=resamples)
    rows: list[Row] = []
    evidence: dict[str, Evidence] = {}
    for i, proxy in enumerate(asked):
        columns = [{dataset: values[i] for dataset, values in of_group.items()} for of_group in scores]
        if not any(isinstance(column, Invalid) for group in columns for column in group.values()):
            evidence[proxy.label] = assessor.assess(columns)
        for group, column in zip(parts, columns, strict=True):
            for dataset, labels in group.labels.items():
                head = {
                    "proxy": proxy.label,
                    "space": group.space,
                    "dataset": dataset,
                    "label": group.label_kinds[dataset],
                    "n": int(np.isfinite(labels).sum()),
                }
                if proxy.label in evidence:
                    found = evidence[proxy.label].pairs[group.space, dataset].agreement.to_json()
                    rows.append(head | {name: found[name] for name in _FIGURES})
                else:
                    params = group.numbers["params"]
                    rows.append(head | _figures(column[dataset], labels, params, seed, resamples))
    return Comparison(rows, evidence, lost)


def measure_part(
    groups: Sequence[Group],
    proxies: Sequence[Proxy],
    settings: CaptureSettings,
    memo: Path,
    workers: Workers,
    shard: Shard,
    *,
    split: str = "all",
    progress: Progress = silent,
) -> tuple[int, int]:
    """Measure one part of the architectures that `compare` measures, into the memo; how many, and of how many."""
    _, _, wanted, parts = _asked(groups, proxies, split)
    shards = [group.take(shard.of(range(len(group.networks)))) for group in parts]
    lost: dict[Network, str] = {}
    for group in shards:
        for chosen in _captures(group, settings):
            lost.update(lost_among(group.networks, _values(group, wanted, chosen, memo, workers, progress)))
    done = sum(network not in lost for group in shards for network in group.networks)
    return done, sum(len(group.networks) for group in parts)


def _asked(
    groups: Sequence[Group], proxies: Sequence[Proxy], split: str
) -> tuple[list[Proxy], list[Expression], list[Expression], list[Group]]:
    """Proxies with the baselines, their canonical forms, the features of all of them, and what they are measured on."""
    if split not in SPLITS:
        raise InputError(f"the split is {split!r}; expected one of {', '.join(SPLITS)}")
    asked = with_baselines(proxies)
    expressions = [canonical(proxy.expression) for proxy in asked]
    wanted = list(dict.fromkeys(feature for e in expressions for feature in features(e)))
    return asked, expressions, wanted, [part_of(group, split, asked) for group in groups]


def part_of(group: Group, split: str, proxies: Sequence[Proxy]) -> Group:
    """What proxies are measured on: the labelled architectures of a split, those of ``test`` that none was found on.

    Raises:
        InputError: fewer than three have a label on some data set; names the split.
    """
    return labelled(group if split == "all" else _unseen(group.part("test"), proxies), split)


def _unseen(group: Group, proxies: Sequence[Proxy]) -> Group:
    """Without what one of the proxies was found on: where a table has grown, or with another split, that may be test here."""
    left = group
    for proxy in proxies:
        before, left = left, left.unless(proxy.seen(group.space))
        if count := len(before.networks) - len(left.networks):
            warnings.warn(
                f"{count} of the {len(group.networks)} test architectures of {group.space} are left out, since {proxy.label} was "
                "found on them",
                Notice,
                stacklevel=2,
            )
    return left


def labelled(group: Group, split: str) -> Group:
    """Without the architectures that have no label at all: nothing can be said about them.

    Raises:
        InputError: fewer than three have a label on some data set; names the split.
    """
    present = np.isfinite(np.stack(list(group.labels.values())))
    for dataset, there in zip(group.labels, present, strict=True):
        if (count := int(there.sum())) < LEAST_LABELS:
            raise InputError(
                f"{count} architectures of {group.space} ({split}) have a label on {dataset}; at least {LEAST_LABELS} needed"
            )
    return group.take(np.flatnonzero(present.any(axis=0)).tolist())


def measured_populations(
    groups: Sequence[Group],
    wanted: Sequence[Expression],
    settings: CaptureSettings,
    memo: Path,
    workers: Workers,
    progress: Progress,
) -> tuple[list[Group], list[dict[CaptureSettings, Population]], dict[Network, str]]:
    """Groups as populations with the wanted features, measured or remembered.

    Returns:
        The groups without the architectures whose processes died twice, whichever capture they died of; of each the population
        by every capture that its data sets call for; and {architecture that is left out: reason}.

    Raises:
        MissingError: fewer than three labelled architectures are left on some data set.
    """
    rows = [
        {chosen: _values(group, wanted, chosen, memo, workers, progress) for chosen in _captures(group, settings)}
        for group in groups
    ]
    lost: dict[Network, str] = {}
    for group, by_capture in zip(groups, rows, strict=True):
        for values in by_capture.values():
            lost.update(lost_among(group.networks, values))
    left, populations = [], []
    for group, by_capture in zip(groups, rows, strict=True):
        places = [i for i, network in enumerate(group.networks) if network not in lost]
        chosen = group.take(places)
        if len(places) < len(group.networks):
            _check_left(group, chosen, lost)
        left.append(chosen)
        populations.append(
            {capture: Population(chosen.numbers, [v[i] for i in places]) for capture, v in by_capture.items()}
        )
    return left, populations, lost


def _captures(group: Group, settings: CaptureSettings) -> list[CaptureSettings]:
    """Those that the data sets of a group call for; one that serves several is there once."""
    return list(dict.fromkeys(settings_for(settings, dataset) for dataset in group.labels))


def _values(
    group: Group,
    wanted: Sequence[Expression],
    settings: CaptureSettings,
    memo: Path,
    workers: Workers,
    progress: Progress,
) -> Sequence[Mapping[Expression, Any]]:
    if not wanted:
        return [{} for _ in group.networks]
    with FeatureStore(memo) as store:
        stage = f"capture {group.space}"
        return measured_where_possible(group.networks, wanted, settings, store, workers, progress, stage)


def _check_left(group: Group, left: Group, lost: Mapping[Network, str]) -> None:
    for dataset, column in left.labels.items():
        if (count := int(np.isfinite(column).sum())) < LEAST_LABELS:
            reason = next(lost[network] for network in group.networks if network in lost)
            raise MissingError(
                f"{count} of the {len(group.networks)} architectures of {group.space} with a label on {dataset} are left, since "
                f"the others could not be measured ({reason}); at least {LEAST_LABELS} needed: give the machine more memory, or "
                "use fewer --workers or a smaller --batch-size"
            )


def _figures(scores: Any, labels: Any, params: Sequence[float], seed: int, resamples: int) -> Row:
    if isinstance(scores, Invalid):
        return dict.fromkeys(_FIGURES) | {"invalid": scores.reason}
    found = agreement(scores, labels, params, seed=seed, resamples=resamples).to_json()
    return {name: found[name] for name in _FIGURES}
