"""Functions that exported files carry along beside the operators and the measurement: see ``_python``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from primitives.functions import spectrum
from primitives.measurement import find_blocks, frozen_mode, submodule

__all__ = [
    "count_blocks",
    "count_flops",
    "count_parameters",
    "elements",
    "mean_width",
    "one_image",
    "shaped_like",
    "singular_values",
]


def elements(*members: Tensor) -> Tensor:
    """All elements of the matrices of a group, as one vector."""
    return torch.cat([member.flatten() for member in members])


def shaped_like(vector: Tensor, members: Sequence[Tensor]) -> list[Tensor]:
    """The elements back in the shapes of the members of their group."""
    parts = torch.split(vector, [member.numel() for member in members])
    return [part.view(member.shape) for part, member in zip(parts, members, strict=True)]


def singular_values(*members: Tensor) -> Tensor:
    """The singular values of all members; NaN if one is not finite, which the decomposition would refuse."""
    if not all(bool(member.isfinite().all()) for member in members):
        return members[0].new_full((1,), torch.nan)
    return torch.cat([spectrum(member) for member in members])


def one_image(model: nn.Module) -> Tensor:
    """One image of 224 pixels, of the type and on the device of the weights."""
    weight = next(model.parameters())
    return torch.ones(1, 3, 224, 224, dtype=weight.dtype, device=weight.device)


def count_parameters(model: nn.Module) -> Tensor:
    """Number of parameters, with the classifier."""
    return torch.tensor(sum(parameter.numel() for parameter in model.parameters()), dtype=torch.float64)


def count_flops(model: nn.Module, images: Tensor) -> Tensor:
    """Multiply-accumulates of one image, which the field calls FLOPs."""
    # gradients stay on: without them the counter fails on a bare parameter that enters a module, such as a class token
    with frozen_mode(model), FlopCounterMode(display=False) as counter:
        model(images[:1])
    return torch.tensor(counter.get_total_flops() / 2, dtype=torch.float64)


def count_blocks(model: nn.Module) -> Tensor:
    """Number of transformer blocks."""
    return torch.tensor(len(find_blocks(model)), dtype=torch.float64)


def mean_width(model: nn.Module) -> Tensor:
    """Embedding dimension, mean over the blocks."""
    widths = [submodule(block, "attn.qkv").get_parameter("weight").shape[1] for block in find_blocks(model)]
    return torch.tensor(widths, dtype=torch.float64).mean()
