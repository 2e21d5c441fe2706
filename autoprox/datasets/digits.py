"""Handwritten digits of 8 × 8 pixels, which come with scikit-learn: nothing is downloaded."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from autoprox.datasets.split import DIVISION, Dataset, array_split, divided

__all__ = ["load"]

TEST, VALIDATION = 800, 200  # of 1797; a large test part, so that accuracies are precise


@lru_cache(maxsize=1)
def load() -> Dataset:
    """The test part of the UCI "Optical recognition of handwritten digits", as `sklearn.datasets.load_digits` has it.

    Images are (8, 8, 3) with three equal channels; grey values 0 to 16 become 0 to 255. 797 are for training, 200 for
    validation, 800 for test: a seeded division in which every class has its share.
    """
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    grey = np.round(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    whole = array_split("digits", np.repeat(grey, 3, axis=3), labels.astype(np.int64))
    test, validation, train = divided(whole, (TEST, VALIDATION), "digits")
    digest = hashlib.sha256(grey.tobytes() + whole.labels.astype("<i8").tobytes())
    key = f"{DIVISION}:{TEST}:{VALIDATION}:{digest.hexdigest()[:32]}"
    return Dataset("digits", 10, train, validation, test, mirrored=False, key=key)
