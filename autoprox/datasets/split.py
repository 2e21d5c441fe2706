"""What a data set is: three disjoint parts of labelled images, and how one part is divided into several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprox.errors import InputError

__all__ = ["Dataset", "Split", "array_split", "divided"]


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images, each read when it is asked for."""

    labels: NDArray[np.int64]
    """(n,), 0 to classes - 1."""
    content: Callable[[int], bytes]
    """Index -> the raw bytes of an image: equal bytes are equal images."""
    name: Callable[[int], str]
    """Index -> what a message calls the image."""
    decode: Callable[[bytes, str], NDArray[np.uint8]]
    """(content, name) -> RGB values (height, width, 3)."""

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> NDArray[np.uint8]:
        """RGB values (height, width, 3) of one image; MissingError where its file cannot be read or decoded."""
        return self.decode(self.content(index), self.name(index))

    def part(self, chosen: NDArray[np.int64]) -> Split:
        """The chosen images, in that order."""
        numbers = chosen.tolist()
        return Split(
            self.labels[chosen], lambda i: self.content(numbers[i]), lambda i: self.name(numbers[i]), self.decode
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """What networks are trained on (`train`), chosen by (`validation`) and judged by (`test`): disjoint parts."""

    name: str
    """`[a-z0-9][a-z0-9_-]*`: it becomes a column of a table."""
    classes: int
    train: Split
    validation: Split
    test: Split
    mirrored: bool
    """Whether the mirror image of an image is of the same class, so that training may flip it."""
    key: str
    """Data sets with equal keys have equal content, as far as names, sizes and labels (of files) tell."""


def array_split(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Split:
    """A part that lies in memory: images (n, height, width, 3)."""
    shape = images.shape[1:]
    return Split(
        labels=labels,
        content=lambda i: images[i].tobytes(),
        name=lambda i: f"image {i} of {name}",
        decode=lambda content, _: np.frombuffer(content, dtype=np.uint8).reshape(shape),
    )


DIVISION = 0
"""The seed of every division; a part of what identifies a data set that is divided."""


def divided(whole: Split, sizes: Sequence[int], place: str) -> list[Split]:
    """Disjoint parts: one of each size, then the rest. The choice is seeded, and each part has its share of each class.

    Every class has at least one image in each part, so that a part exceeds its size where classes are tiny. InputError
    names the place where a class has fewer images than there are parts.
    """
    classes, first, counts = np.unique(whole.labels, return_index=True, return_counts=True)
    for index, count in zip(first[counts <= len(sizes)].tolist(), counts[counts <= len(sizes)], strict=True):
        raise InputError(
            f"the class of {whole.name(index)} has too few images to divide those of {place} into {len(sizes) + 1} "
            f"parts: {count}; expected at least {len(sizes) + 1} of each class"
        )
    ends = np.array([_shares(counts, size) for size in sizes]).cumsum(axis=0)
    pieces: list[list[NDArray[np.int64]]] = []
    rng = np.random.default_rng(DIVISION)
    for label, cuts in zip(classes, ends.T, strict=True):
        pieces.append(np.split(rng.permutation(np.flatnonzero(whole.labels == label)), cuts))
    return [whole.part(np.sort(np.concatenate(part))) for part in zip(*pieces, strict=True)]


def _shares(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many of each class are in a part of that size: proportional, by the largest remainders."""
    exact = counts * size / counts.sum()
    found = np.floor(exact).astype(np.int64)
    found[np.argsort(found - exact, kind="stable")[: size - found.sum()]] += 1
    return np.asarray(np.maximum(found, 1))
