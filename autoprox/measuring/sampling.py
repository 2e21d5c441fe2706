"""Which elements of a block's tensors are kept for screening, and how many elements each of them stands for.

Tensors of one shape (a weight and its gradients) are sampled at the same places, so that they can be multiplied element by
element. Three things keep estimates near the truth with a thousand elements out of a million:

- the largest, the smallest and the ones nearest zero of every tensor are taken for certain: maxima, inverses, squares and
  exponentials hang on them;
- the others are drawn one from each of equal strata, at the same relative places in all networks: what differs between two
  networks is not luck;
- weights are calibrated, so that the numbers of elements, the sums, the sums of absolute values and of squares of all tensors
  come out as they are (Deville and Särndal 1992, Calibration estimators in survey sampling, JASA 87, linear case).

A sample also has two halves, each with every other of the drawn elements and with calibrated weights of its own: where
they disagree, the sample says little (balanced half-samples: McCarthy 1969, Pseudo-replication, Review of the ISI 37).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["HALVES", "sampled"]

HALVES = 2
CERTAIN = 16  # largest, as many smallest and as many nearest zero of each tensor
_PIECES = 32  # for each of these: extremes are looked for in the pieces that hold the most extreme ones
_ROUNDS = 3


def sampled(tensors: Sequence[Tensor], totals: Tensor, count: int, seed: str) -> tuple[Tensor, Tensor]:
    """Choose elements for tensors of one length.

    Args:
        tensors: (elements,) each; on any device.
        totals: (tensors, 3) float64 on the CPU, of each the sum, the sum of absolute values and the sum of squares.
        count: how many elements to take; a shorter tensor is taken whole, with weights 0 to fill up.
        seed: of the places that are drawn.

    Returns:
        Positions, (count,) int64, and weights, (1 + HALVES, count) float32, nonnegative, both on the CPU: those of the
        sample first, then those of its halves, which are 0 for the elements of the other half.
    """
    length = tensors[0].numel()
    if length <= count:
        positions = torch.arange(count).clamp(max=length - 1)
        return positions, (torch.arange(count) < length).float().repeat(1 + HALVES, 1)
    of_each = min(CERTAIN, count // (6 * len(tensors)))  # half of the sample stays for the others
    certain = torch.from_numpy(np.unique(np.concatenate([_extremes(tensor, of_each) for tensor in tensors])))
    free = length - len(certain)
    drawn = _drawn(free, count - len(certain), seed)
    # the i-th element of those that are not certain: as many certain ones lie before it as are not beyond it
    drawn += np.searchsorted(certain.numpy() - np.arange(len(certain)), drawn, side="right")
    positions = torch.cat([certain, torch.from_numpy(drawn)])
    weights = torch.zeros(1 + HALVES, count, dtype=torch.float64)
    weights[:, : len(certain)] = 1
    halves = [torch.arange(len(certain) + start, count, HALVES) for start in range(HALVES)]
    parts = [torch.arange(len(certain), count), *halves]
    for row, places in zip(weights, parts, strict=True):
        row[places] = free / len(places)
    sample = torch.stack([x[positions.to(x.device)].cpu().double() for x in tensors])
    values = torch.cat([torch.ones(1, count).double(), sample, sample.abs(), sample.square()])
    known = torch.cat([torch.tensor([float(length)]).double(), totals.T.flatten()])
    if values.isfinite().all() and known.isfinite().all():
        scale = (values.square() @ weights[0]).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
        for row, places in zip(weights, parts, strict=True):
            _calibrate(row, places, values / scale[:, None], known / scale)
    return positions, weights.float()


def _drawn(length: int, count: int, seed: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """``count`` ascending positions below ``length``, one from each of ``count`` equal strata."""
    source = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    places = (np.arange(count) + source.random(count)) * (length / count)
    return places.astype(np.int64).clip(0, length - 1)


def _extremes(tensor: Tensor, count: int) -> Tensor:
    """Positions of the largest elements, of the smallest and of those nearest zero; each the most extreme of a piece."""
    size = max(1, tensor.numel() // (count * _PIECES))
    whole = tensor.numel() // size * size
    found = []
    for x, most in ((tensor, True), (tensor, False), (tensor.abs(), False)):
        pieces = x[:whole].view(-1, size)
        extremes = pieces.amax(1) if most else pieces.amin(1)  # aminmax takes three times as long as both
        best = extremes.topk(min(count, len(pieces)), largest=most).indices
        found.append(best * size + (pieces[best].argmax(1) if most else pieces[best].argmin(1)))
        if whole < len(x):
            found.append(whole + (x[whole:].argmax(keepdim=True) if most else x[whole:].argmin(keepdim=True)))
    return torch.cat(found).cpu()


def _calibrate(weights: Tensor, drawn: Tensor, values: Tensor, known: Tensor) -> None:
    """Change the weights of the drawn elements, as little as possible, so that known totals come out; in place.

    Args:
        weights: (count,) float64.
        drawn: at which of these the drawn elements are; the others stay.
        values: (totals, count) float64, of about one size.
        known: (totals,) what ``values @ weights`` is to be.
    """
    for _ in range(_ROUNDS):
        part, design = values[:, drawn], weights[drawn]
        change = torch.linalg.lstsq(
            (part * design) @ part.mT, (known - values @ weights)[:, None], driver="gelsd", rcond=1e-9
        ).solution
        changed = design * (1 + change[:, 0] @ part)
        weights[drawn] = changed.clamp(min=0)
        if (changed >= 0).all():
            return
        drawn = drawn[changed >= 0]
