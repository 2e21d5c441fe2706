"""What luck alone reaches: Kendall's tau when labels are dealt out to the architectures anew.

All labels of an architecture stay together, so data sets that agree on architectures agree in every permutation too, and
the mean tau over them varies by luck as much as it should. Only data sets of different spaces are independent.

Sources: Fisher 1935 (permutation test); Phipson and Smyth 2010 (why 1 is added); Westfall and Young 1993 (the largest
of several).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autoprox.ranking.correlations import KendallTargets
from autoprox.ranking.resampling import Floats

__all__ = ["PERMUTATIONS", "family_wise", "p_value", "permutations", "permuted_kendall"]

PERMUTATIONS = 2000
_SAME = 1e-12  # a tau this little below the observed one is the observed one, rounded


def permutations(seed: int | Sequence[int], n: int, count: int = PERMUTATIONS) -> NDArray[np.int64]:
    """Random orders of n architectures, (count, n)."""
    rows = np.broadcast_to(np.arange(n), (count, n))
    return np.random.default_rng(seed).permuted(rows, axis=1)


def permuted_kendall(targets: KendallTargets, scores: ArrayLike, orders: NDArray[np.int64]) -> Floats:
    """tau-b of scores (n,) with d rows of labels: (1 + count, d), the plain one first, then one a permutation.

    The scores are permuted instead of the labels, which is the same and cheaper.
    """
    x = np.asarray(scores, dtype=float)
    return targets.of(np.vstack([x, x[orders]]))


def p_value(observed: float, null: Floats) -> float:
    """How probable a value as high as the observed one is by luck: (1 + how many of the null reach it) / (1 + all).

    One-sided: proxies are signed, and one that ranks the wrong way round is no success. An undefined null value counts as
    reaching it; an undefined observed value has p = 1.
    """
    return float((1 + np.count_nonzero(~(null < observed - _SAME))) / (1 + len(null)))


def family_wise(observed: ArrayLike, null: ArrayLike) -> Floats:
    """p-values (k,) of k proxies that were looked at together: how probable it is that by luck the best of k is as high.

    observed: (k,); null: (k, permutations), the j-th value of all proxies under one and the same permutation.
    """
    best = np.max(np.asarray(null, dtype=float), axis=0)
    return np.array([p_value(value, best) for value in np.asarray(observed, dtype=float)])
