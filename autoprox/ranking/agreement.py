"""How well scores rank architectures: Kendall's tau-b, partial tau, bootstrap intervals, comparison with the size.

Every interval is a 95 % percentile bootstrap over architectures; `autoprox.ranking.resampling` holds the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau

from autoprox.errors import InputError
from autoprox.ranking.resampling import (
    Floats,
    Interval,
    Variable,
    bootstrap,
    interval,
    partial,
    quotient,
    sign_matrix,
    statistics,
    weighted_pearson,
)

__all__ = [
    "Agreement",
    "Correlations",
    "Group",
    "Interval",
    "KendallTargets",
    "agreement",
    "bootstrap",
    "joint_agreement",
    "kendall",
    "kendalls",
    "partial_kendall",
    "pearson",
    "regret",
    "sign_matrix",
    "spearman",
]

Group: TypeAlias = tuple[ArrayLike, Mapping[str, ArrayLike], ArrayLike]
"""One space: scores (n,), {data set: accuracies (n,) in percent, NaN where missing}, parameter counts (n,)."""

_CHUNK = 1 << 22  # comparisons held at once: 16 MB of float32, about the size of a last-level cache
_MANY = 600  # architectures from which sorting, one pair of rows at a time, beats n² comparisons (measured, one core)


class KendallTargets:
    """Labels prepared once, so that many score vectors are ranked against them by one matrix product.

    labels: (d, n) or (n,), NaN where missing; a missing label removes that architecture from its own row only.

    With G[i, j] = x_i > x_j and the antisymmetric label signs L, concordant minus discordant pairs are `sum(G * L)`,
    and the pairs that x does not tie are `sum(G * M)` with M the pairs where both labels are present.
    """

    def __init__(self, labels: ArrayLike) -> None:
        self.labels = np.atleast_2d(np.asarray(labels, dtype=float))
        self.d, self.n = self.labels.shape
        self.present = ~np.isnan(self.labels)
        if self.n <= _MANY:
            signs = np.array([sign_matrix(row) for row in self.labels]).reshape(self.d, self.n, self.n)
            both = self.present[:, :, None] & self.present[:, None, :]
            self._untied = np.count_nonzero(signs, axis=(1, 2)) / 2  # (d,) pairs that the labels do not tie
            # (n², 2d); float32 is exact: the sums are integers below 2^24
            self._columns = np.concatenate([signs, both]).reshape(2 * self.d, -1).T.astype(np.float32, order="C")

    def of(self, scores: ArrayLike) -> Floats:
        """tau-b of scores (n,) -> (d,), or (k, n) -> (k, d); NaN where undefined: all tied, or a score is NaN."""
        x = np.asarray(scores, dtype=float)
        if x.shape[-1:] != (self.n,) or x.ndim > 2:
            raise InputError(f"scores have shape {x.shape}; expected ({self.n},) or (k, {self.n}) to match the labels")
        table = np.atleast_2d(x)
        taus = self._by_products(table) if self.n <= _MANY else self._by_sorting(table)
        taus[np.isnan(table).any(axis=1)] = np.nan
        return taus if x.ndim == 2 else taus[0]

    def _by_products(self, table: Floats) -> Floats:
        sums = np.empty((len(table), 2 * self.d))
        step = max(1, _CHUNK // max(1, self.n * self.n))
        for start in range(0, len(table), step):
            part = table[start : start + step]
            greater = (part[:, :, None] > part[:, None, :]).astype(np.float32)
            sums[start : start + step] = greater.reshape(len(part), -1) @ self._columns
        return quotient(sums[:, : self.d], np.sqrt(sums[:, self.d :] * self._untied))

    def _by_sorting(self, table: Floats) -> Floats:
        taus = [
            [kendalltau(x[there], y[there]).statistic for y, there in zip(self.labels, self.present, strict=True)]
            for x in table
        ]
        return np.array(taus, dtype=float).reshape(len(table), self.d)


def kendalls(scores: ArrayLike, labels: ArrayLike) -> Floats:
    """tau-b of every row of scores (k, n) with every row of labels (d, n), as (k, d); see `KendallTargets`."""
    return KendallTargets(labels).of(np.atleast_2d(np.asarray(scores, dtype=float)))


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b of x (n,) and y (n,); NaN when undefined. Rows where y is missing (NaN) are left out."""
    return float(KendallTargets(y).of(x)[0])


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rho of x (n,) and y (n,) with mid-ranks for ties; NaN, and missing y, as in `kendall`."""
    x, y = _labelled(x, y)
    if np.isnan(x).any():
        return float("nan")
    once = np.ones((1, len(x)))
    return float(weighted_pearson(once, once @ Variable(x).ranks, once @ Variable(y).ranks)[0])


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's correlation of x (n,) and y (n,); NaN, and missing y, as in `kendall`."""
    x, y = _labelled(x, y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("nan")
    return float(weighted_pearson(np.ones((1, len(x))), Variable(x).values, Variable(y).values)[0])


def partial_kendall(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> float:
    """Kendall's partial tau of x and y given z, all (n,); NaN when undefined, as when x or y orders exactly like z.

    Only the order of z matters: given the parameter count is the same as given its logarithm.
    """
    y = np.asarray(y, dtype=float)
    there = ~np.isnan(y)
    x, y, z = (np.asarray(values, dtype=float)[there] for values in (x, y, z))
    return float(partial(*(np.array([tau]) for tau in (kendall(x, y), kendall(x, z), kendall(z, y))))[0])


def regret(scores: ArrayLike, accuracy: ArrayLike, k: int = 1) -> float:
    """Accuracy points lost by trusting the scores: best accuracy minus best accuracy among the k highest scores.

    Rows without an accuracy (NaN) are left out. Ties are broken against the scores: a constant score earns nothing.
    """
    x, y = _labelled(scores, accuracy)
    if not 1 <= k <= len(x):
        raise InputError(f"top-k regret: k is {k}; expected 1 to {len(x)}, the number of architectures with a label")
    return float(y.max() - y[np.lexsort((y, -x))[:k]].max())


@dataclass(frozen=True, kw_only=True)
class Correlations:
    """Signed correlations with accuracy and 95 % percentile-bootstrap intervals; None where undefined."""

    kendall: float | None
    kendall_ci: Interval | None
    spearman: float | None
    spearman_ci: Interval | None
    pearson: float | None
    pearson_ci: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: intervals are lists, the undefined is null, never NaN."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Agreement(Correlations):
    """A proxy's correlations beside those of the parameter count, on the same architectures and resamples."""

    n: int
    """Architectures that have a label."""
    params: Correlations
    """The same correlations for the parameter count in the place of the proxy."""
    difference: float | None
    """Kendall of the proxy minus Kendall of the parameter count."""
    difference_ci: Interval | None
    """Its paired interval: both are computed on the same resamples."""
    partial_kendall: float | None
    """Kendall given (log-)parameters: what the proxy knows beyond size."""
    partial_kendall_ci: Interval | None
    kendall_params: float | None
    """Kendall of the proxy with the parameter count: near ±1, the proxy is a measure of size."""

    def to_json(self) -> dict[str, Any]:
        """As `Correlations.to_json`, with the parameter count's correlations under `params`."""
        return super().to_json() | {"params": self.params.to_json()}


def agreement(
    scores: ArrayLike, labels: ArrayLike, params: ArrayLike, *, seed: int = 0, resamples: int = 2000
) -> Agreement:
    """How well scores (n,) and, for comparison, parameter counts (n,) rank labels (n,; percent, NaN where missing).

    Raises InputError when fewer than 3 labels are present, or when a score or a parameter count is not finite.
    """
    return joint_agreement([(scores, {"labels": labels}, params)], seed=seed, resamples=resamples)


def joint_agreement(
    groups: Sequence[Group], *, spaces: Sequence[str] | None = None, seed: int = 0, resamples: int = 2000
) -> Agreement:
    """Means over all (space, data set) pairs, one group a space.

    Architectures are the unit that is resampled: independently in each space, and the same resample for all data sets
    of a space, whose labels belong to the same architectures. Where scores depend on the data set, a space has several
    groups of the same architectures; ``spaces`` then names each group's space. A mean is undefined when one of its terms
    is.

    Raises InputError as `agreement` does, and when there is no data set at all.
    """
    names = [str(i) for i in range(len(groups))] if spaces is None else list(spaces)
    counts: dict[str, int] = {}
    terms: list[Floats] = []  # one (statistics, 1 + resamples) array a pair
    for name, group in zip(names, groups, strict=True):
        x, labels, z = _checked(group)
        if not labels:
            continue
        present = ~np.isnan(np.stack(list(labels.values())))
        kept = present.any(axis=0)
        n = int(kept.sum())
        counts[name] = max(n, counts.get(name, 0))
        weights = np.vstack([np.ones(n), bootstrap((seed, names.index(name)), n, resamples)])
        of_x, of_z = Variable(x[kept]), Variable(z[kept])
        for y, there in zip(labels.values(), present[:, kept], strict=True):
            of_y = Variable(np.where(there, y[kept], np.nanmean(y)))  # the filled-in value has weight 0
            terms.append(statistics(weights * there, of_x, of_y, of_z))
    if not terms:
        raise InputError("no data set to compute correlations on; expected at least one space with one data set")
    means = np.mean(terms, axis=0)
    values = [None if np.isnan(row[0]) else float(row[0]) for row in means]
    spans = [None if value is None else interval(row[1:]) for value, row in zip(values, means, strict=True)]
    return Agreement(
        **vars(_correlations(values[0:3], spans[0:3])),
        n=sum(counts.values()),
        params=_correlations(values[3:6], spans[3:6]),
        partial_kendall=values[6],
        partial_kendall_ci=spans[6],
        kendall_params=values[7],
        difference=values[8],
        difference_ci=spans[8],
    )


def _correlations(values: Sequence[float | None], spans: Sequence[Interval | None]) -> Correlations:
    return Correlations(
        kendall=values[0],
        kendall_ci=spans[0],
        spearman=values[1],
        spearman_ci=spans[1],
        pearson=values[2],
        pearson_ci=spans[2],
    )


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"cannot compare values of shapes {x.shape} and {y.shape}; expected two equally long rows")
    return x, y


def _labelled(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """The rows where y is present."""
    x, y = _pair(x, y)
    return x[~np.isnan(y)], y[~np.isnan(y)]


def _checked(group: Group) -> tuple[Floats, dict[str, Floats], Floats]:
    scores, labels, params = group
    x, z = _pair(scores, params)
    for name, values in (("score", x), ("parameter count", z)):
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(f"{name} of architecture {at} is {values[at]}; expected finite numbers")
    checked = {dataset: _pair(x, row)[1] for dataset, row in labels.items()}
    for dataset, row in checked.items():
        if (count := int((~np.isnan(row)).sum())) < 3:
            raise InputError(f"{dataset}: {count} architectures with a label; rank statistics need at least 3")
    return x, checked, z
