"""Rank statistics on bootstrap resamples, many at a time, as linear algebra on weights.

A resample is a vector of weights `w`, how often each of n architectures was drawn, and B resamples are a (B, n) array.
With sign matrices S[i, j] = sign(x_i - x_j), tau-b on a resample is `w'(Sx*Sy)w / sqrt(w'Sx²w · w'Sy²w)`, and the
mid-ranks that Spearman's rho needs are linear in `w`. So thousands of resamples cost a few matrix products, and
weights that are all one give the plain statistic.

The weighted tau gives a pair the sum of its members' importances. Copies of one architecture take consecutive places, so
with `g_i` the importances of i's copies added up, the pairs of i and j weigh `g_i w_j + w_i g_j`, and the statistic is
`g'(Sx*Sy)w / sqrt(g'Sx²w · g'Sy²w)`: the same products serve both.

Sources: Kendall 1945 (tau-b); Kendall 1942 (partial tau); Vigna 2015 (weighted tau); Efron 1979 (percentile bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Floats",
    "Interval",
    "Pairing",
    "Target",
    "Variable",
    "bootstrap",
    "interval",
    "partial",
    "quotient",
    "sign_matrix",
    "weighted_pearson",
]

Floats: TypeAlias = NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]


def sign_matrix(x: ArrayLike) -> Floats:
    """`S[i, j] = sign(x[i] - x[j])` of x (n,), as an (n, n) float array; exact for infinities as well."""
    x = np.asarray(x, dtype=float)
    signs: Floats = np.greater.outer(x, x).astype(float) - np.less.outer(x, x)
    return signs


def bootstrap(seed: int | Sequence[int], n: int, resamples: int = 2000) -> Floats:
    """How often each of n architectures is drawn in each resample: (resamples, n) counts, every row sums to n."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)


class Variable:
    """What weighted statistics need of values (n,)."""

    def __init__(self, values: Floats) -> None:
        self.signs = sign_matrix(values)
        self._given = values

    @cached_property
    def values(self) -> Floats:
        """(n,) standardised."""
        return _standard(self._given)

    @property  # not kept, as it is as large as the signs and used once or twice
    def untied(self) -> Floats:
        """(n, n): 1 where two values differ."""
        return self.signs**2

    @property
    def ranks(self) -> Floats:
        """R (n, n) with `w @ R` = how many of the resample with weights w are greater, equal ones half: mid-ranks less ½."""
        return (1 - self.signs.T) / 2

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(n,) integers ordered, and tied, like the values."""
        order: NDArray[np.int64] = self.signs.sum(axis=1).astype(np.int64)
        return order


class Target:
    """Labels y and sizes z under resamples; whatever does not depend on scores is computed once.

    Args:
        w: (B, n) how often each architecture was drawn; 0 where its label is missing.
        y, z: (n,) each; y may have any finite value where it is missing.
        band: (n,) the parameter band of each architecture; None where there are too few for bands.
    """

    def __init__(self, w: Floats, y: Variable, z: Variable, band: NDArray[np.int64] | None = None) -> None:
        self.w, self.y, self.z = w, y, z
        self.pairs = _form(w, y.untied)
        self.ranks = w @ y.ranks
        self.inside = None if band is None else np.equal.outer(band, band).astype(float)

    @cached_property
    def size(self) -> Pairing:
        """The sizes in the place of scores."""
        return Pairing(self, self.z)

    @cached_property
    def pairs_inside(self) -> Floats:
        """(B,) pairs within one band whose labels differ."""
        return np.zeros(len(self.w)) if self.inside is None else _form(self.w, self.y.untied * self.inside)

    @cached_property
    def untied(self) -> Floats:
        """(B, n): how many each label differs from."""
        return self.w @ self.y.untied


class Pairing:
    """Scores x beside a target: every statistic as (B,), computed when it is asked for; NaN where undefined."""

    def __init__(self, target: Target, x: Variable) -> None:
        self.target, self._x, self._w = target, x, target.w

    @cached_property
    def _agreeing(self) -> Floats:
        return self._w @ (self._x.signs * self.target.y.signs)

    @cached_property
    def _untied(self) -> Floats:
        return self._w @ self._x.untied

    @cached_property
    def _pairs(self) -> Floats:
        return _dot(self._untied, self._w)

    @cached_property
    def _ranks(self) -> Floats:
        return self._w @ self._x.ranks

    @cached_property
    def kendall(self) -> Floats:
        """tau-b of x and y."""
        return quotient(_dot(self._agreeing, self._w), np.sqrt(self._pairs * self.target.pairs))

    @cached_property
    def spearman(self) -> Floats:
        """rho of x and y, mid-ranks for ties."""
        return weighted_pearson(self._w, self._ranks, self.target.ranks)

    @cached_property
    def pearson(self) -> Floats:
        """Pearson's correlation of x and y."""
        return weighted_pearson(self._w, self._x.values, self.target.y.values)

    @cached_property
    def kendall_size(self) -> Floats:
        """tau-b of x and z."""
        agreeing = _form(self._w, self._x.signs * self.target.z.signs)
        return quotient(agreeing, np.sqrt(self._pairs * self.target.size._pairs))

    @cached_property
    def partial_kendall(self) -> Floats:
        """tau-b of x and y given z."""
        return partial(self.kendall, self.kendall_size, self.target.size.kendall)

    @cached_property
    def partial_spearman(self) -> Floats:
        """rho of x and y given z."""
        with_size = weighted_pearson(self._w, self._ranks, self.target.size._ranks)
        return partial(self.spearman, with_size, self.target.size.spearman)

    @cached_property
    def weighted_kendall(self) -> Floats:
        """Vigna's additive hyperbolic tau: the pair of the r-th and the s-th best label weighs 1/r + 1/s.

        Equal labels take places in the order of x, the highest first. This is `scipy.stats.weightedtau(y, x, rank=None)`.
        """
        order = np.lexsort((self._x.order, self.target.y.order))[::-1]
        drawn = self._w[:, order].astype(np.int64)
        after = drawn.cumsum(axis=1)
        places = np.arange(1, after.max(initial=0) + 1)
        harmonic = np.concatenate([[0.0], (1 / places).cumsum()])
        importance = np.empty_like(self._w)
        importance[:, order] = harmonic[after] - harmonic[after - drawn]
        untied = _dot(self._untied, importance) * _dot(self.target.untied, importance)
        return quotient(_dot(self._agreeing, importance), np.sqrt(untied))

    @cached_property
    def band_kendall(self) -> Floats:
        """tau-b of x and y over the pairs within one parameter band; NaN without bands."""
        inside = self.target.inside
        if inside is None:
            return np.full(len(self._w), np.nan)
        agreeing = _form(self._w, self._x.signs * self.target.y.signs * inside)
        pairs = _form(self._w, self._x.untied * inside)
        return quotient(agreeing, np.sqrt(pairs * self.target.pairs_inside))


def _form(w: Floats, matrix: Floats) -> Floats:
    """The quadratic form w'Mw of every row of w (B, n), as (B,)."""
    return _dot(w @ matrix, w)


def _dot(a: Floats, b: Floats) -> Floats:
    """Row by row, (B, n) each -> (B,)."""
    result: Floats = np.einsum("bn,bn->b", a, b)
    return result


def weighted_pearson(w: Floats, x: Floats, y: Floats) -> Floats:
    """Pearson's correlation under each row of weights w (B, n), of x and y, (n,) or (B, n); NaN if constant."""
    total = w.sum(axis=1, keepdims=True)
    x = x - quotient((w * x).sum(axis=1, keepdims=True), total)
    y = y - quotient((w * y).sum(axis=1, keepdims=True), total)
    xx, yy, xy = (np.einsum("bn,bn,bn->b", w, a, b) for a, b in ((x, x), (y, y), (x, y)))
    noise = 1e-24 * w.shape[1] ** 3  # squares of rounding errors, for ranks up to n: such a spread is a constant
    return np.clip(np.where((xx > noise) & (yy > noise), quotient(xy, np.sqrt(xx * yy)), np.nan), -1, 1)


def _standard(x: Floats) -> Floats:
    """x centred and scaled to ±1, so that squares neither overflow nor vanish; zeros when x is constant."""
    if len(x) == 0 or x.min() == x.max():
        return np.zeros_like(x)
    x = x / np.abs(x).max()
    x = x - x.mean()
    scaled: Floats = x / np.abs(x).max()
    return scaled


def partial(xy: Floats, xz: Floats, zy: Floats) -> Floats:
    """The partial correlation of x and y given z from the three; NaN where z orders exactly like x or y."""
    spread = (1 - xz**2) * (1 - zy**2)
    return quotient(xy - xz * zy, np.sqrt(np.where(spread > 1e-12, spread, 0)))


def quotient(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient that is NaN, without a warning, where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def interval(resampled: Floats) -> Interval | None:
    """95 % percentile interval over the resamples where the statistic is defined; None if it is in fewer than half."""
    defined = resampled[~np.isnan(resampled)]
    if 2 * len(defined) < len(resampled) or len(defined) == 0:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)
