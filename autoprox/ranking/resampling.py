"""Rank statistics on bootstrap resamples, many at a time, as linear algebra on weights.

A resample is a vector of weights `w`, how often each of n architectures was drawn, and B resamples are a (B, n) array.
With sign matrices S[i, j] = sign(x_i - x_j), tau-b on a resample is `w'(Sx*Sy)w / sqrt(w'Sx²w · w'Sy²w)`, and the
mid-ranks that Spearman's rho needs are linear in `w`. So thousands of resamples cost a few matrix products, and
weights that are all one give the plain statistic.

Sources: Kendall 1945 (tau-b); Kendall 1942 (partial tau); Efron 1979 (percentile bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Floats",
    "Interval",
    "Variable",
    "bootstrap",
    "interval",
    "partial",
    "quotient",
    "sign_matrix",
    "statistics",
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
    """What weighted statistics need of values (n,): standardised values, signs, and mid-ranks linear in the weights."""

    def __init__(self, values: Floats) -> None:
        self.values = _standard(values)
        self.signs = sign_matrix(values)
        self.untied = self.signs**2
        self.ranks = _rank_matrix(values)


def statistics(w: Floats, x: Variable, y: Variable, z: Variable) -> Floats:
    """(9, B): kendall, spearman, pearson of x and y; of z and y; partial tau; tau of x and z; difference of taus."""
    pairs_x, pairs_y, pairs_z = (_form(w, v.untied) for v in (x, y, z))
    ranks_x, ranks_y, ranks_z = (w @ v.ranks for v in (x, y, z))
    xy = quotient(_form(w, x.signs * y.signs), np.sqrt(pairs_x * pairs_y))
    zy = quotient(_form(w, z.signs * y.signs), np.sqrt(pairs_z * pairs_y))
    xz = quotient(_form(w, x.signs * z.signs), np.sqrt(pairs_x * pairs_z))
    return np.stack(
        [
            xy,
            weighted_pearson(w, ranks_x, ranks_y),
            weighted_pearson(w, x.values, y.values),
            zy,
            weighted_pearson(w, ranks_z, ranks_y),
            weighted_pearson(w, z.values, y.values),
            partial(xy, xz, zy),
            xz,
            xy - zy,
        ]
    )


def _form(w: Floats, matrix: Floats) -> Floats:
    """The quadratic form w'Mw of every row of w (B, n), as (B,)."""
    result: Floats = np.einsum("bn,bn->b", w @ matrix, w)
    return result


def _rank_matrix(x: Floats) -> Floats:
    """R with `w @ R` = the mid-ranks (up to a constant) of x in the resample with weights w: smaller 1, equal ½."""
    return (1 - sign_matrix(x).T) / 2


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
    """Kendall's partial tau of x and y given z from the three taus; NaN where z orders exactly like x or y."""
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
