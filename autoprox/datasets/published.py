"""Published data sets in local folders, in the files that their authors distribute; nothing is downloaded or unpickled.

- cifar100 (`cifar-100-binary`): `train.bin`, `test.bin`, the "binary version" of
  https://www.cs.toronto.edu/~kriz/cifar.html
- flowers (`flowers-102`): `jpg/image_00001.jpg` …, `imagelabels.mat`, `setid.mat` of
  https://www.robots.ox.ac.uk/~vgg/data/flowers/102/, with its three parts (`trnid`, `valid`, `tstid`)
- chaoyang: `train.json`, `test.json`, lists of `{"name": path, "label": 0 to 3}`, and the images that they name

Where the authors have no part for validation, a seeded tenth of the training images is it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprox.datasets.files import file_split, files_key
from autoprox.datasets.split import Dataset, Split, divided
from autoprox.errors import InputError, MissingError

__all__ = ["CHAOYANG", "CIFAR100", "FLOWERS", "Published"]


@dataclass(frozen=True)
class Published:
    """Where the parts of a data set are, and how one is read."""

    name: str
    classes: int
    usual: str
    """The usual name of the folder."""
    files: tuple[str, ...]
    """What every use needs in the folder, besides the file of a part."""
    parts: tuple[str, ...]
    """What `read` calls the parts for training, (validation,) and test."""
    part_files: tuple[str, ...]
    """The files of these parts, where each has one."""
    read: Callable[[Path, str], Split]
    """(folder, name of a part) -> that part."""
    key: Callable[[Path, list[Split]], str]

    def load(self, root: Path) -> Dataset:
        """All parts. InputError where a file of the layout is absent or wrong, MissingError where the folder is."""
        folder = self._find(root)
        for file in self.part_files:
            if not (folder / file).exists():
                raise InputError(f"{folder} has no {file}, which {self.name} needs for its test images: put it there")
        parts = [self._checked(folder, part) for part in self.parts]
        empty = [name for name, part in zip(self.parts, parts, strict=True) if not len(part)]
        if empty:
            raise InputError(f"{self.name} in {folder} has no images in {empty[0]}; expected some in every part")
        key = self.key(folder, parts)
        if len(parts) == 2:
            validation, train = divided(parts[0], (len(parts[0]) // 10,), f"{self.name} for training")
            test = parts[1]
        else:
            train, validation, test = parts
        return Dataset(self.name, self.classes, train, validation, test, mirrored=True, key=key)

    def training(self, root: Path) -> Split:
        """All images that the authors give for training; the files of the other parts may be absent."""
        return self._checked(self._find(root), self.parts[0])

    def _checked(self, folder: Path, part: str) -> Split:
        split = self.read(folder, part)
        wrong = split.labels[(split.labels < 0) | (split.labels >= self.classes)]
        if len(wrong):
            raise InputError(f"{self.name} in {folder}: label {wrong[0]} is not in 0 to {self.classes - 1}")
        return split

    def _find(self, root: Path) -> Path:
        """The folder that holds the files for training: root itself or the usual folder in it."""
        needed = (*self.part_files[:1], *self.files)
        if not root.is_dir():
            raise MissingError(f"images of {self.name}: there is no folder {root}")
        for folder in (root, root / self.usual):
            if all((folder / file).exists() for file in needed):
                return folder
        pickles = (root, root / "cifar-100-python", root / self.usual)
        if self.name == "cifar100" and any((folder / "train").is_file() for folder in pickles):
            raise InputError(
                f"{root} holds the Python version of CIFAR-100, which is a pickle, and reading a pickle can run any "
                "code in it; download the binary version (cifar-100-binary.tar.gz), whose train.bin is read instead"
            )
        raise InputError(
            f"{root} is not a folder of {self.name}: expected {', '.join(needed)} in it or in its {self.usual}/; "
            "put them there, or leave this data set out"
        )


def _cifar100(folder: Path, part: str) -> Split:
    """Records of 3074 bytes: coarse label, fine label, and 32 × 32 pixels as planes of red, green and blue."""
    path = folder / part
    length = path.stat().st_size
    if length == 0 or length % 3074:
        raise InputError(f"{path} has {length} bytes; expected a multiple of 3074, the length of a CIFAR-100 record")
    records = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, 3074)
    return Split(
        labels=records[:, 1].astype(np.int64),
        content=lambda i: records[i, 2:].tobytes(),
        name=lambda i: f"record {i} of {path}",
        decode=lambda content, _: np.frombuffer(content, dtype=np.uint8).reshape(3, 32, 32).transpose(1, 2, 0),
    )


def _cifar100_key(folder: Path, parts: list[Split]) -> str:
    digest = hashlib.sha256()
    for name in CIFAR100.part_files:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def _flowers(folder: Path, part: str) -> Split:
    labels, chosen = _matrix(folder / "imagelabels.mat", "labels"), _matrix(folder / "setid.mat", part)
    if len(chosen) and not (chosen.min() >= 1 and chosen.max() <= len(labels)):
        raise InputError(f"{folder / 'setid.mat'}: image numbers are not in 1 to {len(labels)}, as imagelabels.mat has")
    paths = [folder / "jpg" / f"image_{number:05d}.jpg" for number in chosen]  # image and class numbers start at 1
    return file_split(paths, labels[chosen - 1] - 1)


def _matrix(path: Path, name: str) -> NDArray[np.int64]:
    from scipy.io import loadmat

    try:
        return np.asarray(loadmat(path, variable_names=[name])[name]).ravel().astype(np.int64)
    except Exception as error:  # loadmat raises nearly anything on a damaged file
        raise InputError(f"{path} cannot be read; expected a MATLAB file with `{name}` in it ({error!r})") from error


def _chaoyang(folder: Path, part: str) -> Split:
    path = folder / part
    try:
        rows: Any = json.loads(path.read_text(encoding="utf-8"))
        paths = [folder / row["name"] for row in rows]
        labels = np.array([row["label"] for row in rows], dtype=np.int64)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(f'{path}: expected a list of {{"name": path, "label": 0 to 3}} ({error!r})') from error
    return file_split(paths, labels)


CIFAR100 = Published(
    name="cifar100",
    classes=100,
    usual="cifar-100-binary",
    files=(),
    parts=("train.bin", "test.bin"),
    part_files=("train.bin", "test.bin"),
    read=_cifar100,
    key=_cifar100_key,
)
FLOWERS = Published(
    name="flowers",
    classes=102,
    usual="flowers-102",
    files=("jpg", "imagelabels.mat", "setid.mat"),
    parts=("trnid", "valid", "tstid"),
    part_files=(),
    read=_flowers,
    key=files_key,
)
CHAOYANG = Published(
    name="chaoyang",
    classes=4,
    usual="chaoyang",
    files=(),
    parts=("train.json", "test.json"),
    part_files=("train.json", "test.json"),
    read=_chaoyang,
    key=files_key,
)
