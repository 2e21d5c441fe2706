"""What candidates are measured on: groups of architectures, each with the captures that its labels call for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from autoprox.discovery.evolution import CORE, Vocabulary
from autoprox.language.expression import Expression, features
from autoprox.measuring.capture import CaptureSettings, Network, settings_for
from autoprox.measuring.measure import measured
from autoprox.measuring.screening import SAMPLES, Screen, take_samples
from autoprox.measuring.store import MEMO, FeatureStore
from autoprox.measuring.workers import Progress, Workers
from autoprox.proxies.evaluation import Invalid, Scores
from autoprox.ranking.problem import Group

__all__ = ["Field", "Laboratory", "PostponedError", "fields_of"]


@dataclass(frozen=True)
class Field:
    """Architectures of one space with the labels that one capture serves."""

    group: Group
    settings: CaptureSettings

    def part(self, *names: str) -> Field:
        """The architectures of some parts of the split."""
        return Field(self.group.part(*names), self.settings)


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
        super().__init__(f"{len(expressions)} expressions are not measured yet")
        self.expressions, self.fields = tuple(expressions), tuple(fields)


@dataclass(frozen=True)
class Laboratory:
    """Measures fields: on samples for screening, or exactly. Both are kept in ``home`` and shared by all runs.

    Attributes:
        postpone: raise `PostponedError` instead of measuring anything exactly, so that several runs can be measured at once.
    """

    home: Path
    workers: Workers
    progress: Progress
    postpone: bool = False

    def screens(self, fields: Sequence[Field], words: Vocabulary) -> list[Screen]:
        """Samples of every field's networks."""
        self.sample(fields, words)
        return [self._sample(field.group.networks, words, field.settings) for field in fields]

    def sample(self, fields: Sequence[Field], words: Vocabulary) -> None:
        """Take the samples that are missing."""
        for settings, networks in _by_settings(fields).items():
            self._sample(networks, words, settings)

    def _sample(self, networks: Sequence[Network], words: Vocabulary, settings: CaptureSettings) -> Screen:
        # a folder for each vocabulary: runs of both at once do not replace each other's files, and no number of one can
        # depend, in its last bits, on what the other has captured beside it
        folder = self.home / SAMPLES if words.name == CORE.name else self.home / SAMPLES / words.name
        return take_samples(networks, words.terminals, settings, folder, self.workers, self.progress)

    def scores(
        self, expressions: Sequence[Expression], fields: Sequence[Field], stage: str
    ) -> list[list[Scores | Invalid]]:
        """Exact scores: for each field, of each expression, those of the field's networks."""

        def later(*_: object) -> NoReturn:
            raise PostponedError(expressions, fields)

        progress = later if self.postpone else self.progress  # is called where something is to be measured
        wanted = list(dict.fromkeys(feature for e in expressions for feature in features(e)))
        columns = []
        with FeatureStore(self.home / MEMO) as store:
            for settings, networks in _by_settings(fields).items():
                measured(networks, wanted, settings, store, self.workers, progress, stage)
            for field in fields:
                population = field.group.population()
                rows = measured(field.group.networks, wanted, field.settings, store, self.workers)
                population.add({feature: [row[feature] for row in rows] for feature in wanted})
                columns.append([population.score(e, strict=True) for e in expressions])
        return columns


def _by_settings(fields: Sequence[Field]) -> dict[CaptureSettings, list[Network]]:
    """All networks that share a capture in one list, so that no worker waits for the end of a field."""
    found: dict[CaptureSettings, dict[Network, None]] = {}
    for field in fields:
        found.setdefault(field.settings, {}).update(dict.fromkeys(field.group.networks))
    return {settings: list(networks) for settings, networks in found.items()}
