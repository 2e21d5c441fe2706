"""Which architectures of a space are trained."""

from __future__ import annotations

import math

import numpy as np

from autoprox.errors import InputError
from autoprox.spaces import Architecture, Space

__all__ = ["stratified"]

_DRAWS = 4000
_STRATA = 12


def stratified(space: Space, count: int, seed: int) -> list[Architecture]:
    """Distinct architectures, spread over the sizes of the space.

    4,000 uniform draws are divided into 12 strata of equal width in log-parameters, and architectures are taken from
    the strata in turn, so that small and large networks, which uniform draws seldom give, are there as well. The first
    n of a longer list are the list of n, so that a table can grow.

    Raises:
        InputError: the draws hold fewer distinct architectures than asked for.
    """
    rng = np.random.default_rng(seed)
    drawn = {space.key(architecture): architecture for architecture in (space.sample(rng) for _ in range(_DRAWS))}
    if len(drawn) < count:
        raise InputError(
            f"{count} architectures of {space.name} were asked for, but {_DRAWS} draws hold {len(drawn)} different "
            f"ones; ask for at most {len(drawn)}"
        )
    sizes = [math.log(space.params(architecture)) for architecture in drawn.values()]
    edges = np.linspace(min(sizes), max(sizes), _STRATA + 1)[1:-1]
    strata: list[list[Architecture]] = [[] for _ in range(_STRATA)]
    for architecture, place in zip(drawn.values(), np.searchsorted(edges, sizes), strict=True):
        strata[place].append(architecture)
    taken: list[Architecture] = []
    while len(taken) < count:
        for stratum in strata:
            taken += [stratum.pop(0)] if stratum else []
    return taken[:count]
