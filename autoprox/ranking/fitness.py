"""Fitness: how well scores rank the architectures of several spaces on several data sets, as one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from autoprox.ranking.agreement import KendallTargets
from autoprox.ranking.problem import Group

__all__ = ["FITNESS", "Fitness", "Pair"]

Pair = tuple[str, str]
"""Space and data set."""

Taus = np.ndarray[Any, np.dtype[np.float64]]


def _mean_absolute(taus: Taus) -> float:
    return float(np.abs(taus).mean())


_JOIN: Final[Mapping[str, Callable[[Taus], float]]] = {
    "mean": lambda taus: float(taus.mean()),
    "min": lambda taus: float(taus.min()),
    "mean-abs": _mean_absolute,
    "partial": lambda taus: float(taus.mean()),
}
FITNESS: Final = tuple(_JOIN)
"""``mean`` of signed Kendall tau-b over all (space, data set) pairs; ``min`` of them (EZNAS); ``mean-abs``, the mean of
their absolute values (the joint correlation metric of Auto-Prox's sibling code); ``partial``: mean of the partial tau
given the parameter count, what a proxy knows beyond size."""


class Fitness:
    """Joint fitness on some groups.

    Args:
        groups: one a space.
        mode: one of ``FITNESS``.
    """

    def __init__(self, groups: Sequence[Group], mode: str = "mean") -> None:
        self.mode = mode
        self.pairs: tuple[Pair, ...] = tuple((group.space, dataset) for group in groups for dataset in group.labels)
        self._targets = [KendallTargets(np.stack(list(group.labels.values()))) for group in groups]
        # a label that is missing in a tau is missing in its partial tau
        self._sizes = [
            KendallTargets(np.where(np.isnan(targets.labels), np.nan, group.numbers["params"]))
            for targets, group in zip(self._targets, groups, strict=True)
        ]
        self.params = np.concatenate(
            [targets.of(group.numbers["params"]) for targets, group in zip(self._targets, groups, strict=True)]
        )

    def taus(self, scores: Sequence[Taus]) -> Taus:
        """Kendall tau-b of each pair, from the scores of each group's networks."""
        return np.concatenate([targets.of(column) for targets, column in zip(self._targets, scores, strict=True)])

    def joint(self, scores: Sequence[Taus]) -> tuple[float, Taus]:
        """The fitness and the taus of the pairs; the fitness is NaN where a tau is undefined."""
        taus = self.taus(scores)
        judged = self._partial(scores, taus) if self.mode == "partial" else taus
        return _JOIN[self.mode](judged), taus

    def of_params(self) -> float:
        """What plain parameter counting reaches; 0 for ``partial``, by definition."""
        return 0.0 if self.mode == "partial" else _JOIN[self.mode](self.params)

    def _partial(self, scores: Sequence[Taus], taus: Taus) -> Taus:
        with_size = np.concatenate([sizes.of(column) for sizes, column in zip(self._sizes, scores, strict=True)])
        rest = (1 - with_size**2) * (1 - self.params**2)
        # a proxy that orders exactly like size knows nothing beyond it; an undefined tau stays NaN
        return np.where(rest <= 1e-12, 0.0, (taus - with_size * self.params) / np.sqrt(np.maximum(rest, 1e-12)))
