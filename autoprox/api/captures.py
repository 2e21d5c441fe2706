"""From what a user says about captures to their settings, and where captures are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from autoprox.errors import InputError, MissingError, check_least
from autoprox.files import clipped

if TYPE_CHECKING:
    from autoprox.measuring.capture import CaptureSettings
    from autoprox.measuring.workers import Workers

__all__ = ["capture_settings", "image_root", "memo", "result_kept"]


def capture_settings(
    batch_size: int,
    seed: int,
    data_root: str | PathLike[str] | None = None,
    device: str = "cpu",
    text: str | PathLike[str] | None = None,
    *,
    dataset: str | None = None,
    augment: bool = False,
    workers: int | Workers | None = None,
) -> CaptureSettings:
    """The settings of captures that the options describe.

    Args:
        dataset: images that all networks are measured on: the name of a data set, or a folder, see
            `autoprox.datasets.load_dataset`. Without it, a data root gives each data set of the ground truth its own images.
        workers: who captures; only where that is this machine, the device has to be one of it.

    Raises:
        InputError: the device, the text or the images cannot be used.
        MissingError: the text or an image cannot be read.
    """
    from autoprox.datasets import is_path, place_of
    from autoprox.measuring.capture import CaptureSettings, batch_key, check_device
    from autoprox.measuring.images import classes_of
    from autoprox.measuring.tokens import text_file

    check_least("batch size", batch_size, 1)
    check_least("seed", seed, 0)
    if getattr(workers, "local", True):
        check_device(device)
    if augment and data_root is None and dataset is None:
        raise InputError(
            "noise images cannot be augmented; name real ones with --data-root or --dataset, or leave --augment out"
        )
    root = None if data_root is None else image_root(data_root)
    if dataset is not None and is_path(dataset):
        before, folder = place_of(dataset)
        root, dataset = folder.parent, before + folder.name
    settings = CaptureSettings(
        batch_size=batch_size,
        seed=seed,
        classes=None if dataset is None else classes_of(dataset, root),
        dataset=dataset,
        data_root=None if root is None else str(root),
        augment=augment,
        device=device,
        text=None if text is None else text_file(Path(text)),
    )
    if dataset is not None:
        batch_key(settings)  # reads the images, so that what is absent is known at once
    return settings


def image_root(folder: str | PathLike[str]) -> Path:
    """The folder of images that a user has named, which some data sets need; MissingError where it is not there."""
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise MissingError(f"there is no folder {clipped(root)}; expected one with images of the data sets")
    return root


def memo() -> Path:
    """The file of measured features that all runs share."""
    from autoprox.measuring.store import MEMO, home_folder

    return home_folder() / MEMO


@contextmanager
def result_kept(path: Path) -> Iterator[None]:
    """Where the result of long work cannot be written, say where it is nevertheless."""
    try:
        yield
    except MissingError as error:
        raise MissingError(f"{error}; the result is in {path}") from None
