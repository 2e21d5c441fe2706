"""What candidates are measured on: groups of architectures, each with the captures that its labels call for."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from autoprox.discovery.evolution import CORE, Vocabulary
from autoprox.errors import MissingError
from autoprox.files import clipped
from autoprox.language.expression import Expression, features
from autoprox.language.text import parse
from autoprox.measuring.capture import CaptureSettings, Network, settings_for
from autoprox.measuring.losses import lost_among
from autoprox.measuring.measure import measured
from autoprox.measuring.screening import SAMPLES, Screen, take_samples
from autoprox.measuring.store import MEMO, FeatureStore
from autoprox.measuring.workers import Notice, Progress, Workers
from autoprox.proxies.evaluation import Invalid, Scores
from autoprox.ranking.problem import LEAST_IN_PART, Group, tells

__all__ = ["Field", "Laboratory", "PostponedError", "fields_of", "remaining"]


LOGITS = parse("l2(net.output)")
"""What is not finite on a network whose weights, or activations on the batch, are not."""


@dataclass(frozen=True)
class Field:
    """Architectures of one space with the labels that one capture serves."""

    group: Group
    settings: CaptureSettings

    def part(self, *names: str) -> Field:
        """The architectures of some parts of the split."""
        return Field(self.group.part(*names), self.settings)


def remaining(group: Group, lost: Mapping[Network, str]) -> Group:
    """The architectures of a part of the split that are not lost.

    Raises:
        MissingError: so many are that the rest cannot be ranked.
    """
    rows = [i for i, network in enumerate(group.networks) if network not in lost]
    count = len(group.networks) - len(rows)
    if not count:
        return group
    left = group.take(rows)
    if len(rows) < LEAST_IN_PART or not all(map(tells, left.labels.values())):
        reason = next(lost[network] for network in group.networks if network in lost)
        raise MissingError(
            f"{count} of the {len(group.networks)} architectures of {group.space} in one part of the split could not be "
            f"measured ({reason}); at least {LEAST_IN_PART} with different labels are needed there: leave the space out, or "
            "where memory is short use fewer --workers or a smaller --batch-size"
        )
    return left


def fields_of(groups: Iterable[Group], capture: CaptureSettings) -> list[Field]:
    """One field a group, or one a data set where each data set has its own images."""
    if capture.data_root is None:
        return [Field(group, capture) for group in groups]
    return [
        Field(replace(group, labels={dataset: column}), settings_for(capture, dataset))
        for group in groups
        for dataset, column in group.labels.items()
    ]


class PostponedError(Exception):
    """What a laboratory that postpones has been asked for and does not know yet."""

    def __init__(self, expressions: Sequence[Expression], fields: Sequence[Field]) -> None:
        super().__init__(f"expressions not measured yet: {len(expressions)}")
        self.expressions, self.fields = tuple(expressions), tuple(fields)


@dataclass(frozen=True)
class Laboratory:
    """Measures fields: on samples for screening, or exactly. Both are kept in ``home`` and shared by all runs.

    Attributes:
        postpone: raise `PostponedError` instead of measuring anything exactly, so that several runs can be measured at once.
        lost: networks whose processes died twice, or whose logits are not finite, and which of it: nothing measures them any
            more. Grows as it works.
    """

    home: Path
    workers: Workers
    progress: Progress
    lost: dict[Network, str] = field(default_factory=dict)
    postpone: bool = False

    def left(self, fields: Sequence[Field]) -> list[Field]:
        """The fields without the lost networks; raises as `remaining` does."""
        return [Field(remaining(one.group, self.lost), one.settings) for one in fields]

    def screens(self, fields: Sequence[Field], words: Vocabulary) -> tuple[list[Field], list[Screen]]:
        """What is left of every field, and samples of that."""
        if len(fields) > 1:  # all at once, so that no worker waits for the end of a field
            self.sample(fields, words)
        while True:
            lost, left = len(self.lost), self.left(fields)
            screens = [self._sample(one.group.networks, words, one.settings) for one in left]
            with FeatureStore(self.home / MEMO) as store:
                for one, screen in zip(left, screens, strict=True):
                    suspects = [one.group.networks[i] for i in screen.not_finite()]
                    self._check(suspects, one.settings, store, self.progress)
            if len(self.lost) == lost:
                return left, screens

    def sample(self, fields: Sequence[Field], words: Vocabulary) -> None:
        """Take the samples that are missing."""
        for settings, networks in _by_settings(fields).items():
            if left := [network for network in networks if network not in self.lost]:
                self._sample(left, words, settings)

    def _sample(self, networks: Sequence[Network], words: Vocabulary, settings: CaptureSettings) -> Screen:
        # a folder for each vocabulary: runs of both at once do not replace each other's files, and no number of one can
        # depend, in its last bits, on what the other has captured beside it
        folder = self.home / SAMPLES if words.name == CORE.name else self.home / SAMPLES / words.name
        return take_samples(networks, words.terminals, settings, folder, self.workers, self.progress, self.lost)

    def scores(
        self, expressions: Sequence[Expression], fields: Sequence[Field], stage: str
    ) -> tuple[list[Field], list[list[Scores | Invalid]]]:
        """Exact scores: what is left of every field, and for each field, of each expression, the scores of these networks."""

        def later(*_: object) -> NoReturn:
            raise PostponedError(expressions, fields)

        progress = later if self.postpone else self.progress  # is called where something is to be measured
        wanted = list(dict.fromkeys(feature for e in expressions for feature in features(e)))
        columns = []
        with FeatureStore(self.home / MEMO) as store:
            for settings, networks in _by_settings(fields).items():
                tried = [network for network in networks if network not in self.lost]
                rows = measured(tried, wanted, settings, store, self.workers, progress, stage)
                self.lost.update(lost_among(tried, rows))
                there = [pair for pair in zip(tried, rows, strict=True) if pair[0] not in self.lost]
                suspects = [network for network, row in there if not all(np.isfinite(x).all() for x in row.values())]
                self._check(suspects, settings, store, progress)
            left = self.left(fields)
            for one in left:
                population = one.group.population()
                rows = measured(one.group.networks, wanted, one.settings, store, self.workers)
                population.add({feature: [row[feature] for row in rows] for feature in wanted})
                columns.append([population.score(e, strict=True) for e in expressions])
        return left, columns

    def _check(
        self, networks: Sequence[Network], settings: CaptureSettings, store: FeatureStore, progress: Progress
    ) -> None:
        """Leave out those of some networks that are broken, rather than every proxy that reads what overflows on them."""
        rows = measured(networks, [LOGITS], settings, store, self.workers, progress, "check networks")
        self.lost.update(lost_among(networks, rows))
        broken = [network for network, row in zip(networks, rows, strict=True) if not np.isfinite(row[LOGITS]).all()]
        for network in broken:
            self.lost[network] = "its logits are not finite"
            warnings.warn(f"{clipped(' '.join(network))} is left out: {self.lost[network]}", Notice, stacklevel=2)


def _by_settings(fields: Sequence[Field]) -> dict[CaptureSettings, list[Network]]:
    """All networks that share a capture in one list, so that no worker waits for the end of a field."""
    found: dict[CaptureSettings, dict[Network, None]] = {}
    for one in fields:
        found.setdefault(one.settings, {}).update(dict.fromkeys(one.group.networks))
    return {settings: list(networks) for settings, networks in found.items()}
