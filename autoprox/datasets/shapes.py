"""`shapes`: ten kinds of figures, told apart by a contour that spans much of the image.

Recipe of an image (48 × 48 pixels):

1. a ground of one colour, which changes smoothly;
2. clutter beneath: perhaps a stroke, and a blob of radius 0 to 5 pixels, of any colour;
3. the figure, lighter than the ground: a disc, triangle, square, hexagon, star, cross, crescent, L, T or arrow, of
   about equal areas and a mean radius of 14.5 to 17.5 pixels, its centre up to 6 pixels off in both directions, turned
   by any angle, stretched by up to 1.25 and perhaps mirrored;
4. clutter above: perhaps a stroke, and a small blob on the edge of the figure, which hides a part of it;
5. noise, independent for each value.
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
    strokes,
    uniform,
)
from autoprox.datasets.split import Dataset

__all__ = ["load"]

VERSION = 1


@lru_cache(maxsize=1)
def load() -> Dataset:
    """2000 images for training, 500 for validation, 1500 for test; the same in every process."""
    return generated("shapes", VERSION, _drawn, mirrored=True)


def _drawn(rng: np.random.Generator, labels: NDArray[np.int64]) -> Floats:
    n = len(labels)
    dark, light = pairs(rng, n)
    image = painted(ground(rng, dark), strokes(rng, n), colours(rng, n))
    spot = uniform(rng, -SIDE / 2, SIDE / 2, 2, n)
    image = painted(image, blobs(rng, spot[0], spot[1], uniform(rng, 0, 5, n), 0.5), colours(rng, n))
    x, y, radius = uniform(rng, -6, 6, n), uniform(rng, -6, 6, n), uniform(rng, 14.5, 17.5, n)
    image = painted(image, _figures(rng, labels, x, y, radius), light)
    image = painted(image, strokes(rng, n), colours(rng, n))
    angle = uniform(rng, 0, 2 * np.pi, n)
    x, y = x + np.cos(angle) * radius, y + np.sin(angle) * radius
    return painted(image, blobs(rng, x, y, uniform(rng, -3, 5, n), 0.5), colours(rng, n))


def _figures(rng: np.random.Generator, labels: NDArray[np.int64], x: Floats, y: Floats, radius: Floats) -> Floats:
    """Signed distances (n, SIDE, SIDE), about, to the figure of each label."""
    n = len(labels)
    u, v = local(x, y, uniform(rng, 0, 2 * np.pi, n))
    stretch = np.exp(uniform(rng, 0, np.log(1.25) / 2, n)) * rng.choice([-1, 1], n).astype(np.float32)
    u, v = u / column(radius * stretch), v / column(radius / np.abs(stretch))
    found = np.empty_like(u)
    for label in np.unique(labels):
        mine = labels == label
        found[mine] = _FIGURES[label](u[mine], v[mine])
    return found * column(radius)


def _disc(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.hypot(u, v) - 0.95)


def _crescent(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.maximum(np.hypot(u - 0.3, v) - 1.2, 0.95 - np.hypot(u - 0.95, v)))


class _Polygon:
    def __init__(self, corners: list[tuple[float, float]], area: float = 2.4) -> None:
        points = np.array(corners)
        x, y = points.T
        signed = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
        self.corners = (points - (points.min(0) + points.max(0)) / 2) * np.sqrt(area / abs(signed))

    def __call__(self, u: Floats, v: Floats) -> Floats:
        """Signed distance to a closed line of corners: the nearest edge; inside where edges are crossed oddly often."""
        square, inside = np.full_like(u, np.inf), np.zeros(u.shape, bool)
        for (ax, ay), (bx, by) in zip(self.corners, np.roll(self.corners, -1, axis=0), strict=True):
            ex, ey, du, dv = np.float32(bx - ax), np.float32(by - ay), u - np.float32(ax), v - np.float32(ay)
            along = np.clip((du * ex + dv * ey) / (ex * ex + ey * ey), 0, 1)
            square = np.minimum(square, (du - along * ex) ** 2 + (dv - along * ey) ** 2)
            if ey:
                inside ^= ((dv >= 0) != (v >= np.float32(by))) & (du < dv * (ex / ey))
        return np.asarray(np.where(inside, -1, 1) * np.sqrt(square), dtype=np.float32)


def _regular(corners: int, inner: float = 1) -> list[tuple[float, float]]:
    """The corners of a regular polygon; every second one drawn in, for a star."""
    radii = [1 if i % 2 == 0 else inner for i in range(corners)]
    turns = [2 * np.pi * i / corners for i in range(corners)]
    return [(r * np.cos(t), r * np.sin(t)) for r, t in zip(radii, turns, strict=True)]


_CROSS = [(-1, 3), (1, 3), (1, 1), (3, 1), (3, -1), (1, -1), (1, -3), (-1, -3), (-1, -1), (-3, -1), (-3, 1), (-1, 1)]
_FIGURES = (
    _disc,
    _Polygon(_regular(3), 2.2),
    _Polygon(_regular(4)),
    _Polygon(_regular(6), 2.6),
    _Polygon(_regular(10, 0.42), 1.7),
    _Polygon([(float(x), float(y)) for x, y in _CROSS], 2.1),
    _crescent,
    _Polygon([(0, 0), (5, 0), (5, 2), (2, 2), (2, 5), (0, 5)], 2.1),
    _Polygon([(-3, 0), (3, 0), (3, 2), (1, 2), (1, 5), (-1, 5), (-1, 2), (-3, 2)], 2.1),
    _Polygon([(0, 0), (3, 3), (1.2, 3), (1.2, 6), (-1.2, 6), (-1.2, 3), (-3, 3)], 1.9),
)
