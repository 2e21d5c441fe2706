"""Batches of images for the statistics: seeded noise, or real training images.

Images are never augmented: a proxy is compared over networks that see the same batch, and a random crop would only make
the batch depend on more than its seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoprox.datasets import DATASETS, MEAN, STD, resized, training_images
from autoprox.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CLASSES", "PIXELS", "Batch", "image_batch", "noise_batch"]

CLASSES = {name: known.classes for name, known in DATASETS.items()}
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


def image_batch(dataset: str, root: str | Path | None, size: int, seed: int, pixels: int = PIXELS) -> Batch:
    """A seeded choice, without replacement, of `size` training images of a known data set (`autoprox.datasets`).

    `root` is the folder of the data set, or the folder around it; None for those that need none. The centre square is
    cut out and resized to `pixels` (bicubic), and the values normalised by ImageNet's mean and spread. Raises
    MissingError for an absent folder, an image that cannot be read, or Pillow (extra `vision`; only image files need
    it); InputError for an unknown data set, other files than expected, or fewer images than asked for.
    """
    import torch

    _check_size(size)
    split = training_images(dataset, None if root is None else Path(root))
    if len(split) < size:
        raise InputError(f"{dataset} has {len(split)} training images; {size} were asked for: use a smaller batch")
    chosen = np.random.default_rng(seed).choice(len(split), size, replace=False)
    digest = hashlib.sha256(split.labels[chosen].astype("<i8").tobytes())
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    images = torch.empty(size, 3, pixels, pixels)
    for slot, index in enumerate(chosen.tolist()):
        content = split.content(index)
        digest.update(hashlib.sha256(content).digest())
        images[slot] = (resized(split.decode(content, split.name(index)), pixels) - mean) / std
    key = f"{dataset}:{size}:{seed}:{digest.hexdigest()[:32]}"
    return Batch(images, torch.from_numpy(split.labels[chosen]), CLASSES[dataset], key)


def _check_size(size: int) -> None:
    if size < 1:
        raise InputError(f"a batch of {size} images was asked for; expected at least 1")
