"""`textures`: ten kinds of textures, told apart by local statistics; the contour of a patch says nothing.

Recipe of an image (48 × 48 pixels):

1. a ground of one colour, which changes smoothly;
2. perhaps a small patch of another kind of texture, and a plain blob of radius 0 to 8 pixels;
3. the patch: an area with a wavy edge that covers most of the image, filled with one of ten textures (stripes, checks,
   dots, bricks, waves, cells, rings, smooth noise, rough noise, crossed lines), turned by any angle, of any phase, the
   periodic ones with a period of 6 to 8 pixels or a multiple of it; values of mean 0 and spread 1 are shifted and
   squashed by chance, so that a histogram tells little, and mixed from a dark and a light colour;
4. perhaps a stroke, light from one side, and noise, independent for each value.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from autoprox.datasets.drawing import (
    SIDE,
    Floats,
    blobs,
    colours,
    column,
    generated,
    ground,
    local,
    painted,
    pairs,
    smooth,
    strokes,
    uniform,
)
from autoprox.datasets.split import Dataset

__all__ = ["load"]

VERSION = 1


@lru_cache(maxsize=1)
def load() -> Dataset:
    """2000 images for training, 500 for validation, 1500 for test; the same in every process."""
    return generated("textures", VERSION, _drawn, mirrored=True)


def _drawn(rng: np.random.Generator, labels: NDArray[np.int64]) -> Floats:
    n = len(labels)
    others = (labels + rng.integers(1, len(_TEXTURES), n)) % len(_TEXTURES)
    image = _patched(rng, ground(rng, colours(rng, n)), others, uniform(rng, -4, 9, n))
    image = painted(image, blobs(rng, *_anywhere(rng, n), uniform(rng, 0, 8, n), 0.5), colours(rng, n))
    image = _patched(rng, image, labels, uniform(rng, 23, 30, n))
    image = painted(image, strokes(rng, n), colours(rng, n))
    along, _across = local(*_anywhere(rng, n), uniform(rng, 0, 2 * np.pi, n))
    return np.asarray(image * (1 + along / SIDE * column(uniform(rng, 0, 0.3, n)))[..., None])


def _anywhere(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    return uniform(rng, -0.4, 0.4, count) * SIDE, uniform(rng, -0.4, 0.4, count) * SIDE


def _patched(rng: np.random.Generator, image: Floats, labels: NDArray[np.int64], radius: Floats) -> Floats:
    """The image with a patch of each label's texture, of about that radius: a large one near the centre."""
    n = len(labels)
    free = np.maximum(SIDE / 2 - 0.7 * np.abs(radius), 3)
    area = blobs(rng, uniform(rng, -1, 1, n) * free, uniform(rng, -1, 1, n) * free, radius, 0.4)
    dark, light = pairs(rng, n)
    return painted(image, area, dark[:, None, None] + _values(rng, labels)[..., None] * (light - dark)[:, None, None])


def _values(rng: np.random.Generator, labels: NDArray[np.int64]) -> Floats:
    """Textures (n, SIDE, SIDE) of the labels, in 0 to 1."""
    n = len(labels)
    period = column(uniform(rng, 6, 8, n))
    u, v = local(*_anywhere(rng, n), uniform(rng, 0, 2 * np.pi, n))
    u, v = u / period, v / period
    found = np.empty_like(u)
    for label in np.unique(labels):
        mine = labels == label
        found[mine] = _TEXTURES[label](rng, u[mine], v[mine])
    found -= found.mean((1, 2), keepdims=True)
    found /= found.std((1, 2), keepdims=True)
    found += column(uniform(rng, -0.25, 0.25, n))
    return np.asarray(0.5 + 0.5 * np.tanh(found * column(uniform(rng, 0.6, 2.5, n))))


def _wave(phase: Floats) -> Floats:
    return np.asarray(np.cos(2 * np.pi * phase))


def _stripes(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    return _wave(u)


def _checks(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    return np.tanh(3 * _wave(u / 1.4) * _wave(v / 1.4))


def _dots(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Discs on a square lattice."""
    return np.clip(4 * (0.3 - np.hypot(u - np.round(u), v - np.round(v))), -0.5, 0.5)


def _bricks(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Courses, each shifted by half a brick: the distance to the nearest joint."""
    course = np.floor(v)
    along = (u / 2 + course / 2) % 1
    joint = np.minimum(2 * np.minimum(along, 1 - along), np.minimum(v - course, course + 1 - v))
    return np.asarray(np.clip(4 * (joint - 0.2), -0.5, 0.5))


def _waves(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Stripes that wind."""
    return _wave(u + 0.45 * np.sin(2 * np.pi * v / 2))


def _cells(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Edges between the neighbourhoods of random points: the distances to the two nearest ones differ little."""
    first, second = _nearest(rng, u / 1.5, v / 1.5)
    return np.clip(4 * (second - first), 0, 1)


def _rings(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Circles around the points of a square lattice."""
    u, v = u / 1.5, v / 1.5
    return np.clip(4 * (np.abs(np.hypot(u - np.round(u), v - np.round(v)) - 0.33) - 0.1), -0.5, 0.5)


def _smooth(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    return smooth(rng, len(u), 7)


def _rough(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    return smooth(rng, len(u), 16)


def _crossed(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Lines of two directions, at an angle of 60 to 90 degrees."""
    angle = column(uniform(rng, np.pi / 3, np.pi / 2, len(u)))
    return np.maximum(_wave(u), _wave(np.cos(angle) * u + np.sin(angle) * v))


def _nearest(rng: np.random.Generator, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Distances to the nearest and the second nearest of random points, one in each unit square."""
    jitter = uniform(rng, 0, 1, len(u), 32, 32, 2)
    image = np.arange(len(u))[:, None, None]
    column_, row = np.floor(u).astype(int), np.floor(v).astype(int)
    first, second = np.full_like(u, np.inf), np.full_like(u, np.inf)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            point = jitter[image, (row + j) % 32, (column_ + i) % 32]
            distance = np.hypot(column_ + i + point[..., 0] - u, row + j + point[..., 1] - v)
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
    return first, second


_TEXTURES = (_stripes, _checks, _dots, _bricks, _waves, _cells, _rings, _smooth, _rough, _crossed)
