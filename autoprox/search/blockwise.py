"""Block-wise evolution: the values of blocks by the proxy decide where a child differs, and whose block it inherits.

A reconstruction of T-Razor (Zhou et al. 2024, TPAMI 46(10), doi 10.1109/tpami.2024.3378781). Of the paper its abstract
is known: a "block-wise evolution search guided by DSS++", which "determines the positions for mutation and crossover".
All else was decided here:

- A *term* is a reduction of one number per block to one per network; DSS++ has two, and any proxy will do that has one.
- The *value of a position* is its rank among the same positions of all scored architectures, mean over the terms. It is
  the share of its blocks in the term that is ranked: so a block is compared with blocks of the same place, since numbers
  of blocks drift with depth, and terms of any scale count alike. Where a larger term makes the score smaller, which is
  measured (`_direction`), ranks run the other way.
- A position is what the space can exchange: a block, or a stage with its heads and depth (`Space.positions`).
- *Mutation* draws one position anew, the more probably the lower its value stands among those of its network; or, with
  the probability of AutoFormer's evolution (0.4, github.com/microsoft/Cream), changes one of the choices that all
  blocks share, such as width or depth, as any mutation of the space does.
- *Crossover* takes of two parents the better one, and at each position that both have the block of the larger value.
- Parents are drawn from the best of all scored architectures; mutation and crossover are equally probable.

With uniform positions, the ablation, the same is done without the values: a mutated position and the parent that a block
is inherited from are drawn uniformly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from autoprox.errors import InputError
from autoprox.language.expression import Expression, kind, subexpressions
from autoprox.language.text import to_text
from autoprox.measuring.measure import BlockValues
from autoprox.proxies.evaluation import Invalid, Population
from autoprox.proxies.scoring import Measurement
from autoprox.spaces import Architecture, Space
from primitives.functions import rank
from primitives.operators import OPERATORS, Form

__all__ = ["Parent", "check_block_level", "cross", "mutate", "position_values", "terms"]

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

SHARED: Final = 0.4
"""Probability that a mutation changes a shared choice and no block."""

_FOCUS = 0.5
"""A position at the share r of its network's order, the lowest first, is mutated with a weight of exp(-r / this)."""

_DONORS = 20  # drawn for a position before another try begins with another parent


@dataclass(frozen=True)
class Parent:
    """An architecture with the values of its positions; without any for uniform positions."""

    architecture: Architecture
    values: Values | None = None


def terms(proxy: Expression) -> list[Expression]:
    """The reductions of one number per block to one per network: `sum(...)` of `dss`, two of `dss++`, none of `params`."""
    return [
        e
        for e in subexpressions(proxy)
        if e.args and OPERATORS[e.head].form is Form.REDUCTION and kind(e.args[0]).level == "block"
    ]


def check_block_level(proxy: Expression) -> None:
    """InputError where a proxy says nothing of single blocks."""
    if not terms(proxy):
        raise InputError(
            f"the proxy {to_text(proxy)} has no number per block, by which block-wise search chooses; give one that "
            "reduces numbers of blocks, such as dss++ or sum(l2(fc1.weight)), or choose --algorithm evolution"
        )


def position_values(
    proxy: Expression, measurements: Sequence[Measurement], sizes: Sequence[Sequence[int]]
) -> list[Values]:
    """What each position of each network is worth, from 0 to 1.

    Args:
        proxy: canonical, with at least one term.
        measurements: of networks of one space, all with a score.
        sizes: for each network the number of blocks at each position.

    Returns:
        For each network (positions,): ranks among the same positions of the networks, mean over the terms.
    """
    known = terms(proxy)
    totals: list[Values] = [np.zeros(len(size)) for size in sizes]
    for term in known:
        sign = _direction(term, proxy, measurements)
        shares = [sign * _shares(term, m.values, size) for m, size in zip(measurements, sizes, strict=True)]
        for place in range(max(map(len, shares))):
            having = [i for i, share in enumerate(shares) if len(share) > place]
            column = torch.stack([shares[i][place] for i in having])
            ranks = rank(column.nan_to_num(nan=-torch.inf))  # what is no number is worth least
            for i, value in zip(having, ranks.tolist(), strict=True):
                totals[i][place] += value / len(known)
    return totals


def _shares(term: Expression, values: BlockValues, sizes: Sequence[int]) -> Tensor:
    """What each position adds to a term: its reduction over the position's blocks; (positions,)."""
    blocks = _evaluated(term.args[0], values)
    reduce = OPERATORS[term.head].function
    if term.head == "std":  # what differs from the other blocks adds to it, and one block alone has none
        blocks, reduce = (blocks - blocks.mean()).abs(), OPERATORS["mean"].function
    return torch.stack([reduce(part) for part in torch.split(blocks, list(sizes))])


def _evaluated(expression: Expression, values: BlockValues) -> Tensor:
    """An expression at block level, of one network; (blocks,)."""
    if expression in values:
        return torch.tensor(values[expression])
    return OPERATORS[expression.head].function(*(_evaluated(arg, values) for arg in expression.args))


def _direction(term: Expression, proxy: Expression, measurements: Sequence[Measurement]) -> int:
    """Whether a network's score grows (1) or falls (-1) when its term does, and all others stay as they are.

    Each network is scored beside a copy of it whose term is larger by the term's standard deviation; most copies decide.
    """
    numbers = {name: [m.numbers[name] for m in measurements] * 2 for name in measurements[0].numbers}
    population = Population(numbers, [m.values for m in measurements] * 2)
    found = population.score(term)
    if isinstance(found, Invalid):  # it is the same in all networks
        return 1
    count = len(measurements)
    found[count:] += found.std()
    population.add({term: list(found[:, None])})
    scores = population.score(proxy)
    if isinstance(scores, Invalid):
        return 1
    return 1 if np.sign(scores[count:] - scores[:count]).sum() >= 0 else -1


def mutate(space: Space, parent: Parent, rng: np.random.Generator) -> Architecture | None:
    """The parent with one position drawn anew, or with another shared choice; None where the draws gave none."""
    architecture = parent.architecture
    if rng.random() < SHARED:
        changed = space.mutate(architecture, rng)
        common = min(len(space.positions(architecture)), len(space.positions(changed)))
        return space.exchange(changed, architecture, range(common))
    count = len(space.positions(architecture))
    place = int(rng.choice(count, p=None if parent.values is None else focus(parent.values)))
    for _ in range(_DONORS):
        donor = space.sample(rng)
        if len(space.positions(donor)) > place:
            child = space.exchange(architecture, donor, (place,))
            if child is not None and child != architecture:
                return child
    return None


def focus(values: Values) -> Values:
    """Probabilities of the positions of one network to be mutated: the lower the value, the higher."""
    order = rank(torch.from_numpy(values)).numpy()
    weights = np.exp(-order / _FOCUS)
    return np.asarray(weights / weights.sum())


def cross(space: Space, better: Parent, other: Parent, rng: np.random.Generator) -> Architecture | None:
    """The better parent with the other's blocks where those are worth more, ties by chance; None where the space has none.

    All that blocks share comes from the better parent, and so do the positions that the other has not.
    """
    common = min(len(space.positions(parent.architecture)) for parent in (better, other))
    chance = rng.random(common) < 0.5
    if better.values is None or other.values is None:
        taken = chance
    else:
        lead = other.values[:common] - better.values[:common]
        taken = (lead > 0) | ((lead == 0) & chance)
    return space.exchange(better.architecture, other.architecture, np.flatnonzero(taken).tolist())
