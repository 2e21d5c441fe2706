"""Algorithms of search: which architectures are scored next.

``random`` draws every architecture anew. ``evolution`` is regularised evolution (Real et al. 2019, arXiv 1802.01548,
algorithm 1): the population is the latest scored architectures, so that every one dies of age, and a parent is the best
of a random sample of it. Two departures: a child is, with probability one half, the crossover of two such parents
instead of a mutation of one; and children are made and measured in batches of a fixed size. ``blockwise`` has a module
of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from autoprox.search import blockwise
from autoprox.search.archive import Archive
from autoprox.search.settings import SearchSettings
from autoprox.spaces import Architecture, Space
from autoprox.spaces.budget import Budget

__all__ = ["propose"]

Breeder: TypeAlias = Callable[[], Architecture | None]
"""Makes a child at each call; None where the drawn parents and places have none."""

_CROSSOVER = 0.5
_TRIES = 100  # children that are known already or too large before a random architecture takes the place of one


def propose(
    budget: Budget, settings: SearchSettings, archive: Archive, wanted: int, rng: np.random.Generator
) -> list[str]:
    """Keys of new architectures within the budget; fewer than wanted where there are no more."""
    known = {m.network[1] for m in archive.measurements}
    breed: Breeder | None = None
    if settings.algorithm != "random" and len(archive) + wanted > settings.population and len(archive.valid()) > 1:
        make = _blockwise if settings.algorithm == "blockwise" else _evolution
        breed = make(archive, settings, budget.space, rng)
    batch: list[str] = []
    for place in range(len(archive), len(archive) + wanted):
        key = None
        if breed is not None and place >= settings.population:
            key = _child(breed, budget, known)
        key = key or budget.draw(rng, known)
        if key is None:
            break
        known.add(key)
        batch.append(key)
    return batch


def _child(breed: Breeder, budget: Budget, known: set[str]) -> str | None:
    """The key of a new child within the budget; None where many tries gave none."""
    for _ in range(_TRIES):
        child = breed()
        if child is not None and (key := budget.space.key(child)) not in known and budget.holds(child):
            return key
    return None


def _architecture(archive: Archive, place: int, space: Space) -> Architecture:
    return space.parse(json.loads(archive.measurements[place].network[1]))


def _evolution(archive: Archive, settings: SearchSettings, space: Space, rng: np.random.Generator) -> Breeder:
    population = [
        (score, _architecture(archive, place, space))
        for place, score in list(archive.valid().items())[-settings.population :]
    ]
    size = min(settings.tournament, len(population))

    def parent() -> Architecture:
        chosen = rng.choice(len(population), size, replace=False)
        return population[max(chosen.tolist(), key=lambda i: population[i][0])][1]

    def breed() -> Architecture:
        if rng.random() < _CROSSOVER:
            return space.crossover(parent(), parent(), rng)
        return space.mutate(parent(), rng)

    return breed


def _blockwise(archive: Archive, settings: SearchSettings, space: Space, rng: np.random.Generator) -> Breeder:
    scores = archive.valid()
    architectures = {place: _architecture(archive, place, space) for place in scores}
    values: dict[int, blockwise.Values | None] = dict.fromkeys(scores)
    if settings.positions == "blockwise":
        measurements = [archive.measurements[place] for place in scores]
        sizes = [space.positions(architectures[place]) for place in scores]
        values.update(zip(scores, blockwise.position_values(archive.proxy, measurements, sizes), strict=True))
    best = sorted(scores, key=lambda place: (-scores[place], place))[: settings.tournament]
    parents = [blockwise.Parent(architectures[place], values[place]) for place in best]

    def breed() -> Architecture | None:
        if rng.random() < _CROSSOVER:
            better, other = sorted(rng.choice(len(parents), 2, replace=False).tolist())
            return blockwise.cross(space, parents[better], parents[other], rng)
        return blockwise.mutate(space, parents[int(rng.integers(len(parents)))], rng)

    return breed
