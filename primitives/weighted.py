"""Operators on a weighted sample: an element with weight w stands for w elements of the full tensor.

With whole weights each is what the plain function makes of the elements repeated so many times; `primitives.operators`
checks that when the table is built. Weights are nonnegative, in the shape of the elements; extremes need none.
"""

from __future__ import annotations

from torch import Tensor

from primitives.functions import square

__all__ = ["l1_norm", "l2_norm", "log_softmax", "mean", "normalise", "softmax", "standard_deviation", "total"]


def total(x: Tensor, w: Tensor) -> Tensor:
    return (x * w).sum(-1)


def mean(x: Tensor, w: Tensor) -> Tensor:
    return total(x, w) / w.sum(-1)


def standard_deviation(x: Tensor, w: Tensor) -> Tensor:
    return (total(square(x - mean(x, w).unsqueeze(-1)), w) / (w.sum(-1) - 1)).sqrt()


def l1_norm(x: Tensor, w: Tensor) -> Tensor:
    return total(x.abs(), w)


def l2_norm(x: Tensor, w: Tensor) -> Tensor:
    return total(square(x), w).sqrt()


def normalise(x: Tensor, w: Tensor) -> Tensor:
    return (x - mean(x, w).unsqueeze(-1)) / standard_deviation(x, w).unsqueeze(-1)


def log_softmax(x: Tensor, w: Tensor) -> Tensor:
    shifted = x - x.amax(-1, keepdim=True)
    return shifted - total(shifted.exp(), w).log().unsqueeze(-1)


def softmax(x: Tensor, w: Tensor) -> Tensor:
    powers = (x - x.amax(-1, keepdim=True)).exp()
    return powers / total(powers, w).unsqueeze(-1)
