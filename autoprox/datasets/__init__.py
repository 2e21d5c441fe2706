"""Every data set that networks are trained on or measured on: generated, embedded, or in a local folder.

A known one has a name; any other folder of images, with a folder for each class, is given by its path, and what
Hugging Face `datasets` has saved by `hf:` and the path of its folder. Nothing is downloaded, and nothing is unpickled.
Importing this package does not import torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from autoprox.datasets import digits, shapes, textures
from autoprox.datasets.augmentation import augmented, normalised
from autoprox.datasets.folders import folder_name, load_folder
from autoprox.datasets.pixels import MEAN, STD, resized, square
from autoprox.datasets.published import CHAOYANG, CIFAR100, FLOWERS, Published
from autoprox.datasets.saved import is_saved, load_saved, saved_parts
from autoprox.datasets.split import Dataset, Split
from autoprox.errors import InputError
from autoprox.files import clipped

__all__ = [
    "DATASETS",
    "MEAN",
    "SAVED",
    "STD",
    "Dataset",
    "Known",
    "Split",
    "Training",
    "augmented",
    "is_path",
    "load_dataset",
    "normalised",
    "place_of",
    "resized",
    "square",
    "training_images",
]


@dataclass(frozen=True)
class Known:
    """A data set that has a name."""

    classes: int
    description: str
    source: Callable[[], Dataset] | Published = field(repr=False)

    @property
    def needs_root(self) -> bool:
        """Whether its images are in a local folder, which the user has to name."""
        return isinstance(self.source, Published)


@dataclass(frozen=True)
class Training:
    """Images for training, and what is known of them: see `Dataset`."""

    split: Split
    classes: int
    mirrored: bool


DATASETS = {
    "digits": Known(10, "handwritten digits, 8 px, of scikit-learn", digits.load),
    "shapes": Known(10, "generated figures, 48 px, told apart by their contours", shapes.load),
    "textures": Known(10, "generated textures, 48 px, told apart by local statistics", textures.load),
    "cifar100": Known(CIFAR100.classes, "CIFAR-100, 32 px, the binary version in a local folder", CIFAR100),
    "flowers": Known(FLOWERS.classes, "Oxford 102 Flowers in a local folder", FLOWERS),
    "chaoyang": Known(CHAOYANG.classes, "Chaoyang, slides of colon tissue in a local folder", CHAOYANG),
}
"""Every known data set by its name."""

SAVED = "hf:"
"""Before the path of a folder that Hugging Face `datasets` has written."""


def load_dataset(name: str, root: Path | None = None) -> Dataset:
    """A data set with its three parts.

    Args:
        name: a key of DATASETS, or else the path of a folder of images (`autoprox.datasets.folders.load_folder`), or of a
            saved data set (`autoprox.datasets.saved.load_saved`), which SAVED may precede.
        root: the folder of a published data set, or the folder around it (`autoprox.datasets.published`); others need
            none.

    Raises InputError for an unknown name, a root that is needed and not given, or files that are not as expected, and
    MissingError for an absent folder. An image file is read when it is asked for, not before.
    """
    if name.startswith(SAVED):
        return load_saved(place_of(name)[1], DATASETS)
    if name not in DATASETS and (is_path(name) or os.path.isdir(name)):
        folder = Path(name).expanduser()
        return (load_saved if is_saved(folder) else load_folder)(folder, DATASETS)
    source = _known(name, ", or the path of a folder of images").source
    return source.load(_needed(name, root)) if isinstance(source, Published) else source()


def training_images(name: str, root: Path | None = None) -> Training:
    """What networks may be measured on.

    Of a known data set all images that it gives for training; the files of its other parts may be absent. Another name
    is that of a folder of images or of a saved data set in `root`, as `load_dataset` would call it; after SAVED the name is
    the path of one, from `root`. Raises as `load_dataset`.
    """
    if name.startswith(SAVED):
        return _saved((root or Path()) / Path(name.removeprefix(SAVED)).expanduser())
    if name not in DATASETS and root is not None:
        for folder in sorted(root.iterdir()) if root.is_dir() else []:
            if folder.is_dir() and name in (folder.name, folder_name(folder, DATASETS)):
                if is_saved(folder):
                    return _saved(folder)
                found = load_folder(folder, DATASETS)
                return Training(found.train, found.classes, found.mirrored)
        raise _unknown(name, f", or a folder of images of that name in {clipped(root)}")
    source = _known(name).source
    if isinstance(source, Published):
        return Training(source.training(_needed(name, root)), source.classes, mirrored=True)
    found = source()
    return Training(found.train, found.classes, found.mirrored)


def is_path(name: str) -> bool:
    """Whether the name of a data set is the path of a folder by its looks, with a separator or after SAVED."""
    return name.startswith(SAVED) or os.sep in name or (os.altsep or os.sep) in name


def place_of(name: str) -> tuple[str, Path]:
    """What stands before a path, SAVED or nothing, and the whole path, by which every process finds the folder."""
    before = SAVED if name.startswith(SAVED) else ""
    return before, Path(name.removeprefix(before)).expanduser().absolute()


def _saved(folder: Path) -> Training:
    classes, parts = saved_parts(folder)
    return Training(parts[0], classes, mirrored=True)


def _known(name: str, also: str = "") -> Known:
    if name not in DATASETS:
        raise _unknown(name, also)
    return DATASETS[name]


def _unknown(name: str, also: str) -> InputError:
    name = clipped(name)
    near = get_close_matches(name, DATASETS, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return InputError(f"there is no data set {name!r}{hint}; expected one of {', '.join(DATASETS)}{also}")


def _needed(name: str, root: Path | None) -> Path:
    if root is None:
        raise InputError(f"the images of {name} are in no package; name the folder with them by --data-root")
    return root
