"""Small folders in the exact published formats of the data sets, with images of one colour each, chosen by number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

__all__ = ["write_chaoyang", "write_cifar100", "write_classes", "write_flowers"]


def write_cifar100(root: Path, count: int = 20, test: int = 0, classes: int = 100) -> Path:
    """Records of 3074 bytes; record i has fine label 99 - i mod classes and the colour (i, 2i, 255 - i).

    `test` more records, if any, are in a file of their own.
    """
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True, exist_ok=True)
    records = [
        bytes([7, 99 - i % classes]) + b"".join(bytes([v]) * 1024 for v in (i, 2 * i, 255 - i))
        for i in range(count + test)
    ]
    (folder / "train.bin").write_bytes(b"".join(records[:count]))
    if test:
        (folder / "test.bin").write_bytes(b"".join(records[count:]))
    return folder


def write_flowers(root: Path, train: Sequence[int] = tuple(range(11, 21))) -> Path:
    """30 images, numbered from 1; number n is of class n and has the colour (8n, 0, 0); `train` are for training."""
    folder = root / "flowers-102"
    (folder / "jpg").mkdir(parents=True, exist_ok=True)
    numbers = np.arange(1, 31)
    for number in numbers:
        picture = Image.new("RGB", (60, 40), (8 * int(number), 0, 0))
        picture.save(folder / "jpg" / f"image_{number:05d}.jpg", quality=100)
    rest = np.setdiff1d(numbers, train)
    savemat(folder / "imagelabels.mat", {"labels": numbers[None].astype(np.uint8)})
    savemat(folder / "setid.mat", {"trnid": np.array(train)[None], "valid": rest[None, :10], "tstid": rest[None, 10:]})
    return folder


def write_chaoyang(root: Path, count: int = 8, test: int = 0) -> Path:
    """Images in a folder of their own; image i has label i mod 4 and the colour (0, 30i, 0).

    `test` more images, if any, are in a list of their own.
    """
    folder = root / "chaoyang"
    (folder / "train").mkdir(parents=True, exist_ok=True)
    rows = [{"name": f"train/{i}.JPG", "label": i % 4} for i in range(count + test)]
    for i, row in enumerate(rows):
        Image.new("RGB", (32, 32), (0, 30 * i % 256, 0)).save(folder / str(row["name"]), format="JPEG", quality=100)
    (folder / "train.json").write_text(json.dumps(rows[:count]), encoding="utf-8")
    if test:
        (folder / "test.json").write_text(json.dumps(rows[count:]), encoding="utf-8")
    return folder


def write_classes(folder: Path, counts: Mapping[str, int], suffix: str = ".png") -> Path:
    """A folder for each class, with images of 10 × 8 pixels; image i of class c has the colour (c, i, 0)."""
    for c, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (10, 8), (c, i, 0)).save(folder / name / f"{i}{suffix}")
    return folder
