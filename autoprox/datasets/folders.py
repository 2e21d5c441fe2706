"""Folders of images in which every class has a folder of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from autoprox.datasets.files import file_split, files_key
from autoprox.datasets.split import Dataset, Split, divided
from autoprox.errors import InputError, MissingError
from autoprox.files import clipped

__all__ = ["folder_name", "load_folder"]

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
EXPECTED = "expected a folder of images for each class, or train/ and test/ with such folders in both"


def load_folder(folder: Path, taken: Collection[str] = ()) -> Dataset:
    """The data set of a folder: `train/CLASS/*`, `test/CLASS/*` and perhaps `val/CLASS/*`, or just `CLASS/*`.

    Classes are numbered in the order of their names. What is no image file in the folder of a class is passed over, and
    so is every name with a leading dot. Without `val` (or `validation`), a seeded tenth of the training images, with a
    share of each class, is for validation; without any parts, the images are divided 70 : 10 : 20 in that way. The name
    is the folder's in lower case with hyphens, followed by `-folder` where it is one of the names `taken`. A mirror
    image counts as of the same class.

    Raises MissingError where there is no such folder or an image is gone; InputError where a class has no image or too
    few to be divided, where there is only one class, or where the parts have different classes.
    """
    if not os.path.isdir(folder):  # unlike Path.is_dir, it takes any name
        raise MissingError(f"there is no folder {clipped(str(folder))}; {EXPECTED}")
    folder = folder.resolve()
    if (folder / "train").is_dir() and _folders(folder / "train"):
        names, (train, validation, test) = _parts(folder)
    else:
        names, whole = _classes(folder)
        test, validation, train = divided(whole, (len(whole) // 5, len(whole) // 10), str(folder))
    return Dataset(
        name=folder_name(folder, taken),
        classes=len(names),
        train=train,
        validation=validation,
        test=test,
        mirrored=True,
        key=files_key(folder, (train, validation, test)),
    )


def folder_name(folder: Path, taken: Collection[str] = ()) -> str:
    """What the data set of a folder is called; see `load_folder`."""
    name = re.sub(r"[^a-z0-9_]+", "-", folder.name.lower()).strip("-_") or "images"
    return f"{name}-folder" if name in taken else name


def _parts(folder: Path) -> tuple[list[str], list[Split]]:
    """Names of the classes; the parts for training, validation and test."""
    held = [name for name in ("val", "validation") if (folder / name).is_dir()]
    if len(held) == 2:
        raise InputError(f"{folder} has both val/ and validation/; expected one of them: remove the other")
    if not (folder / "test").is_dir():
        raise InputError(f"{folder} has train/ but no test/; {EXPECTED}")
    found = {}
    for part in ("train", *held, "test"):
        names, found[part] = _classes(folder / part)
        if part == "train":
            expected = names
        elif names != expected:
            odd = sorted(set(names) ^ set(expected))[0]
            has, lacks = (part, "train") if odd in names else ("train", part)
            raise InputError(
                f"{folder} has a class {odd!r} in {has}/ but not in {lacks}/; expected the same classes in every part"
            )
    train = found["train"]
    if held:
        return expected, [train, found[held[0]], found["test"]]
    validation, rest = divided(train, (len(train) // 10,), str(folder / "train"))
    return expected, [rest, validation, found["test"]]


def _classes(folder: Path) -> tuple[list[str], Split]:
    """Names of the classes and all images of a folder with a folder for each class."""
    paths: list[Path] = []
    labels: list[int] = []
    homes = _folders(folder)
    for label, home in enumerate(homes):
        images = sorted(path for path in home.iterdir() if _shown(path) and path.suffix.lower() in SUFFIXES)
        if not images:
            raise InputError(
                f"{home} holds no image ({', '.join(sorted(SUFFIXES))}); every folder in {folder} is taken for a class: "
                "put images there or remove it"
            )
        paths += images
        labels += [label] * len(images)
    if len(homes) < 2:
        found = f"one class only, {homes[0].name!r}" if homes else "no folder in it"
        raise InputError(f"{folder} has {found}; {EXPECTED}, and at least two classes")
    return [home.name for home in homes], file_split(paths, np.array(labels, dtype=np.int64))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _shown(path))


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")
