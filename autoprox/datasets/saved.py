"""Data sets that the library Hugging Face `datasets` has saved in a folder; nothing is downloaded or unpickled."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprox.datasets.files import decoded
from autoprox.datasets.folders import folder_name
from autoprox.datasets.split import Dataset, Split, divided
from autoprox.errors import InputError, MissingError
from autoprox.files import clipped

__all__ = ["is_saved", "load_saved", "saved_parts"]

EXPECTED = "expected a folder that save_to_disk of Hugging Face datasets has written"
SHARES = {"test": 5, "validation": 10}
"""One image in so many is for a part that is absent, as of a folder of images."""


def load_saved(folder: Path, taken: Collection[str] = ()) -> Dataset:
    """The data set of a folder that `save_to_disk` has written.

    Its columns are found by their types: one of images and one of classes (`ClassLabel`, or without any, integers, which
    are numbered in their order); other columns are passed over. A `DatasetDict` has the split `train` and perhaps
    `validation` and `test`; of what is absent, and of a `Dataset`, the images for training are divided as those of a folder of
    images (`autoprox.datasets.folders.load_folder`), from whose name that of the data set is made in the same way.

    Raises MissingError where there is no such folder, the library is not installed (extra `datasets`) or an image is
    absent; InputError where the columns or splits are others, or an image has no class.
    """
    classes, parts = saved_parts(folder)
    train, validation, test = parts
    return Dataset(
        name=folder_name(folder.resolve(), taken),
        classes=classes,
        train=train,
        validation=validation,
        test=test,
        mirrored=True,
        key=_key(parts),
    )


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` has written the folder."""
    return any(os.path.isfile(folder / name) for name in ("dataset_dict.json", "state.json"))


def saved_parts(folder: Path) -> tuple[int, list[Split]]:
    """The number of classes; the parts for training, validation and test. See `load_saved`."""
    splits = _read(folder)
    features = splits["train"].features
    for name, split in splits.items():
        if split.features != features:
            raise InputError(f"{folder} has other columns or classes in {name} than in train; expected the same in all")
        if not len(split):
            raise InputError(f"{folder} has no images in {name}; expected some in every split")
    image, label = _columns(features, folder)
    tables = {name: split.with_format("arrow")[:] for name, split in splits.items()}
    names = getattr(features[label], "names", None)
    rows = [_row(name, folder) for name in tables]
    labels = [_labels(table.column(label), names, row) for table, row in zip(tables.values(), rows, strict=True)]
    if names is None:
        names, numbers = np.unique(np.concatenate(labels), return_inverse=True)
        labels = np.split(numbers, np.cumsum([len(part) for part in labels])[:-1])
    if len(names) < 2:
        raise InputError(f"{folder} has one class only, {names[0]}, in the column {label}; expected at least two")
    found = {
        name: _split(table.column(image), part.astype(np.int64), row)
        for (name, table), part, row in zip(tables.items(), labels, rows, strict=True)
    }
    if absent := [name for name in SHARES if name not in found]:
        train = found["train"]
        *taken, found["train"] = divided(train, [len(train) // SHARES[name] for name in absent], str(folder))
        found |= zip(absent, taken, strict=True)
    return len(names), [found[name] for name in ("train", "validation", "test")]


def _read(folder: Path) -> Mapping[str, Any]:
    """The splits of a folder by their names."""
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError:
        raise MissingError(
            f"reading {clipped(str(folder))} needs Hugging Face datasets, which is not installed: "
            "pip install 'autoprox-vit[datasets]'"
        ) from None
    if not os.path.isdir(folder):  # unlike Path.is_dir, it takes any name
        raise MissingError(f"there is no folder {clipped(str(folder))}; {EXPECTED}")
    try:
        found = load_from_disk(str(folder.resolve()))
    except Exception as error:  # of the files of three libraries: nearly anything where one is damaged
        reason = clipped(str(error).partition("\n")[0])
        raise InputError(f"{folder} cannot be read; {EXPECTED} ({reason})") from error
    if not isinstance(found, DatasetDict):
        return {"train": found}
    if "train" not in found or not set(found) <= {"train", *SHARES}:
        raise InputError(
            f"{folder} has the splits {', '.join(found) or '(none)'}; expected train, and perhaps validation and test: "
            "rename or remove the others"
        )
    return dict(found)


def _columns(features: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """The names of the columns of images and of classes."""
    from datasets import Value

    kinds = {name: kind.dtype if isinstance(kind, Value) else type(kind).__name__ for name, kind in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    labels = labels or [name for name, kind in kinds.items() if re.fullmatch(r"u?int\d+", kind)]
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    raise InputError(
        f"{folder} has the columns {found or '(none)'}; expected one of type Image and one of type ClassLabel, or without "
        "any, one of integers: leave the others out with remove_columns, and save it again"
    )


def _row(part: str, folder: Path) -> Callable[[int], str]:
    """What messages call a row."""
    return lambda index: f"{part}[{index}] of {folder}"


def _labels(column: Any, names: Sequence[str] | None, row: Callable[[int], str]) -> NDArray[np.int64]:
    """The numbers in a column of Arrow; where the classes have names, others than theirs stand for none."""
    numbers = column.to_numpy()
    absent = column.is_null().to_numpy()
    if names is not None:
        absent = absent | (numbers < 0) | (numbers >= len(names))
    if absent.any():
        first = int(absent.argmax())
        raise InputError(f"{row(first)} has no class, but {column[first]} for it; leave such rows out with filter")
    return np.asarray(numbers)


def _split(column: Any, labels: NDArray[np.int64], row: Callable[[int], str]) -> Split:
    """A part whose images are encoded files in a column of Arrow."""

    def content(index: int) -> bytes:
        found = (column[index].as_py() or {}).get("bytes")
        if found is None:
            raise MissingError(f"image {row(index)} is absent: no bytes of it are there, as save_to_disk writes them")
        return bytes(found)

    return Split(labels, content, row, decoded)


def _key(parts: list[Split]) -> str:
    """Identity of parts: the bytes of their images and the labels."""
    digest = hashlib.sha256()
    for part in parts:
        for index, label in enumerate(part.labels.tolist()):
            digest.update(f"{label}\0".encode() + hashlib.sha256(part.content(index)).digest())
        digest.update(b"\n")
    return digest.hexdigest()[:32]
