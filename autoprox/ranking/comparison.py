"""Comparison of proxies on ground truth: the rows that ``autoprox rank`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from autoprox.errors import InputError
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features
from autoprox.measuring.capture import CaptureSettings, settings_for
from autoprox.measuring.measure import measured
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.proxies.evaluation import Invalid, Population
from autoprox.proxies.known import BASELINES
from autoprox.proxies.proxy import Proxy, resolve_proxy
from autoprox.ranking.agreement import agreement
from autoprox.ranking.problem import Group

__all__ = ["SPLITS", "Row", "compare", "with_baselines"]

SPLITS = ("all", "test")
_LEAST = 3  # labels that rank statistics need

Row: TypeAlias = dict[str, Any]
"""One proxy on one data set of one space: proxy, space, dataset, label, n, kendall, kendall_ci, spearman, pearson,
partial_kendall, kendall_params (Kendall's tau of the proxy with the parameter count); unusable scores have nulls there
and the reason under invalid."""


def with_baselines(proxies: Sequence[Proxy]) -> list[Proxy]:
    """The proxies, each once, and after them the baselines that are not among them."""
    every = {proxy.label: proxy for proxy in proxies}
    return [*every.values(), *(resolve_proxy(name) for name in BASELINES if name not in every)]


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
) -> list[Row]:
    """Measure how well proxies, and the baselines beside them, rank the architectures of each space and data set.

    Scores that are relative to a population are relative to the labelled architectures of one space. Without a data
    root one capture serves all data sets; with one, each data set has its own batch.

    Args:
        groups: the ground truth, one group a space.
        proxies: what is ranked.
        settings: of the capture.
        memo: file of measured features; opened only if a proxy needs a network.
        workers: for the captures; not started if no proxy needs a network.
        split: ``all`` architectures, or those of the ``test`` part.
        seed, resamples: of the bootstrap behind the intervals.
        progress: told about the captures.

    Returns:
        Rows by proxy, space and data set, in the order given.

    Raises:
        InputError: an unknown split, or fewer than three labelled architectures.
    """
    if split not in SPLITS:
        raise InputError(f"the split is {split!r}; expected one of {', '.join(SPLITS)}")
    asked = with_baselines(proxies)
    expressions = [canonical(proxy.expression) for proxy in asked]
    wanted = list(dict.fromkeys(feature for e in expressions for feature in features(e)))
    table: dict[int, list[Row]] = {i: [] for i in range(len(asked))}
    for whole in groups:
        group = _labelled(whole.part("test") if split == "test" else whole, split)
        scored: dict[CaptureSettings, list[Any]] = {}
        for dataset, labels in group.labels.items():
            chosen = settings_for(settings, dataset)
            if chosen not in scored:
                population = _population(group, wanted, chosen, memo, workers, progress)
                scored[chosen] = [population.score(expression) for expression in expressions]
            for i, scores in enumerate(scored[chosen]):
                head = {
                    "proxy": asked[i].label,
                    "space": group.space,
                    "dataset": dataset,
                    "label": group.label_kinds[dataset],
                    "n": int(np.isfinite(labels).sum()),
                }
                table[i].append(head | _figures(scores, labels, group.numbers["params"], seed, resamples))
    return [row for rows in table.values() for row in rows]


def _labelled(group: Group, split: str) -> Group:
    """Without the architectures that have no label at all: nothing can be said about them."""
    present = np.isfinite(np.stack(list(group.labels.values())))
    for dataset, there in zip(group.labels, present, strict=True):
        if (count := int(there.sum())) < _LEAST:
            raise InputError(
                f"{count} architectures of {group.space} ({split}) have a label on {dataset}; at least {_LEAST} needed"
            )
    return group.take(np.flatnonzero(present.any(axis=0)).tolist())


def _population(
    group: Group,
    wanted: Sequence[Expression],
    settings: CaptureSettings,
    memo: Path,
    workers: Workers,
    progress: Progress,
) -> Population:
    if not wanted:
        return group.population()
    with FeatureStore(memo) as store:
        values = measured(group.networks, wanted, settings, store, workers, progress, f"capture {group.space}")
    return Population(group.numbers, values)


def _figures(scores: Any, labels: Any, params: Sequence[float], seed: int, resamples: int) -> Row:
    names = ("kendall", "kendall_ci", "spearman", "pearson", "partial_kendall", "kendall_params")
    if isinstance(scores, Invalid):
        return dict.fromkeys(names) | {"invalid": scores.reason}
    found = agreement(scores, labels, params, seed=seed, resamples=resamples).to_json()
    return {name: found[name] for name in names}
