"""How well scores rank architectures, with bootstrap intervals, beside the parameter count.

Every interval is a 95 % percentile bootstrap over architectures; `autoprox.ranking.resampling` holds the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autoprox.errors import InputError
from autoprox.ranking.bands import bands_of
from autoprox.ranking.correlations import (
    LEAST_LABELS,
    KendallTargets,
    kendall,
    kendalls,
    pair,
    partial_kendall,
    pearson,
    spearman,
)
from autoprox.ranking.resampling import Floats, Interval, Pairing, Target, Variable, bootstrap, interval, sign_matrix

__all__ = [
    "Agreement",
    "Correlations",
    "Group",
    "Interval",
    "KendallTargets",
    "LabelRow",
    "agreement",
    "bootstrap",
    "checked",
    "correlations_of",
    "estimate",
    "from_resamples",
    "joint_agreement",
    "kendall",
    "kendalls",
    "partial_kendall",
    "pearson",
    "resampled_rows",
    "sign_matrix",
    "spearman",
]

Group: TypeAlias = tuple[ArrayLike, Mapping[str, ArrayLike], ArrayLike]
"""One space: scores (n,), {data set: accuracies (n,) in percent, NaN where missing}, parameter counts (n,)."""


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
    columns = [checked("score", scores, params) for scores, _, params in groups]
    counts: dict[str, int] = {}
    terms = []  # one (9, 1 + resamples) array a pair
    for row in resampled_rows(
        names, [(labels, params) for _, labels, params in groups], seed=seed, resamples=resamples
    ):
        counts[row.space] = max(row.n, counts.get(row.space, 0))
        terms.append(correlations_of(Pairing(row.target, Variable(columns[row.group][row.kept]))))
    return from_resamples(sum(counts.values()), np.mean(terms, axis=0))


@dataclass(frozen=True)
class LabelRow:
    """One data set of one group, with its resamples."""

    group: int
    """Number of the group."""
    space: str
    dataset: str
    kept: NDArray[np.bool_]
    """(networks,) the architectures that have a label on some data set of the space; the rest counts these alone."""
    accuracy: Floats
    """(kept,) in percent; where it is missing, some value of weight 0."""
    bands: int | None
    """The number of parameter bands; None without any, or where there are too few architectures for two."""
    target: Target
    """Its first resample is the sample itself."""

    @property
    def n(self) -> int:
        """How many architectures are kept."""
        return len(self.accuracy)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(kept,) which of them have this label."""
        there: NDArray[np.bool_] = self.target.w[0] > 0
        return there


def resampled_rows(
    spaces: Sequence[str],
    groups: Sequence[tuple[Mapping[str, ArrayLike], ArrayLike]],
    *,
    seed: int = 0,
    resamples: int = 2000,
    bands: int = 0,
) -> Iterator[LabelRow]:
    """Labels prepared for `Pairing`, which scores are then compared with: one row a (group, data set), as it is needed.

    Args:
        spaces: name of each group's space; groups of one space have the same architectures, and share their resamples.
        groups: ({data set: accuracies (n,), NaN where missing}, parameter counts (n,)) of each.
        seed, resamples: of the bootstrap.
        bands: parameter bands (`autoprox.ranking.bands`); 0: none.

    Raises InputError when there is no data set, a data set has fewer than 3 labels, or a parameter count is not finite.
    """
    order = list(spaces)
    if not any(labels for labels, _ in groups):
        raise InputError("no data set to compute correlations on; expected at least one space with one data set")
    whole = []
    somewhere: dict[str, NDArray[np.bool_]] = {}  # the architectures of a space with a label in one of its groups
    for space, (labels, params) in zip(order, groups, strict=True):
        sizes = checked("parameter count", params, params)
        columns = {dataset: _labels_of(dataset, row, sizes) for dataset, row in labels.items()}
        whole.append((sizes, columns))
        for row in columns.values():
            somewhere[space] = somewhere.get(space, False) | ~np.isnan(row)
    for number, (space, (sizes, columns)) in enumerate(zip(order, whole, strict=True)):
        if not columns:
            continue
        kept = somewhere[space]
        n = int(kept.sum())
        weights = np.vstack([np.ones(n), bootstrap((seed, order.index(space)), n, resamples)])
        of_sizes = Variable(sizes[kept])
        band = bands_of(sizes[kept], bands) if bands else None
        count = None if band is None else int(band.max()) + 1
        for dataset, row in columns.items():
            there = ~np.isnan(row[kept])
            accuracy = np.where(there, row[kept], np.nanmean(row))  # the filled-in value has weight 0
            drawn = weights if there.all() else weights * there
            target = Target(drawn, Variable(accuracy), of_sizes, band)
            yield LabelRow(number, space, dataset, kept, accuracy, count, target)


def correlations_of(found: Pairing) -> Floats:
    """(9, B): what `from_resamples` takes."""
    size = found.target.size
    return np.stack(
        [
            found.kendall,
            found.spearman,
            found.pearson,
            size.kendall,
            size.spearman,
            size.pearson,
            found.partial_kendall,
            found.kendall_size,
            found.kendall - size.kendall,
        ]
    )


def from_resamples(n: int, table: Floats) -> Agreement:
    """The agreement of n architectures, from the rows of `correlations_of`: of one pair, or means over pairs."""
    values, spans = zip(*(estimate(row) for row in table), strict=True)
    return Agreement(
        **vars(_correlations(values[0:3], spans[0:3])),
        n=n,
        params=_correlations(values[3:6], spans[3:6]),
        partial_kendall=values[6],
        partial_kendall_ci=spans[6],
        kendall_params=values[7],
        difference=values[8],
        difference_ci=spans[8],
    )


def estimate(row: Floats) -> tuple[float | None, Interval | None]:
    """The statistic of the sample, which comes first, and its interval from the resamples after it."""
    return (None, None) if np.isnan(row[0]) else (float(row[0]), interval(row[1:]))


def _correlations(values: Sequence[float | None], spans: Sequence[Interval | None]) -> Correlations:
    return Correlations(
        kendall=values[0],
        kendall_ci=spans[0],
        spearman=values[1],
        spearman_ci=spans[1],
        pearson=values[2],
        pearson_ci=spans[2],
    )


def checked(what: str, values: ArrayLike, sizes: ArrayLike) -> Floats:
    """Finite values, as many as sizes. Raises InputError naming the first architecture that has none."""
    x, _ = pair(values, sizes)
    if not np.isfinite(x).all():
        at = int(np.flatnonzero(~np.isfinite(x))[0])
        raise InputError(f"{what} of architecture {at} is {x[at]}; expected finite numbers")
    return x


def _labels_of(dataset: str, labels: ArrayLike, sizes: Floats) -> Floats:
    row = pair(sizes, labels)[1]
    if (count := int((~np.isnan(row)).sum())) < LEAST_LABELS:
        raise InputError(f"{dataset}: {count} architectures with a label; rank statistics need at least {LEAST_LABELS}")
    return row
