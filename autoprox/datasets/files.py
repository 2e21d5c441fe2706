"""Parts whose images are files: read and decoded one by one, when they are asked for."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoprox.datasets.split import Split
from autoprox.errors import MissingError

__all__ = ["decoded", "file_split", "files_key"]


def file_split(paths: list[Path], labels: NDArray[np.int64]) -> Split:
    """A part of image files; MissingError names one that cannot be read or decoded, when it is asked for."""

    def content(index: int) -> bytes:
        try:
            return paths[index].read_bytes()
        except OSError as error:
            raise _unreadable(paths[index], error) from error

    return Split(labels, content, lambda index: str(paths[index]), decoded)


def files_key(folder: Path, parts: Iterable[Split]) -> str:
    """Identity of parts of files: their names in the folder, sizes and labels. MissingError for a file that is gone."""
    digest = hashlib.sha256()
    for part in parts:
        for index, label in enumerate(part.labels.tolist()):
            path = Path(part.name(index))
            try:
                size = path.stat().st_size
            except OSError as error:
                raise _unreadable(path, error) from error
            name = os.path.relpath(path, folder).replace(os.sep, "/")
            digest.update(f"{name}\0{size}\0{label}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()[:32]


def _unreadable(path: Path, error: OSError) -> MissingError:
    return MissingError(f"image {path} cannot be read: {error.strerror}")


def decoded(content: bytes, name: str) -> NDArray[np.uint8]:
    """The RGB values (height, width, 3) of an image file; MissingError names one that cannot be decoded, or Pillow."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingError(
            f"reading {name} needs Pillow, which is not installed: pip install 'autoprox-vit[vision]'"
        ) from error
    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "it is no image of a known format" if isinstance(error, UnidentifiedImageError) else error
        raise MissingError(f"image {name} cannot be decoded: {reason}") from error
