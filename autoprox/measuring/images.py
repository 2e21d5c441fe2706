"""Batches of images for the statistics: seeded noise, or real training images from a local folder.

Nothing is downloaded and nothing is unpickled. Images are never augmented: a proxy is compared over networks that see
the same batch, and a random crop would only make the batch depend on more than its seed.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoprox.errors import InputError, MissingError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CLASSES", "PIXELS", "Batch", "image_batch", "noise_batch"]

CLASSES = {"cifar100": 100, "flowers": 102, "chaoyang": 4}
PIXELS = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB values in 0 to 1


@dataclass(frozen=True, eq=False)
class Batch:
    """What a network is measured on."""

    images: Tensor
    """(size, 3, 224, 224) float32, about zero mean and unit spread."""
    labels: Tensor
    """(size,) int64, 0 to classes - 1."""
    classes: int
    key: str
    """Two batches with equal keys hold equal images and labels: what is measured on them may be shared."""


def noise_batch(size: int, classes: int, seed: int) -> Batch:
    """Standard-normal images (size, 3, 224, 224) with uniformly drawn labels; needs no data."""
    import torch

    _check_size(size)
    if classes < 2:
        raise InputError(f"a batch of {classes} classes was asked for; expected at least 2")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (size,), generator=generator)
    images = torch.randn(size, 3, PIXELS, PIXELS, generator=generator)
    return Batch(images, labels, classes, f"noise:{size}:{classes}:{seed}")


def image_batch(dataset: str, root: str | Path, size: int, seed: int) -> Batch:
    """A seeded choice, without replacement, of `size` training images of a data set in a local folder.

    `root` is the folder of the data set, or the folder around it:

    - cifar100 (`cifar-100-binary`): `train.bin`, the "binary version" of https://www.cs.toronto.edu/~kriz/cifar.html
    - flowers (`flowers-102`): `jpg/image_00001.jpg` …, `imagelabels.mat`, `setid.mat` (its `trnid` is the split) of
      https://www.robots.ox.ac.uk/~vgg/data/flowers/102/
    - chaoyang: `train.json`, a list of `{"name": path, "label": 0 to 3}`, and the images it names

    The centre square is cut out and resized to 224 (bicubic), and the values normalised by ImageNet's mean and spread.
    Raises MissingError for an absent folder, an image that cannot be read, or Pillow (extra `vision`; CIFAR-100 needs
    none); InputError for an unknown data set, other files than these, or fewer images than asked for.
    """
    import torch

    if dataset not in _READERS:
        close = difflib.get_close_matches(dataset, _READERS, 1)
        raise InputError(
            f"no reader for images of {dataset!r}; expected one of {', '.join(_READERS)}"
            + (f" (did you mean {close[0]!r}?)" if close else "")
            + "; without a data folder, seeded noise is used instead"
        )
    _check_size(size)
    names, read = _READERS[dataset]
    folder = _find(dataset, Path(root), names)
    split = read(folder)
    if len(split.labels) < size:
        raise InputError(
            f"{dataset} in {folder} has {len(split.labels)} training images; {size} were asked for: use a smaller batch"
        )
    wrong = (split.labels < 0) | (split.labels >= CLASSES[dataset])
    if wrong.any():
        raise InputError(f"{dataset} in {folder}: label {split.labels[wrong][0]} is not in 0 to {CLASSES[dataset] - 1}")
    chosen = np.random.default_rng(seed).choice(len(split.labels), size, replace=False)
    digest = hashlib.sha256(split.labels[chosen].astype("<i8").tobytes())
    images = torch.empty(size, 3, PIXELS, PIXELS)
    for slot, index in enumerate(chosen):
        content = split.content(int(index))
        digest.update(hashlib.sha256(content).digest())
        images[slot] = _normalised(split.decode(content, split.name(int(index))))
    key = f"{dataset}:{size}:{seed}:{digest.hexdigest()[:32]}"
    return Batch(images, torch.from_numpy(split.labels[chosen]), CLASSES[dataset], key)


@dataclass(frozen=True)
class _Split:
    labels: NDArray[np.int64]
    content: Callable[[int], bytes]
    name: Callable[[int], str]
    decode: Callable[[bytes, str], NDArray[np.uint8]]
    """(content, name) -> RGB values (height, width, 3)."""


def _check_size(size: int) -> None:
    if size < 1:
        raise InputError(f"a batch of {size} images was asked for; expected at least 1")


def _find(dataset: str, root: Path, names: tuple[str, ...]) -> Path:
    """The folder that holds names[1:], the files of the layout: root itself or root/names[0]."""
    usual, *files = names
    if not root.is_dir():
        raise MissingError(f"images of {dataset}: there is no folder {root}")
    for folder in (root, root / usual):
        if all((folder / file).exists() for file in files):
            return folder
    if dataset == "cifar100" and any((f / "train").is_file() for f in (root, root / "cifar-100-python", root / usual)):
        raise InputError(
            f"{root} holds the Python version of CIFAR-100, which is a pickle, and reading a pickle can run any code "
            "in it; download the binary version (cifar-100-binary.tar.gz), whose train.bin is read instead"
        )
    raise InputError(
        f"{root} is not a folder of {dataset}: expected {', '.join(files)} in it or in its {usual}/; "
        "put them there, or leave this data set out"
    )


def _cifar100(folder: Path) -> _Split:
    """Records of 3074 bytes: coarse label, fine label, and 32 × 32 pixels as planes of red, green and blue."""
    path = folder / "train.bin"
    length = path.stat().st_size
    if length == 0 or length % 3074:
        raise InputError(f"{path} has {length} bytes; expected a multiple of 3074, the length of a CIFAR-100 record")
    records = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, 3074)
    return _Split(
        labels=records[:, 1].astype(np.int64),
        content=lambda i: records[i, 2:].tobytes(),
        name=lambda i: f"record {i} of {path}",
        decode=lambda content, _: np.frombuffer(content, dtype=np.uint8).reshape(3, 32, 32).transpose(1, 2, 0),
    )


def _flowers(folder: Path) -> _Split:
    labels, train = _matrix(folder / "imagelabels.mat", "labels"), _matrix(folder / "setid.mat", "trnid")
    if len(train) and not (train.min() >= 1 and train.max() <= len(labels)):
        raise InputError(f"{folder / 'setid.mat'}: image numbers are not in 1 to {len(labels)}, as imagelabels.mat has")
    paths = [folder / "jpg" / f"image_{number:05d}.jpg" for number in train]  # image and class numbers start at 1
    return _files(paths, labels[train - 1] - 1)


def _matrix(path: Path, name: str) -> NDArray[np.int64]:
    from scipy.io import loadmat

    try:
        return np.asarray(loadmat(path, variable_names=[name])[name]).ravel().astype(np.int64)
    except Exception as error:  # loadmat raises nearly anything on a damaged file
        raise InputError(f"{path} cannot be read; expected a MATLAB file with `{name}` in it ({error!r})") from error


def _chaoyang(folder: Path) -> _Split:
    path = folder / "train.json"
    try:
        rows: Any = json.loads(path.read_text(encoding="utf-8"))
        paths = [folder / row["name"] for row in rows]
        labels = np.array([row["label"] for row in rows], dtype=np.int64)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(f'{path}: expected a list of {{"name": path, "label": 0 to 3}} ({error!r})') from error
    return _files(paths, labels)


def _files(paths: list[Path], labels: NDArray[np.int64]) -> _Split:
    def content(index: int) -> bytes:
        try:
            return paths[index].read_bytes()
        except OSError as error:
            raise MissingError(f"image {paths[index]} cannot be read: {error.strerror}") from error

    return _Split(labels, content, lambda index: str(paths[index]), _decoded)


def _decoded(content: bytes, name: str) -> NDArray[np.uint8]:
    """The RGB values of an image file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingError(
            f"reading {name} needs Pillow, which is not installed: pip install 'autoprox-vit[vision]'"
        ) from error
    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MissingError(f"image {name} cannot be decoded: {error}") from error


def _normalised(values: NDArray[np.uint8]) -> Tensor:
    """The centre square of RGB values (height, width, 3), resized and normalised: (3, 224, 224)."""
    import torch

    side = min(values.shape[:2])
    top, left = ((length - side) // 2 for length in values.shape[:2])
    square = torch.tensor(values[top : top + side, left : left + side]).permute(2, 0, 1).contiguous()[None] / 255
    # antialias: as Pillow does it; bicubic curves leave the range of the values that they join
    image = torch.nn.functional.interpolate(square, (PIXELS, PIXELS), mode="bicubic", antialias=True)[0].clamp(0, 1)
    return (image - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]


_Reader = Callable[[Path], _Split]
_READERS: dict[str, tuple[tuple[str, ...], _Reader]] = {  # usual folder name and the files of the layout; reader
    "cifar100": (("cifar-100-binary", "train.bin"), _cifar100),
    "flowers": (("flowers-102", "jpg", "imagelabels.mat", "setid.mat"), _flowers),
    "chaoyang": (("chaoyang", "train.json"), _chaoyang),
}
