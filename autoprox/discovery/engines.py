"""The loops of discovery: all propose candidates and learn from verdicts; their whole state is JSON."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from autoprox.discovery.evolution import (
    CORE,
    Individual,
    Vocabulary,
    breed,
    expressible,
    random_expression,
    survivors,
)
from autoprox.discovery.genotypes import Genotype, mutate, random_genotype
from autoprox.discovery.judging import Verdict
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, complexity, features
from autoprox.language.text import parse, to_text

__all__ = ["AutoProxEngine", "Engine", "ParetoEngine", "RandomEngine", "best_of", "pareto_front"]

Lookup = Callable[[Expression], Verdict | None]


class Engine(ABC):
    """Ask for candidates, tell the verdicts, again and again.

    Args:
        rng: the run's generator; its state is part of ``state``.
        known: the verdict on an expression, if there is one; such a candidate costs nothing.
        words: what candidates are made of.
    """

    def __init__(self, rng: random.Random, known: Lookup, words: Vocabulary = CORE) -> None:
        self.rng, self.known, self.words = rng, known, words
        self.generation = 0

    @abstractmethod
    def propose(self) -> list[Expression]:
        """New canonical candidates, at least one."""

    @abstractmethod
    def accept(self, verdicts: Sequence[Verdict]) -> None:
        """Learn the verdicts on the proposed candidates, in their order."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that a continued run needs besides the verdicts."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state``."""

    def _random_state(self) -> list[Any]:
        version, numbers, gauss = self.rng.getstate()
        return [version, list(numbers), gauss]

    def _restore_random(self, state: Sequence[Any]) -> None:
        self.rng.setstate((state[0], tuple(state[1]), state[2]))


class ParetoEngine(Engine):
    """Typed genetic programming with NSGA-II on (joint correlation, complexity); the default preset.

    The first generations are random; every later one is bred from the survivors, with a share of newcomers against
    early convergence. Of candidates that rank alike only the simplest lives.
    """

    POPULATION = 200
    OFFSPRING = 100
    RANDOM_GENERATIONS = 4
    NEWCOMERS = 0.1
    MAX_COMPLEXITY = 24
    TRIES = 200  # per child; where nothing new is found a newcomer comes in

    def __init__(self, rng: random.Random, known: Lookup, words: Vocabulary = CORE) -> None:
        super().__init__(rng, known, words)
        self.population: list[Individual] = []

    def propose(self) -> list[Expression]:
        found: dict[str, Expression] = {}
        tries = 0
        while len(found) < self.OFFSPRING and tries < self.OFFSPRING * self.TRIES:
            tries += 1
            candidate = self._candidate()
            fits = (
                complexity(candidate) <= self.MAX_COMPLEXITY
                and features(candidate)
                and expressible(candidate, self.words)
            )
            if fits and self.known(candidate) is None:
                found.setdefault(to_text(candidate), candidate)
        return list(found.values())

    def _candidate(self) -> Expression:
        starting = self.generation < self.RANDOM_GENERATIONS or not self.population
        if starting or self.rng.random() < self.NEWCOMERS:
            return self._newcomer()
        return breed(self.population, self.rng, self.words)

    def _newcomer(self) -> Expression:
        return random_expression(self.rng, self.rng.randint(3, 7), self.words)

    def accept(self, verdicts: Sequence[Verdict]) -> None:
        valid = [v for v in verdicts if v.value is not None and expressible(v.expression, self.words)]
        children = [Individual(v.expression, v.value, v.signature) for v in valid if v.value is not None]
        simplest: dict[tuple[float, ...], Individual] = {}
        for individual in sorted([*self.population, *children], key=_simplicity):
            simplest.setdefault(individual.signature, individual)
        self.population = survivors(list(simplest.values()), self.POPULATION) if simplest else []
        self.generation += 1

    def state(self) -> dict[str, Any]:
        population = [[to_text(i.expression), i.value, list(i.signature)] for i in self.population]
        return {"generation": self.generation, "random": self._random_state(), "population": population}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.generation = state["generation"]
        self._restore_random(state["random"])
        self.population = [Individual(parse(t), value, tuple(signature)) for t, value, signature in state["population"]]


class RandomEngine(ParetoEngine):
    """Random search: every candidate is a newcomer, made and limited as those of `ParetoEngine`; nothing is learnt."""

    def _candidate(self) -> Expression:
        return self._newcomer()

    def accept(self, verdicts: Sequence[Verdict]) -> None:
        self.generation += 1


class AutoProxEngine(Engine):
    """Algorithm 1 of Auto-Prox: sample a pool, take its best, mutate one of them until the child is no worse.

    Wei et al. 2024 (AAAI, doi 10.1609/aaai.v38i14.29511). Population size, ratios, margin and the cap on retries are
    not published in a form that we know: these are the sibling code's or ours.
    """

    POPULATION = 80  # LPZero
    SAMPLE_RATIO = 0.5  # LPZero
    TOP = 0.2  # of the pool, as in Auto-DAS
    MARGIN = 0.0  # ours
    RETRIES = 10  # ours: without a cap a good parent would be mutated for ever
    STEP = 50  # candidates that count as a generation, for display and checkpoints

    def __init__(self, rng: random.Random, known: Lookup, structure: str, words: Vocabulary = CORE) -> None:
        super().__init__(rng, known, words)
        self.structure = structure
        self.inputs = words.terminals
        self.population: list[tuple[Genotype, float]] = []
        self._proposed: list[Genotype] = []
        self._parent: tuple[Genotype, float] | None = None
        self._failures = 0
        self._judged = 0

    def propose(self) -> list[Expression]:
        if len(self.population) < self.POPULATION:
            self._proposed, expressions = self._draw(lambda: random_genotype(self.structure, self.inputs, self.rng), 16)
            return expressions
        if self._parent is None:
            pool = self.rng.sample(self.population, round(self.SAMPLE_RATIO * len(self.population)))
            pool.sort(key=lambda member: -member[1])
            self._parent, self._failures = self.rng.choice(pool[: max(1, round(self.TOP * len(pool)))]), 0
        parent = self._parent[0]
        self._proposed, expressions = self._draw(lambda: mutate(parent, self.inputs, self.rng), 1)
        return expressions

    def _draw(self, make: Callable[[], Genotype], count: int) -> tuple[list[Genotype], list[Expression]]:
        drawn: dict[Expression, Genotype] = {}
        while len(drawn) < count:
            genotype = make()
            raw = genotype.expression()
            if raw is not None and self.known(candidate := canonical(raw)) is None:
                drawn.setdefault(candidate, genotype)
        return list(drawn.values()), list(drawn)

    def accept(self, verdicts: Sequence[Verdict]) -> None:
        self._judged += len(verdicts)
        self.generation = self._judged // self.STEP
        for genotype, verdict in zip(self._proposed, verdicts, strict=False):  # the last proposal may be cut short
            if self._parent is None:
                if verdict.value is not None:
                    self.population.append((genotype, verdict.value))
            elif verdict.value is not None and verdict.value - self._parent[1] >= self.MARGIN:
                self.population.append((genotype, verdict.value))
                self.population.remove(min(self.population, key=lambda member: member[1]))
                self._parent = None
            else:
                self._failures += 1
                if self._failures >= self.RETRIES:
                    self._parent = None

    def state(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "judged": self._judged,
            "random": self._random_state(),
            "population": [[genotype.to_json(), value] for genotype, value in self.population],
            "parent": None if self._parent is None else [self._parent[0].to_json(), self._parent[1]],
            "failures": self._failures,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.generation, self._judged, self._failures = state["generation"], state["judged"], state["failures"]
        self._restore_random(state["random"])
        self.population = [(Genotype.from_json(genotype), value) for genotype, value in state["population"]]
        parent = state["parent"]
        self._parent = None if parent is None else (Genotype.from_json(parent[0]), parent[1])


def _simplicity(individual: Individual) -> tuple[int, str]:
    return complexity(individual.expression), to_text(individual.expression)


def best_of(verdicts: Iterable[Verdict], count: int) -> list[Verdict]:
    """The best by fitness, of those that rank alike the simplest."""
    simplest: dict[tuple[float, ...], Verdict] = {}
    for verdict in sorted(verdicts, key=lambda v: (complexity(v.expression), to_text(v.expression))):
        if verdict.value is not None:
            simplest.setdefault(verdict.signature, verdict)
    return sorted(simplest.values(), key=lambda v: (-(v.value or 0.0), complexity(v.expression)))[:count]


def pareto_front(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Those that no simpler one equals, simplest first."""
    kept: list[Verdict] = []
    for verdict in sorted(
        (v for v in verdicts if v.value is not None),
        key=lambda v: (complexity(v.expression), -(v.value or 0.0), to_text(v.expression)),
    ):
        if not kept or (verdict.value or 0.0) > (kept[-1].value or 0.0):
            kept.append(verdict)
    return kept
