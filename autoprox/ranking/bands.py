"""Parameter bands: how well scores rank architectures of about one size, where counting parameters says little.

A band is a quarter (by default) of a space's architectures in the order of their parameters, so it still spans a range
of sizes, and the parameter count has some correlation left inside. It is reported beside: only what exceeds it is more
than size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autoprox.ranking.correlations import labelled
from autoprox.ranking.resampling import Pairing, Target, Variable

__all__ = ["BANDS", "LEAST_IN_BAND", "band_kendall", "bands_of"]

BANDS = 4
LEAST_IN_BAND = 5  # architectures; fewer make so few pairs that narrower bands cost more than they tell


def bands_of(params: ArrayLike, count: int = BANDS) -> NDArray[np.int64] | None:
    """The band of each of n architectures, counted from 0: about equally many in each, equal parameter counts in one.

    With fewer than ``LEAST_IN_BAND`` architectures a band there are fewer bands; None where there would not be two.
    """
    z = np.asarray(params, dtype=float)
    count = min(count, len(z) // LEAST_IN_BAND)
    if count < 2:
        return None
    edges = np.quantile(z, np.arange(1, count) / count)
    bands: NDArray[np.int64] = np.unique(np.searchsorted(edges, z), return_inverse=True)[1].astype(np.int64)
    return bands if bands.max() > 0 else None


def band_kendall(x: ArrayLike, y: ArrayLike, params: ArrayLike, count: int = BANDS) -> float:
    """Kendall's tau-b of x and y (n,) over the pairs inside one band of params (n,), all bands together.

    Concordant minus discordant pairs over the geometric mean of the pairs that x, and that y, does not tie. NaN when
    undefined: too few architectures for two bands, or no pair left. Rows where y is missing (NaN) are left out.
    """
    params, _ = labelled(params, y)
    x, y = labelled(x, y)
    band = bands_of(params, count)
    if band is None or np.isnan(x).any():
        return float("nan")
    target = Target(np.ones((1, len(y))), Variable(y), Variable(params), band)
    return float(Pairing(target, Variable(x)).band_kendall[0])
