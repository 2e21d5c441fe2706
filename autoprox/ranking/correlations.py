"""Correlations of scores with labels: Kendall's tau-b and its relatives, many score vectors at a time where it matters."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau

from autoprox.errors import InputError
from autoprox.ranking.resampling import Floats, Pairing, Target, Variable, quotient, sign_matrix

__all__ = [
    "LEAST_LABELS",
    "KendallTargets",
    "kendall",
    "kendalls",
    "labelled",
    "pair",
    "partial_kendall",
    "partial_spearman",
    "pearson",
    "spearman",
    "weighted_kendall",
]

LEAST_LABELS = 3
"""Architectures with a label that rank statistics need."""

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
    return _plain("spearman", x, y, x)


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's correlation of x (n,) and y (n,); NaN, and missing y, as in `kendall`."""
    x, y = labelled(x, y)
    return _plain("pearson", x, y, x) if np.isfinite([x, y]).all() else float("nan")


def weighted_kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Vigna's weighted tau of x and y (n,), in which the best y count most; NaN, and missing y, as in `kendall`.

    The pair of the r-th and the s-th best y weighs 1/r + 1/s (hyperbolic, additive), so unlike tau it is not symmetric.
    Equal y take places in the order of x. Vigna 2015, A weighted correlation index for rankings with ties.
    """
    return _plain("weighted_kendall", x, y, x)


def partial_kendall(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> float:
    """Kendall's partial tau of x and y given z, all (n,); NaN when undefined, as when x or y orders exactly like z.

    Only the order of z matters: given the parameter count is the same as given its logarithm.

    Where all correlation of x and y goes through z, and both are noisy, it is above 0: .16 for normal variables with
    correlations .95 of x and z and .8 of y and z. `partial_spearman` is .01 there, and so the better evidence (Korn 1984,
    The ranges of limiting values of some partial correlations under conditional independence).
    """
    return _plain("partial_kendall", x, y, z)


def partial_spearman(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> float:
    """Spearman's partial rho of x and y given z, all (n,): `partial_kendall` with rho in the place of tau."""
    return _plain("partial_spearman", x, y, z)


def pair(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Both as equally long rows of numbers. Raises InputError where they are not."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"cannot compare values of shapes {x.shape} and {y.shape}; expected two equally long rows")
    return x, y


def labelled(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """The rows where y is present."""
    x, y = pair(x, y)
    return x[~np.isnan(y)], y[~np.isnan(y)]


def _plain(name: str, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> float:
    """A statistic of `Pairing` on the one resample that is the sample; NaN where a score or a size is."""
    z, _ = labelled(z, y)
    x, y = labelled(x, y)
    if np.isnan([x, z]).any():
        return float("nan")
    found: Floats = getattr(Pairing(Target(np.ones((1, len(y))), Variable(y), Variable(z)), Variable(x)), name)
    return float(found[0])
