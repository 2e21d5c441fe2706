"""What the architectures with the highest scores are worth: nDCG, precision and regret of the first k.

A resample is a row of weights (`autoprox.ranking.resampling`): a copy of an architecture takes a place of its own, tied
with its original. Ties in scores are broken at random, and what is returned is the expectation, so a constant score has
what chance reaches. With copies, the first k are fewer architectures, so intervals lie somewhat to the side of more regret.

Sources: Järvelin and Kekäläinen 2002 (nDCG); McSherry and Najork 2008 (its expectation under ties).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from autoprox.errors import InputError
from autoprox.ranking.correlations import labelled
from autoprox.ranking.resampling import Floats, Variable, quotient

__all__ = ["Choice", "ndcg", "precision", "regret"]


class Choice:
    """Labels under resamples, from which the first k by a score are chosen.

    Args:
        w: (B, n) how often each architecture was drawn; 0 where its label is missing.
        accuracy: (n,) in percent; any finite value where it is missing.
        y: the same as a variable.
    """

    def __init__(self, w: Floats, accuracy: Floats, y: Variable) -> None:
        self._w, self._accuracy, self._y = w, accuracy, y
        self._total = w.sum(axis=1, keepdims=True)
        # how many of the others an architecture beats, half of its equals among them, as a share
        self._relevance = (self._total - w @ y.ranks - 0.5) / np.maximum(self._total - 1, 1)

    def ndcg(self, x: Variable, k: int) -> Floats:
        """(B,): discounted relevance of the first k places over the best that any order has; see `ndcg`."""
        return quotient(self._gain(x, k), self._gain(self._y, k))

    def _gain(self, x: Variable, k: int) -> Floats:
        order, starts, drawn, before = self._places(x)
        relevant = np.add.reduceat((self._w * self._relevance)[:, order], starts, axis=1)
        discounts = np.concatenate([[0.0], (1 / np.log2(np.arange(2, k + 2))).cumsum()])
        taken = discounts[np.minimum(before + drawn, k)] - discounts[np.minimum(before, k)]
        gain: Floats = np.where(drawn > 0, relevant / np.maximum(drawn, 1) * taken, 0.0).sum(axis=1)
        return gain

    def precision(self, x: Variable, k: int) -> Floats:
        """(B,): expected share of the first k whose label is among the k best, ties at the k-th best included."""
        size = np.minimum(k, self._total)  # a resample of few labels may have fewer
        order, starts, drawn, before = self._places(self._y)
        groups = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
        best = np.empty_like(self._w)
        best[:, order] = (before < k)[:, groups]
        order, starts, drawn, before = self._places(x)
        hits = np.add.reduceat((self._w * best)[:, order], starts, axis=1)
        taken = np.clip(k - before, 0, drawn) / np.maximum(drawn, 1)
        return quotient((hits * taken).sum(axis=1), size[:, 0])

    def regret(self, x: Variable, k: int) -> Floats:
        """(B,): the best accuracy minus the expected best among the first k, in accuracy points."""
        order, starts, sizes, befores = self._places(x)
        run = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
        inner = np.lexsort((-self._y.order[order], run))  # within a run of equal x from the highest accuracy on
        drawn, accuracy = self._w[:, order[inner]].astype(np.int64), self._accuracy[order[inner]]
        size, before = sizes[:, run], befores[:, run]
        best = _highest(accuracy, drawn > 0)
        sure = _highest(accuracy, (drawn > 0) & (before + size <= k))
        # Of the run that the k-th place parts, r of s copies are among the first k. The first c by accuracy are all left
        # out with probability C(s-c, r) / C(s, r).
        parted = (before < k) & (before + size > k)
        size, taken = np.where(parted, size, 1), np.where(parted, k - before, 0)
        passed = np.where(parted, drawn.cumsum(axis=1) - before, 0)
        factorials = gammaln(np.arange(size.max(initial=1) + 1) + 1)

        def left_out(copies: NDArray[np.int64]) -> Floats:
            rest = size - copies - taken
            logs = factorials[size - copies] - factorials[np.maximum(rest, 0)]
            return np.where(rest < 0, 0.0, np.exp(logs - factorials[size] + factorials[size - taken]))

        chance = left_out(np.where(parted, passed - drawn, 0)) - left_out(
            passed
        )  # of being the best of the run's chosen
        perhaps = (chance * np.maximum(accuracy, sure[:, None])).sum(axis=1)
        found = np.where(parted.any(axis=1), perhaps, sure)
        lost: Floats = np.subtract(best, found, out=np.full_like(best, np.nan), where=np.isfinite(found))
        return np.maximum(lost, 0)  # rounding

    def _places(self, x: Variable) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Architectures from the highest x on; where each run of equal x starts; (B, runs) its size and places before."""
        order = np.argsort(-x.order, kind="stable")
        starts = np.flatnonzero(np.diff(x.order[order], prepend=np.inf))
        drawn = np.add.reduceat(self._w[:, order], starts, axis=1).astype(np.int64)
        return order, starts, drawn, drawn.cumsum(axis=1) - drawn


def ndcg(scores: ArrayLike, accuracy: ArrayLike, k: int = 10) -> float:
    """Normalised discounted cumulative gain of the k highest scores, from 0 to 1.

    The gain of an architecture is the share of the others that its accuracy beats (ties half): accuracies themselves
    differ so little, relative to their size, that every order would come out near 1. The r-th place counts 1/log2(r+1).
    Scores that say nothing reach about .5, not 0. Rows without an accuracy (NaN) are left out.
    """
    choice, x = _choice(scores, accuracy, k, "nDCG")
    return float(choice.ndcg(x, k)[0])


def precision(scores: ArrayLike, accuracy: ArrayLike, k: int = 10) -> float:
    """Share of the k highest scores whose accuracies are among the k best; expected over the orders of tied scores.

    Accuracies equal to the k-th best count as among them. Chance reaches k/n. Rows without an accuracy are left out.
    """
    choice, x = _choice(scores, accuracy, k, "precision")
    return float(choice.precision(x, k)[0])


def regret(scores: ArrayLike, accuracy: ArrayLike, k: int = 1) -> float:
    """Accuracy points lost by trusting the scores: best accuracy minus best accuracy among the k highest scores.

    Expected over the orders of tied scores, so a constant score has the regret of k architectures drawn at random. Rows
    without an accuracy (NaN) are left out.
    """
    choice, x = _choice(scores, accuracy, k, "regret")
    return float(choice.regret(x, k)[0])


def _highest(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """The highest of values (n,) in each row of there (B, n); -inf where there is none."""
    highest: Floats = np.where(there, values, -np.inf).max(axis=1, initial=-np.inf)
    return highest


def _choice(scores: ArrayLike, accuracy: ArrayLike, k: int, what: str) -> tuple[Choice, Variable]:
    x, y = labelled(scores, accuracy)
    if not 1 <= k <= len(y):
        raise InputError(f"top-k {what}: k is {k}; expected 1 to {len(y)}, the number of architectures with a label")
    if np.isnan(x).any():
        raise InputError(f"top-k {what}: score of architecture {int(np.isnan(x).argmax())} is nan; expected numbers")
    return Choice(np.ones((1, len(y))), y, Variable(y)), Variable(x)
