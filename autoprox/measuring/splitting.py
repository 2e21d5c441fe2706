"""A batch that does not fit into memory: measured in halves, and halves of these, and put together as if it had been one.

Activations and maps of parts lie one below the other. The data pass differentiates the mean loss of the batch, so what is
differentiated counts in a part by the part's share of the images; the sum of the logits is the sum of the parts' sums. A
Hessian product needs the gradient of the whole before any part of it can be computed; a Jacobian the signs of the whole.
Rounding apart, the numbers are those of the batch at once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from autoprox.errors import MissingError
from primitives.measurement import Part
from primitives.statistics import BATCH_PASSES

__all__ = ["Blocks", "Measure", "Triple", "is_lack_of_memory", "measured_in_parts", "release_memory"]

T = TypeVar("T")
Triple: TypeAlias = tuple[str, str, str]
Blocks: TypeAlias = list[dict[Triple, Tensor]]

Measure: TypeAlias = Callable[[Sequence[Triple], slice, "Part | None"], Blocks]
"""Measures (pass, site, kind) triples on the images of a slice of the batch."""

_CONCATENATED = ("input", "output", "map", "response")
_DIFFERENTIATED = (
    "output_grad",
    "input_grad",
    "gate_grad",
    "head_grad",
)  # rows belong to images, the loss to all of them
_SUMMED = ("grad", "hvp")


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether this is what torch and numpy raise where memory is short, on any device."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate" in str(error))


def measured_in_parts(
    measure: Measure,
    gradient: Callable[[str, slice], list[Tensor | None]],
    wanted: Sequence[Triple],
    images: int,
) -> Blocks:
    """Measure on a batch that did not fit at once.

    Args:
        measure: on some images of the batch.
        gradient: of a pass's loss over some images, by all parameters.
        wanted: (pass, site, kind) triples.
        images: in the batch.

    Returns:
        What `measure` would have returned for all images, on the CPU, so that a device has only one part at a time.

    Raises:
        MemoryError, RuntimeError: a single image does not fit either, as torch raised it.
        MissingError: there is no rule for a kind.
    """
    of_batch = [triple for triple in wanted if triple[0] in BATCH_PASSES and triple[2] != "weight"]
    others = [triple for triple in wanted if triple not in of_batch]  # one image, or none
    gradients = {
        pass_: _whole_gradient(partial(gradient, pass_), pass_, images)
        for pass_ in sorted({pass_ for pass_, _, kind in of_batch if kind == "hvp"})
    }
    parts = list(_pieces(lambda rows: _kept(measure(of_batch, rows, Part(rows.start, gradients))), slice(0, images)))
    found = _kept(measure(others, slice(0, 1), None)) if others else [{} for _ in parts[0][1]]
    for i, block in enumerate(found):
        for triple in of_batch:
            block[triple] = _joined(triple, [(share, blocks[i].pop(triple)) for share, blocks in parts], images)
    return found


def _pieces(work: Callable[[slice], T], rows: slice) -> Iterator[tuple[int, T]]:
    """(images, result) of the halves of these rows, and of halves of those that do not fit."""
    count = rows.stop - rows.start
    middle = rows.start + (count + 1) // 2
    for half in (slice(rows.start, middle), slice(middle, rows.stop)):
        if half.start < half.stop:
            found = None
            try:
                found = work(half)
            except (MemoryError, RuntimeError) as error:
                if not is_lack_of_memory(error) or half.stop - half.start == 1:
                    raise
            if found is not None:
                yield half.stop - half.start, found
                continue
            release_memory()  # beyond the handler: the error's traceback holds all that was there
            yield from _pieces(work, half)


def release_memory() -> None:
    """Give back what a measurement that failed has left."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA was never used


def _kept(blocks: Blocks) -> Blocks:
    return [{triple: value.cpu() for triple, value in block.items()} for block in blocks]


def _whole_gradient(gradient: Callable[[slice], list[Tensor | None]], pass_: str, images: int) -> list[Tensor | None]:
    total: list[Tensor | None] = []
    for count, part in _pieces(gradient, slice(0, images)):
        share = _share(pass_, count, images)
        scaled = [None if value is None else value * share for value in part]
        total = [_sum(a, b) for a, b in zip(total, scaled, strict=True)] if total else scaled
    return total


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if b is None else b if a is None else a + b


def _share(pass_: str, count: int, images: int) -> float:
    """How much the loss of a part counts in that of the batch: a mean over images, or a sum."""
    return count / images if pass_ == "data" else 1.0


def _joined(triple: Triple, parts: Sequence[tuple[int, Tensor]], images: int) -> Tensor:
    pass_, _, kind = triple
    if kind in _CONCATENATED:
        return torch.cat([value for _, value in parts])
    if kind == "grads":  # a column an image, of its own loss
        return torch.cat([value for _, value in parts], 1)
    if kind in _DIFFERENTIATED:
        return torch.cat([value * _share(pass_, count, images) for count, value in parts])
    if kind in _SUMMED:
        return torch.stack([value * _share(pass_, count, images) for count, value in parts]).sum(0)
    if kind == "jacobian":  # a mean over the tokens of all images
        return torch.stack([value * (count / images) for count, value in parts]).sum(0)
    raise MissingError(
        f"the batch does not fit into memory, and {kind} of parts of it cannot be joined; use a smaller one"
    )
