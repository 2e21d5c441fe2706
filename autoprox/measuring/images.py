"""Batches of images for the statistics: seeded noise, or real training images.

Images are augmented only where that is asked for: a proxy is compared over networks that see the same batch, and a random crop
makes that batch say less of the data. Published code took batches of its training pipeline, so it can be asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoprox.datasets import DATASETS, MEAN, STD, Split, augmented, resized, square, training_images
from autoprox.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PIXELS", "Batch", "classes_of", "image_batch", "noise_batch"]

PIXELS = 224


@dataclass(frozen=True, eq=False)
class Batch:
    """What a network is measured on."""

    images: Tensor
    """(size, 3, pixels, pixels) float32, about zero mean and unit spread."""
    labels: Tensor
    """(size,) int64, 0 to classes - 1."""
    classes: int
    key: str
    """Two batches with equal keys and equal pixels hold equal images and labels: what is measured on them may be shared."""


def classes_of(dataset: str, root: str | Path | None) -> int:
    """The number of classes of a data set, for which a folder of images is looked through. Raises as `image_batch`."""
    known = DATASETS.get(dataset)
    return (
        known.classes if known is not None else training_images(dataset, None if root is None else Path(root)).classes
    )


def noise_batch(size: int, classes: int, seed: int, pixels: int = PIXELS) -> Batch:
    """Standard-normal images (size, 3, pixels, pixels) with uniformly drawn labels; needs no data."""
    import torch

    _check_size(size)
    if classes < 2:
        raise InputError(f"a batch of {classes} classes was asked for; expected at least 2")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (size,), generator=generator)
    images = torch.randn(size, 3, pixels, pixels, generator=generator)
    return Batch(images, labels, classes, f"noise:{size}:{classes}:{seed}")


def image_batch(
    dataset: str, root: str | Path | None, size: int, seed: int, pixels: int = PIXELS, augment: bool = False
) -> Batch:
    """A seeded choice, without replacement, of `size` training images of a data set (`autoprox.datasets.training_images`).

    `root` is the folder of the data set, or the folder around it; None for those that need none. The centre square is
    cut out and resized to `pixels` (bicubic), and the values normalised by ImageNet's mean and spread; before that, with
    `augment`, the squares are changed by chance as they are in training (`autoprox.datasets.augmented` of strength 1, drawn by
    the seed). Raises MissingError for an absent folder, an image that cannot be read, or Pillow (extra `vision`; only
    image files need it); InputError for an unknown data set, other files than expected, or fewer images than asked for.
    """
    import torch

    _check_size(size)
    found = training_images(dataset, None if root is None else Path(root))
    split = found.split
    if len(split) < size:
        raise InputError(f"{dataset} has {len(split)} training images; {size} were asked for: use a smaller batch")
    chosen = np.random.default_rng(seed).choice(len(split), size, replace=False)
    contents = [split.content(index) for index in chosen.tolist()]
    decoded = _decoded(split, chosen.tolist(), contents)
    if augment:
        squares = torch.stack([square(values, pixels) for values in decoded])
        images = augmented(squares, 1.0, found.mirrored, torch.Generator().manual_seed(seed))
    else:
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        images = torch.empty(size, 3, pixels, pixels)
        for slot, values in enumerate(decoded):
            images[slot] = (resized(values, pixels) - mean) / std
    digest = hashlib.sha256(split.labels[chosen].astype("<i8").tobytes())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    key = f"{dataset}:{size}:{seed}:{digest.hexdigest()[:32]}{':augmented' if augment else ''}"
    return Batch(images, torch.from_numpy(split.labels[chosen]), found.classes, key)


def _decoded(split: Split, chosen: Iterable[int], contents: Iterable[bytes]) -> Iterator[NDArray[np.uint8]]:
    for index, content in zip(chosen, contents, strict=True):
        yield split.decode(content, split.name(index))


def _check_size(size: int) -> None:
    if size < 1:
        raise InputError(f"a batch of {size} images was asked for; expected at least 1")
