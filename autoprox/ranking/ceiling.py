"""How well the noise of training lets anything rank a table: the same architectures, trained with several seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from autoprox.errors import InputError
from autoprox.ranking.agreement import Interval, joint_agreement, kendall
from autoprox.ranking.correlations import LEAST_LABELS
from autoprox.ranking.resampling import Floats
from autoprox.spaces import get_space
from benchdata import Benchmark

if TYPE_CHECKING:
    from autoprox.ranking.problem import Group

__all__ = ["NoiseCeiling", "ceilings_of", "noise_ceiling", "seed_labels", "seed_of"]

_SEED = re.compile(r"seed-(0|[1-9][0-9]*)")
_LEAST_SEEDS = 2
_ROUNDING = 0.01  # accuracy points by which a label may differ from the mean over seeds that it is


@dataclass(frozen=True, kw_only=True)
class NoiseCeiling:
    """What the noise of training leaves to be ranked, on one data set of one space, from two sides.

    `kendall` is measured: how well the mean of all trainings but one ranks the one left out. A proxy that passes it
    predicts a training better than K-1 further trainings of the same architectures do. It is a high mark, but no strict
    bound: the mean of the others has noise of its own, and labels that average all K seeds can be ranked better than a
    single one.

    `ideal_kendall` is estimated: what accuracies without noise would reach with the mean over all K seeds; no proxy can
    be expected to pass it. It supposes that accuracies and noise, rescaled by some increasing function, are normal. It is
    a few hundredths too high where accuracies are skewed, and more where trainings of good architectures fail by chance.

    (So the lower and the upper noise ceiling of Nili et al. 2014.) All trainings are tested on the same images, so what
    chance did in choosing these is not in the noise.
    """

    n: int
    """Architectures whose trainings all succeeded; only these count."""
    seeds: tuple[int, ...]
    """The K training seeds."""
    spread: float
    """Standard deviation over architectures of the mean over seeds, in accuracy points, with n-1 degrees of freedom."""
    seed_noise: float
    """Standard deviation of one training about its architecture's mean, in accuracy points, pooled over architectures,
    with K-1 degrees of freedom each."""
    kendall: float | None
    """Mean over the seeds of Kendall's tau-b between the accuracies of one seed and the means of all others; None where
    one is undefined, because all accuracies are equal."""
    kendall_ci: Interval | None
    """Its 95 % percentile-bootstrap interval over architectures."""
    held_out: dict[int, float | None]
    """The terms of that mean, by the seed that is held out."""
    reliability: float | None
    """Share of the variance of the mean over K seeds that is not noise, from 0 to 1: K·ρ / (1 + (K-1)·ρ) (Spearman 1910,
    Brown 1910) for the correlation ρ of two trainings. This is sin(π/2·τ) (Greiner 1909) of the mean tau-b over all
    pairs of seeds, and so, unlike spread and noise in points, not made by a few architectures that are far off. A
    negative ρ counts as 0; None where `kendall` is."""
    ideal_kendall: float | None
    """2/π·asin(√reliability), Greiner's relation the other way round: √reliability is the correlation of the noise-free
    accuracies with the mean over seeds."""
    ideal_kendall_ci: Interval | None
    """Its 95 % percentile-bootstrap interval over architectures."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: intervals are lists, the undefined is null, never NaN."""
        record = asdict(self) | {"held_out": {str(name): value for name, value in self.held_out.items()}}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def seed_of(label: str) -> int | None:
    """The training seed of a label kind; None where it is of another kind.

    >>> seed_of("seed-12"), seed_of("mean")
    (12, None)
    """
    found = _SEED.fullmatch(label)
    return int(found[1]) if found else None


def seed_labels(table: Benchmark, space: str, dataset: str) -> dict[int, Floats]:
    """{training seed: accuracies in percent, (rows of the space,), NaN where missing}, by seed; empty without any.

    Raises TableError when the space or the data set does not occur.
    """
    seeds = {seed: label for label in table.labels(space, dataset) if (seed := seed_of(label)) is not None}
    return {seed: table.accuracies(space, dataset, seeds[seed]) for seed in sorted(seeds)}


def ceilings_of(
    groups: Sequence[Group], tables: Sequence[Benchmark], *, seed: int = 0, resamples: int = 2000
) -> dict[tuple[str, str], NoiseCeiling]:
    """{(space, data set): noise ceiling} of the architectures of groups, from the seeds that their tables have.

    A pair is absent where labels are not the mean over the seeds, to which a ceiling refers, or where seeds or
    architectures are too few.
    """
    found = {}
    for group in groups:
        columns = _seed_columns(group, tables)
        for dataset, labels in group.labels.items():
            seeds = {name: column for name, column in columns[dataset].items() if not np.isnan(column).all()}
            if len(seeds) < _LEAST_SEEDS:
                continue
            means = np.mean(list(seeds.values()), axis=0)
            complete = ~np.isnan(means)
            if complete.sum() >= LEAST_LABELS and np.allclose(
                labels[complete], means[complete], rtol=0, atol=_ROUNDING
            ):
                found[group.space, dataset] = noise_ceiling(seeds, seed=seed, resamples=resamples)
    return found


def _seed_columns(group: Group, tables: Sequence[Benchmark]) -> dict[str, dict[int, Floats]]:
    """{data set: {training seed: accuracies (networks of the group,), NaN where missing}}."""
    space = get_space(group.space)
    places = {key: i for i, (_, key) in enumerate(group.networks)}
    columns: dict[str, dict[int, Floats]] = {dataset: {} for dataset in group.labels}
    for table in tables:
        if group.space not in table.spaces:
            continue
        keys = [space.key(space.parse(row.architecture)) for row in table.select(group.space)]
        for dataset in set(table.datasets(group.space)) & set(columns):
            for name, accuracies in seed_labels(table, group.space, dataset).items():
                column = columns[dataset].setdefault(name, np.full(len(places), np.nan))
                for key, accuracy in zip(keys, accuracies, strict=True):
                    if key in places and not np.isnan(accuracy):
                        column[places[key]] = accuracy
    return columns


def noise_ceiling(labels: Mapping[int, ArrayLike], *, seed: int = 0, resamples: int = 2000) -> NoiseCeiling:
    """The noise ceiling of accuracies from several training seeds.

    Args:
        labels: {training seed: accuracies in percent (n,), NaN where missing}; `seed_labels` takes them from a table.
        seed, resamples: of the bootstrap behind the interval.

    Raises:
        InputError: fewer than 2 seeds, or fewer than 3 architectures that have an accuracy of every seed.
    """
    seeds = tuple(sorted(labels))
    if len(seeds) < _LEAST_SEEDS:
        raise InputError(
            f"the labels have {len(seeds)} training seeds; a noise ceiling needs at least {_LEAST_SEEDS}, so train "
            "every architecture with more"
        )
    table = np.array([labels[name] for name in seeds], dtype=float)  # (seeds, architectures)
    table = table[:, ~np.isnan(table).any(axis=0)]
    n = table.shape[1]
    if n < LEAST_LABELS:
        raise InputError(
            f"{n} architectures have an accuracy of each of the {len(seeds)} training seeds; a noise ceiling needs at "
            f"least {LEAST_LABELS}, so train more"
        )
    # the sums of equal accuracies in another order differ in their last digits, which must not part a tie
    others = [np.delete(table, i, axis=0).mean(axis=0).round(9) for i in range(len(seeds))]
    taus = [kendall(rest, row) for rest, row in zip(others, table, strict=True)]
    left_out, left_out_ci = _mean_kendall(list(zip(others, table, strict=True)), seed, resamples)
    of_pairs, of_pairs_ci = _mean_kendall(list(combinations(table, 2)), seed, resamples)
    return NoiseCeiling(
        n=n,
        seeds=seeds,
        spread=float(table.mean(axis=0).std(ddof=1)),
        seed_noise=float(table.var(axis=0, ddof=1).mean() ** 0.5),
        kendall=left_out,
        kendall_ci=left_out_ci,
        held_out={name: None if np.isnan(tau) else tau for name, tau in zip(seeds, taus, strict=True)},
        reliability=None if of_pairs is None else _reliability(of_pairs, len(seeds)),
        ideal_kendall=None if of_pairs is None else _ideal(of_pairs, len(seeds)),
        # percentiles go through an increasing function unchanged
        ideal_kendall_ci=of_pairs_ci and (_ideal(of_pairs_ci[0], len(seeds)), _ideal(of_pairs_ci[1], len(seeds))),
    )


def _mean_kendall(
    pairs: Sequence[tuple[Floats, Floats]], seed: int, resamples: int
) -> tuple[float | None, Interval | None]:
    """Mean of the tau-b of pairs of rows over the same architectures, and its interval."""
    groups = [(x, {"": y}, x) for x, y in pairs]  # the comparison with a measure of size is not used
    found = joint_agreement(groups, spaces=[""] * len(groups), seed=seed, resamples=resamples)
    return found.kendall, found.kendall_ci


def _reliability(tau: float, k: int) -> float:
    rho = max(0.0, math.sin(math.pi / 2 * tau))
    return min(1.0, k * rho / (1 + (k - 1) * rho))


def _ideal(tau: float, k: int) -> float:
    return 2 / math.pi * math.asin(math.sqrt(_reliability(tau, k)))
