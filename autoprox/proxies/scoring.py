"""Scores of architectures by one proxy: each on its own, unless the proxy itself compares them with each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features, is_relative
from autoprox.measuring.capture import CaptureSettings, Network
from autoprox.measuring.losses import Lost, lost_in
from autoprox.measuring.measure import BlockValues, measured
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.proxies.evaluation import CONSTANT, Invalid, Population
from autoprox.ranking.problem import numbers_of
from autoprox.spaces.architecture_file import load_architecture

__all__ = ["Judge", "Measurement", "Scorer", "is_constant", "score_architectures"]


@dataclass(frozen=True)
class Measurement:
    """All that a proxy needs to know about one network.

    Attributes:
        numbers: {architecture number: value}.
        values: {feature: (blocks,)}, or `Lost` where its processes died.
        alone: what the proxy makes of this network without any other: its score, or why it has none. Only for a
            population-relative proxy does the score depend on more than this.
    """

    network: Network
    numbers: dict[str, float]
    values: BlockValues
    alone: float | Invalid

    @property
    def lost(self) -> str | None:
        """Why its processes were given up."""
        return lost_in(self.values)


class Judge:
    """A proxy that scores networks whose features are known."""

    def __init__(self, proxy: Expression) -> None:
        self.proxy = canonical(proxy)
        self.features = features(self.proxy)
        self.relative = is_relative(self.proxy)
        self._parts = _parts(self.proxy)

    def alone(self, network: Population) -> float | Invalid:
        """The score of a population of one network, or why it has none; of a relative proxy its last part."""
        value = math.nan
        for part in self._parts:
            score = network.score(part)
            if isinstance(score, Invalid):
                return Invalid("not finite")
            value = float(score[0])
        return value

    def scores(self, measurements: Sequence[Measurement]) -> list[float | Invalid]:
        """Score networks of one space, in order.

        A population-relative proxy (ranks, z-scores between networks) compares the given networks with each other;
        those that are not finite on their own take no part in it.
        """
        if not self.relative:
            return [m.alone for m in measurements]
        valid = [m for m in measurements if not isinstance(m.alone, Invalid)]
        if not valid:
            return [m.alone for m in measurements]
        population = Population(
            {name: [m.numbers[name] for m in valid] for name in valid[0].numbers}, [m.values for m in valid]
        )
        together = population.score(self.proxy)
        if isinstance(together, Invalid):
            return [m.alone if isinstance(m.alone, Invalid) else together for m in measurements]
        found = iter(together.tolist())
        return [m.alone if isinstance(m.alone, Invalid) else next(found) for m in measurements]


class Scorer(Judge):
    """A proxy with what it takes to score networks of one space."""

    def __init__(self, proxy: Expression, settings: CaptureSettings, store: FeatureStore, workers: Workers) -> None:
        super().__init__(proxy)
        self._settings, self._store, self._workers = settings, store, workers

    def measure(
        self, networks: Sequence[Network], progress: Progress = silent, lost: Mapping[Network, str] | None = None
    ) -> list[Measurement]:
        """Take the proxy's features of networks, from the memo where they are known.

        A proxy that only counts (params, depth) builds no network. ``lost`` has networks that are known to have no score, and
        why: they are not tried again.
        """
        rows: list[BlockValues] = [{} for _ in networks]
        if self.features:
            given_up: dict[Network, Any] = {
                network: dict.fromkeys(self.features, Lost(reason)) for network, reason in (lost or {}).items()
            }
            tried = [network for network in networks if network not in given_up]
            found = measured(tried, self.features, self._settings, self._store, self._workers, progress)
            known = given_up | dict(zip(tried, found, strict=True))
            rows = [known[network] for network in networks]
        measurements = []
        for network, values in zip(networks, rows, strict=True):
            columns = numbers_of([network], self._settings.classes)
            reason = lost_in(values)
            alone = self.alone(Population(columns, [values])) if reason is None else Invalid(reason)
            numbers = {name: column[0] for name, column in columns.items()}
            measurements.append(Measurement(network, numbers, values, alone))
        return measurements


def _parts(proxy: Expression) -> list[Expression]:
    """The largest sub-expressions at score level that do not depend on other networks; often the proxy itself."""
    if not is_relative(proxy):
        return [proxy]
    return [part for arg in proxy.args for part in _parts(arg)]


def is_constant(scores: Sequence[float]) -> bool:
    """Whether finite scores differ by no more than the noise of arithmetic."""
    return max(scores) - min(scores) <= CONSTANT * max(abs(max(scores)), abs(min(scores)))


def score_architectures(
    proxy: Expression,
    models: Sequence[str | Network],
    settings: CaptureSettings,
    store: FeatureStore,
    workers: Workers,
    progress: Progress = silent,
) -> list[tuple[str, float | Invalid]]:
    """Score architecture files, or (space, architecture key) pairs.

    Models of one space are one population: a population-relative proxy (rank, z-score) compares each model with the
    given models of its space and with nothing else, so that its scores change with the company.

    Returns:
        For each model, in order, its name (the text given; ``space key`` for a pair) and its score.

    Raises:
        InputError: a model is no architecture file.
    """
    networks = [model if isinstance(model, tuple) else load_architecture(Path(model)).network for model in models]
    names = [" ".join(model) if isinstance(model, tuple) else model for model in models]
    scorer = Scorer(proxy, settings, store, workers)
    distinct = list(dict.fromkeys(networks))
    known: dict[Network, float | Invalid] = {}
    taken = dict(zip(distinct, scorer.measure(distinct, progress), strict=True))
    for space in dict.fromkeys(space for space, _ in distinct):
        group = [taken[network] for network in distinct if network[0] == space]
        known.update(zip((m.network for m in group), scorer.scores(group), strict=True))
    return [(name, known[network]) for name, network in zip(names, networks, strict=True)]
