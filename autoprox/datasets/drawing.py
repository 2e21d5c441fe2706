"""What generated images are made of: coordinates, colours, smooth noise, strokes and blobs, for many images at once.

Images are float32 arrays (n, SIDE, SIDE, 3) in 0 to 1 until `finished`; lengths are in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoprox.datasets.split import Dataset, array_split

__all__ = [
    "SIDE", "Floats", "blobs", "colours", "column", "finished", "generated", "ground", "local", "painted", "pairs",
    "smooth", "strokes", "uniform",
]  # fmt: skip

Floats: TypeAlias = NDArray[np.floating[Any]]  # of single precision, but mypy cannot follow that
SIDE = 48
SIZES = {"train": 2000, "validation": 500, "test": 1500}
CLASSES = 10
SEED = 0
_AXIS = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2


def generated(
    name: str, version: int, draw: Callable[[np.random.Generator, NDArray[np.int64]], Floats], mirrored: bool
) -> Dataset:
    """The data set that `draw` makes: (generator, labels) -> images; every part has a generator of its own.

    `version` belongs to the recipe and grows with each change of it. Every process draws the same images; on processors
    whose float arithmetic rounds differently, a few values in a million are off by 1 of 255.
    """
    parts = []
    for number, size in enumerate(SIZES.values()):
        rng = np.random.default_rng([SEED, version, number, *name.encode()])
        labels = rng.permutation(np.arange(size) % CLASSES)
        images = np.empty((size, SIDE, SIDE, 3), np.uint8)
        for start in range(0, size, 100):  # what fits into a cache is drawn faster
            images[start : start + 100] = finished(rng, draw(rng, labels[start : start + 100]))
        parts.append(array_split(f"{name}, {list(SIZES)[number]}", images, labels))
    train, validation, test = parts
    key = f"v{version}:{SEED}:" + ":".join(map(str, SIZES.values()))
    return Dataset(name, CLASSES, train, validation, test, mirrored, key)


def uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Floats:
    """Uniform numbers of single precision."""
    return rng.uniform(low, high, shape).astype(np.float32)


def column(values: Floats) -> Floats:
    """One number an image, (n,) -> (n, 1, 1), to meet (n, SIDE, SIDE)."""
    return values[:, None, None]


def local(x: Floats, y: Floats, angle: Floats) -> tuple[Floats, Floats]:
    """Coordinates (n, SIDE, SIDE) around the points (x, y), turned by the angles; all three are (n,)."""
    dx, dy = _AXIS[None, None, :] - column(x), _AXIS[None, :, None] - column(y)
    cos, sin = column(np.cos(angle)), column(np.sin(angle))
    return cos * dx + sin * dy, cos * dy - sin * dx


def colours(rng: np.random.Generator, count: int) -> Floats:
    """Colours (count, 3): grey of any brightness, each channel up to 0.15 off."""
    return uniform(rng, 0.1, 0.9, count, 1) + uniform(rng, -0.15, 0.15, count, 3)


def pairs(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """A dark and a light colour, each (count, 3): their brightness differs by 0.3 or more."""
    one, other = colours(rng, count), colours(rng, count)
    while (near := np.abs((one - other).mean(axis=1)) < 0.3).any():
        one[near], other[near] = colours(rng, int(near.sum())), colours(rng, int(near.sum()))
    swapped = one.mean(axis=1, keepdims=True) > other.mean(axis=1, keepdims=True)
    return np.where(swapped, other, one), np.where(swapped, one, other)


def smooth(rng: np.random.Generator, count: int, cells: int) -> Floats:
    """Noise (count, SIDE, SIDE) of mean 0 and spread 1 that changes over about SIDE / cells pixels."""
    knots = np.arange(-1, cells + 2, dtype=np.float32)
    place = (_AXIS / SIDE + 0.5) * cells
    weights = np.exp(-(((place[:, None] - knots) / 0.7) ** 2))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    values = rng.standard_normal((count, len(knots), len(knots)), dtype=np.float32)
    return np.asarray(weights @ values @ weights.T)


def ground(rng: np.random.Generator, base: Floats) -> Floats:
    """Images of the colours `base` (n, 3), with a smooth change of colour over the image."""
    change = smooth(rng, len(base), 2) * column(uniform(rng, 0, 0.1, len(base)))
    return np.asarray(base[:, None, None, :] + change[..., None] * uniform(rng, -1, 1, len(base), 1, 1, 3))


def painted(image: Floats, distance: Floats, colour: Floats) -> Floats:
    """The image with the area of negative distance (n, SIDE, SIDE; pixels) in the colours (n, 3) or an image's."""
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    return np.asarray(image + cover * ((colour[:, None, None, :] if colour.ndim == 2 else colour) - image))


def strokes(rng: np.random.Generator, count: int) -> Floats:
    """Signed distances (count, SIDE, SIDE) to a straight stroke anywhere, which every second image has."""
    place = uniform(rng, -SIDE / 2, SIDE / 2, 2, count)
    u, v = local(place[0], place[1], uniform(rng, 0, np.pi, count))
    half, width = column(uniform(rng, 4, 14, count)), column(uniform(rng, 0.8, 2, count))
    distance = np.hypot(np.maximum(np.abs(u) - half, 0), v) - width
    return np.where(rng.random((count, 1, 1)) < 0.5, distance, np.float32(SIDE))


def blobs(rng: np.random.Generator, x: Floats, y: Floats, radius: Floats, roughness: float) -> Floats:
    """Signed distances (n, SIDE, SIDE), about, to round areas with a wavy edge: centres and mean radii are (n,)."""
    count = len(x)
    u, v = local(x, y, uniform(rng, 0, 2 * np.pi, count))
    angle, edge = np.arctan2(v, u), np.ones_like(u)
    for order in (2, 3, 5):
        wave = np.cos(order * angle + column(uniform(rng, 0, 2 * np.pi, count)))
        edge += column(uniform(rng, 0, roughness / order, count)) * wave
    return np.asarray(np.hypot(u, v) - column(radius) * edge)


def finished(rng: np.random.Generator, image: Floats) -> NDArray[np.uint8]:
    """Images of bytes, after noise of its own strength on each."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= uniform(rng, 0.01, 0.06, len(image), 1, 1, 1)
    return np.asarray(np.round(np.clip(image + noise, 0, 1) * 255), dtype=np.uint8)
