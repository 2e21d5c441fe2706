"""What a discovery is told, what it tells while it runs, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from autoprox.discovery.evolution import CORE, VOCABULARIES, Vocabulary, extended
from autoprox.discovery.genotypes import STRUCTURES
from autoprox.errors import InputError, check_least
from autoprox.measuring.capture import CaptureSettings
from autoprox.proxies.proxy import Proxy
from autoprox.ranking.fitness import FITNESS, Pair

__all__ = ["PRESETS", "Discovery", "DiscoverySettings", "Standing"]

PRESETS = ("pareto", "auto-prox", "random")


@dataclass(frozen=True)
class DiscoverySettings:
    """All that decides the result besides the ground truth.

    Attributes:
        preset: ``pareto``, typed genetic programming over free graphs; ``auto-prox``, the published algorithm; ``random``,
            the candidates that ``pareto`` begins with and no evolution, to compare with.
        structure: of ``auto-prox``.
        fitness: see ``autoprox.ranking.fitness.FITNESS``.
        evaluations: distinct candidates to judge.
        finalists: how many of the best candidates are measured exactly.
        null: deal out the labels anew first, to see what luck alone reaches.
        vocabulary: of ``pareto`` and ``random``, what candidates are made of; see ``autoprox.discovery.evolution.VOCABULARIES``.
    """

    preset: str = "pareto"
    structure: str = "tree"
    fitness: str = "mean"
    evaluations: int = 10_000
    seed: int = 0
    finalists: int = 32
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    null: bool = False
    vocabulary: str = "core"

    @property
    def words(self) -> Vocabulary:
        """The vocabulary itself, with what a user has added to it."""
        return extended(VOCABULARIES[self.vocabulary])

    def check(self) -> None:
        """Raise InputError where a setting does not exist or is out of range."""
        for name, value, known in (
            ("preset", self.preset, PRESETS),
            ("structure", self.structure, STRUCTURES),
            ("fitness", self.fitness, FITNESS),
            ("vocabulary", self.vocabulary, tuple(VOCABULARIES)),
        ):
            if value not in known:
                raise InputError(f"there is no {name} {value!r}; choose one of {', '.join(known)}")
        if self.structure != "tree" and self.preset != "auto-prox":
            raise InputError(
                f"the structure {self.structure} belongs to the preset auto-prox, and the preset is {self.preset}; choose "
                "--preset auto-prox, or leave --structure out"
            )
        if self.vocabulary != CORE.name and self.preset == "auto-prox":
            raise InputError(
                f"the vocabulary {self.vocabulary} belongs to the preset pareto, and the preset is {self.preset}, whose "
                "inputs are those of core; choose --preset pareto, or leave --vocabulary out"
            )
        check_least("number of evaluations", self.evaluations, 1)
        check_least("batch size", self.capture.batch_size, 1)
        check_least("seed", self.seed, 0)

    def to_json(self) -> dict[str, Any]:
        record = {**asdict(self), "capture": self.capture.to_json()}
        if self.vocabulary == CORE.name:  # a run of a version that knew no other is the same run
            del record["vocabulary"]
        return record


@dataclass(frozen=True)
class Standing:
    """Where a run stands, for a display.

    Attributes:
        stage: what is going on.
        generation, evaluations, total, invalid: steps, distinct candidates judged, to judge, and without a score.
        best, value, taus: the best candidate so far, its fitness and its Kendall tau on each (space, data set).
        params_value, params_taus: the same for the parameter count.
        front: (complexity, fitness, expression), simplest first.
        elapsed, eta: seconds.
    """

    stage: str
    generation: int
    evaluations: int
    total: int
    invalid: int
    best: str
    value: float
    taus: Mapping[Pair, float]
    params_value: float
    params_taus: Mapping[Pair, float]
    front: Sequence[tuple[int, float, str]]
    elapsed: float
    eta: float | None


@dataclass(frozen=True)
class Discovery:
    """The outcome: the chosen proxy with its metrics, and a JSON summary of how it was chosen."""

    proxy: Proxy
    summary: dict[str, Any]
