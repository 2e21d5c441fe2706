"""Images on their way into a training: decoded once or on demand, in batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoprox.datasets import Dataset, Split, load_dataset, square

__all__ = ["Pictures", "pictures_of"]

_KEPT = 2 * 2**30
"""Bytes of decoded images that a split may keep in memory; a larger one is decoded anew in every epoch."""

_READERS = 4  # threads that decode: Pillow and torch release the interpreter's lock while they work


class Pictures:
    """The images of one split as squares of one size.

    Args:
        split: images and labels.
        side: of the squares in pixels.
    """

    def __init__(self, split: Split, side: int) -> None:
        self._split, self._side = split, side
        self.labels = torch.from_numpy(split.labels)
        kept = len(split) * 3 * side * side <= _KEPT
        self._images = torch.empty(len(split), 3, side, side, dtype=torch.uint8) if kept else None
        self._decoded = np.zeros(len(split), dtype=bool)

    def __len__(self) -> int:
        return len(self._split)

    @property
    def kept(self) -> int:
        """Bytes of the images that stay in memory once all are decoded."""
        return 0 if self._images is None else self._images.nbytes

    def take(self, rows: Tensor) -> Tensor:
        """Images (rows, 3, side, side) as uint8. MissingError names an image that cannot be decoded."""
        wanted = rows.numpy()
        if self._images is None:
            return torch.stack(self._read(wanted))
        absent = np.unique(wanted[~self._decoded[wanted]])
        if len(absent):
            self._images[torch.from_numpy(absent)] = torch.stack(self._read(absent))
            self._decoded[absent] = True
        return self._images[rows]

    def _read(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[Tensor]:
        with ThreadPoolExecutor(_READERS) as readers:
            return list(readers.map(lambda row: square(self._split.image(int(row)), self._side), rows))


@lru_cache(maxsize=3)  # a build trains many networks on the same few data sets
def pictures_of(name: str, root: Path | None, side: int) -> tuple[Dataset, dict[str, Pictures]]:
    """A data set and its splits as squares, decoded at most once per process where that fits into the memory."""
    dataset = load_dataset(name, root)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return dataset, {part: Pictures(split, side) for part, split in splits.items()}
