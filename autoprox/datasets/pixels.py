"""From an image of any size to a square of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MEAN", "STD", "resized", "square"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's RGB values in 0 to 1."""


def resized(values: NDArray[np.uint8], side: int) -> Tensor:
    """The centre square of RGB values (height, width, 3), resized: float32 (3, side, side) in 0 to 1.

    Bicubic with antialiasing, as Pillow does it; values beyond the range, which bicubic curves reach, are cut off.
    """
    import torch

    length = min(values.shape[:2])
    top, left = ((whole - length) // 2 for whole in values.shape[:2])
    cut = torch.tensor(values[top : top + length, left : left + length]).permute(2, 0, 1).contiguous()[None] / 255
    return torch.nn.functional.interpolate(cut, (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)


def square(values: NDArray[np.uint8], side: int) -> Tensor:
    """The same as bytes: uint8 (3, side, side), a quarter of the memory."""
    import torch

    return (resized(values, side) * 255).round().to(torch.uint8)
