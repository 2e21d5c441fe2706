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
    sample = torch.stack([x[positions.to(x.device)].cpu().double() for x in tensors])
    weights = torch.zeros(1 + HALVES, count, dtype=torch.float64)
    weights[:, : len(certain)] = 1
    for part, start, step in ((0, 0, 1), *((1 + half, half, HALVES) for half in range(HALVES))):
        places = torch.arange(len(certain) + start, count, step)
        weights[part, places] = free / len(places)
        _calibrate(weights[part], places, sample, totals, length)
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
    for x, largest in ((tensor, True), (tensor, False), (tensor.abs(), False)):
        pieces = x[:whole].view(-1, size)
        extremes = pieces.amax(1) if largest else pieces.amin(1)
        best = extremes.topk(min(count, len(pieces)), largest=largest).indices
        found.append(best * size + (pieces[best].argmax(1) if largest else pieces[best].argmin(1)))
        if whole < len(x):
            found.append(whole + (x[whole:].argmax(keepdim=True) if largest else x[whole:].argmin(keepdim=True)))
    return torch.cat(found).cpu()


def _calibrate(weights: Tensor, drawn: Tensor, sample: Tensor, totals: Tensor, length: int) -> None:
    """Change the weights of the drawn elements, as little as possible, so that known totals come out; in place.

    Args:
        weights: (count,) float64.
        drawn: at which of these the drawn elements are; the others stay.
        sample: (tensors, count) float64.
        totals: (tensors, 3) as in `sampled`.
        length: what the weights add up to.
    """
    values = torch.cat([torch.ones(1, len(weights)).double(), sample, sample.abs(), sample.square()])
    known = torch.cat([torch.tensor([float(length)]).double(), totals.T.flatten()])
    if not (values.isfinite().all() and known.isfinite().all()):
        return
    scale = (values.square() @ weights).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    values, known = values / scale[:, None], known / scale
    active = torch.zeros(len(weights), dtype=torch.bool).index_fill(0, drawn, True)
    for _ in range(_ROUNDS):
        part = values[:, active]
        design = weights[active]
        gram = (part * design) @ part.mT
        change = torch.linalg.lstsq(gram, (known - values @ weights)[:, None], driver="gelsd", rcond=1e-9).solution
        weights[active] = design * (1 + change[:, 0] @ part)
        negative = weights < 0
        if not negative.any():
            return
        weights[negative] = 0
        active &= ~negative
