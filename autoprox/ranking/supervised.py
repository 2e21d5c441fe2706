"""The supervised reference: what the labels of N trained architectures buy, without any proxy.

A ridge regression predicts accuracy from a description of the architecture alone: its choices, flattened without
knowledge of the space, and its sizes. Predictions for architectures that it was not fitted on are scores like any other.
It has seen labels of the very space and data set, which a proxy has not, so it is a reference and no rival; nor is it a
ceiling, since better models of the same labels exist.

It is fitted to the normal scores of the labels, not to accuracies: only their order counts in the end, and one training
that failed, or the steep part of a curve that saturates, would otherwise decide the fit (on the discovery and selection
architectures of ViT-Bench-101, one failed run out of 60 took the cross-validated tau on AutoFormer and Flowers from .68 to
-.08).

Sources: Hoerl and Kennard 1970 (ridge); Golub, Heath and Wahba 1979 (generalised cross-validation); van der Waerden 1952
(normal scores).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from autoprox.errors import InputError
from autoprox.ranking.resampling import Floats

if TYPE_CHECKING:
    from autoprox.ranking.problem import Group

__all__ = [
    "LEAST_LABELS",
    "SUPERVISED",
    "Descriptors",
    "Ridge",
    "cross_predicted",
    "describe",
    "normal_scores",
    "predicted",
]

SUPERVISED = "supervised ridge"
"""Its name among the references of an assessment."""

LEAST_LABELS = 10
"""Labels that a fit needs; with fewer there is nothing to choose a penalty by."""

_PENALTIES = np.logspace(-2, 5, 29)  # of standardised descriptors, per unit: from none to all but the mean


@dataclass(frozen=True)
class Descriptors:
    """Numbers that describe architectures.

    Attributes:
        names: of the columns.
        values: (n, columns).
        prior: (columns,) factors of the standardised columns. What describes single positions counts 1/sqrt(positions),
            so that a list of choices weighs like one choice, whatever its length.
        coarse: (columns,) without those of single positions.
    """

    names: tuple[str, ...]
    values: Floats
    prior: Floats
    coarse: NDArray[np.bool_]


def describe(group: Group) -> Descriptors:
    """The architectures of a group, from their JSON records and numbers, whatever the space.

    Every number of a record is a column, text is one column a value (1 where it occurs). Lists give one column a position
    (0 where a shorter list has none), their sum and their mean. Sizes enter as logarithms.
    """
    records = [list(_leaves(json.loads(key))) for _, key in group.networks]
    paths = sorted({path for record in records for path, _, _ in record})
    names: list[str] = []
    columns: list[list[float]] = []
    prior: list[float] = []
    for path in paths:
        found = [{place: value for name, place, value in record if name == path} for record in records]
        places = sorted({place for values in found for place in values})
        for place in places:
            names.append(path + "".join(f"[{i}]" for i in place))
            columns.append([values.get(place, 0.0) for values in found])
            prior.append(len(places) ** -0.5)
        if len(places) > 1:
            names += [f"sum of {path}", f"mean of {path}"]
            columns.append([sum(values.values()) for values in found])
            columns.append([sum(values.values()) / max(1, len(values)) for values in found])
            prior += [1.0, 1.0]
    for name, numbers in group.numbers.items():
        names.append(f"log {name}")
        columns.append([float(np.log(max(number, 1e-300))) for number in numbers])
        prior.append(1.0)
    weights = np.array(prior)
    return Descriptors(tuple(names), np.array(columns).T, weights, weights == 1)


def _leaves(value: object, path: str = "", place: tuple[int, ...] = ()) -> Iterator[tuple[str, tuple[int, ...], float]]:
    """(path, positions in lists, number) of everything in a JSON value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name, place)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, path, (*place, i))
    elif isinstance(value, bool | int | float):
        yield path, place, float(value)
    else:
        yield f"{path}={value}", place, 1.0


@dataclass(frozen=True)
class Ridge:
    """A linear model of standardised descriptors: `intercept + (x - centre) @ slopes`."""

    centre: Floats
    slopes: Floats
    intercept: float
    penalty: float
    coarse: bool
    """Whether it leaves the descriptors of single positions out."""

    @classmethod
    def fit(cls, x: Descriptors, y: Floats) -> Ridge:
        """The ridge of least generalised cross-validation error on y (n,), over penalties, with and without positions.

        Raises InputError with fewer than ``LEAST_LABELS`` labels.
        """
        if len(y) < LEAST_LABELS:
            raise InputError(f"{len(y)} labels to fit the supervised reference on; it needs at least {LEAST_LABELS}")
        return min(cls._candidates(x, y), key=lambda found: found[0])[1]

    @classmethod
    def _candidates(cls, x: Descriptors, y: Floats) -> Iterator[tuple[float, Ridge]]:
        """Ridges with their errors, from the simplest on."""
        centre, spread = x.values.mean(axis=0), x.values.std(axis=0)
        varies = spread > 1e-9 * np.maximum(np.abs(centre), 1)
        for coarse in (True, False):
            factors = np.where(varies & (x.coarse if coarse else True), x.prior / np.where(varies, spread, 1), 0.0)
            u, s, vt = np.linalg.svd((x.values - centre) * factors, full_matrices=False)
            projected = u.T @ (y - y.mean())
            for penalty in _PENALTIES[::-1]:
                kept = s**2 / (s**2 + penalty)
                left = y - y.mean() - u @ (kept * projected)
                free = 1 - (1 + kept.sum()) / len(y)  # degrees of freedom left, as a share
                error = float(np.mean(left**2) / free**2) if free > 0 else np.inf
                slopes = factors * (vt.T @ (s / (s**2 + penalty) * projected))
                yield error, cls(centre, slopes, float(y.mean()), float(penalty), coarse)

    def predict(self, values: Floats) -> Floats:
        """What was fitted, for described architectures (n, columns): (n,)."""
        predictions: Floats = self.intercept + (values - self.centre) @ self.slopes
        return predictions


def normal_scores(y: Floats) -> Floats:
    """The normal quantile of rank/(n+1) of each value (n,), mid-ranks for ties."""
    scores: Floats = ndtri(rankdata(y) / (len(y) + 1))
    return scores


def predicted(group: Group, train: Sequence[int], test: Sequence[int]) -> dict[str, Floats]:
    """{data set: scores (test,)}: normal scores that ridges predict, fitted to labels of other architectures of the group.

    Args:
        group: all architectures.
        train, test: rows of it. A label that is missing takes its architecture out of the fit of its data set alone.

    Raises InputError with fewer than ``LEAST_LABELS`` labels to fit on.
    """
    x = describe(group)
    return {dataset: _predicted(x, labels, train, test) for dataset, labels in group.labels.items()}


def cross_predicted(group: Group, folds: int = 10, seed: int = 0) -> dict[str, Floats]:
    """{data set: scores (n,)} as `predicted` for all architectures, each from ridges that have not seen its fold.

    Predictions of different folds come from different models, whose means are the lower the better the fold left out, so
    correlations with them are somewhat too low, and below 0 where descriptors say nothing.
    """
    x, n = describe(group), len(group.networks)
    parts = np.array_split(np.random.default_rng(seed).permutation(n), min(folds, n))
    found = {dataset: np.empty(n) for dataset in group.labels}
    for part in parts:
        rest = np.setdiff1d(np.arange(n), part)
        for dataset, labels in group.labels.items():
            found[dataset][part] = _predicted(x, labels, rest, part)
    return found


def _predicted(x: Descriptors, labels: Floats, train: ArrayLike, test: ArrayLike) -> Floats:
    rows = np.asarray(train, dtype=int)
    rows = rows[~np.isnan(labels[rows])]
    fitted = Ridge.fit(Descriptors(x.names, x.values[rows], x.prior, x.coarse), normal_scores(labels[rows]))
    return fitted.predict(x.values[np.asarray(test, dtype=int)])
