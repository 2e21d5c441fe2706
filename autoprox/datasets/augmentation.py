"""Images as a network sees them: normalised, and in training changed by chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from autoprox.datasets.pixels import MEAN, STD

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["augmented", "normalised"]


def normalised(images: Tensor) -> Tensor:
    """uint8 images (B, 3, side, side) -> float32 with ImageNet's mean 0 and spread 1 a channel."""
    import torch

    mean, std = (images.new_tensor(values, dtype=torch.float32)[:, None, None] for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def augmented(images: Tensor, strength: float, mirrored: bool, generator: Generator) -> Tensor:
    """Each image cropped, stretched, turned, mirrored, brightened and contrasted by chance, then normalised.

    Args:
        images: (B, 3, side, side) uint8, on any device.
        strength: 0: none; 1: up to 40 % of the area cut off, 20 % stretched, 10 degrees turned, 40 % brighter or darker, and
            as much contrast.
        mirrored: whether a mirror image is of the same class.
        generator: of the CPU, so that every device sees the same images.
    """
    import torch

    if strength == 0:
        return normalised(images)
    count = len(images)
    draws = torch.rand(count, 8, generator=generator) * 2 - 1  # uniform on ±1
    zoom = (1 - 0.4 * strength * (draws[:, 0] + 1) / 2).sqrt()
    stretch = torch.exp(0.2 * strength * draws[:, 1])
    angle = math.radians(10) * strength * draws[:, 2]
    flip = torch.where(draws[:, 3] < 0, -1.0, 1.0) if mirrored else torch.ones(count)
    wide, high = zoom * stretch, zoom / stretch
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = flip * wide * angle.cos(), -high * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = flip * wide * angle.sin(), high * angle.cos()
    theta[:, :, 2] = draws[:, 4:6] * (1 - zoom)[:, None]  # the crop stays inside, turned corners are mirrored in
    grid = torch.nn.functional.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    values = normalised(images)
    values = torch.nn.functional.grid_sample(values, grid, "bilinear", "reflection", align_corners=False)
    brightness, contrast = (0.4 * strength * draws[:, i, None, None, None].to(images.device) for i in (6, 7))
    mean = values.mean((1, 2, 3), keepdim=True)
    return (values - mean) * (1 + contrast) + mean + brightness
