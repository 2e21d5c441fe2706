"""Sizes of any model, counted on the model itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autoprox.errors import InputError
from autoprox.measuring.images import Batch
from autoprox.models.adapter import Adapter, adapter_of
from autoprox.models.batches import GivenBatch, batch_for
from autoprox.models.running import Runner, explicit_attention
from autoprox.models.taps import Tapped
from primitives.measurement import frozen_mode

__all__ = ["Size", "count_flops", "count_parameters", "numbers_of_model", "size"]


@dataclass(frozen=True)
class Size:
    """How large a model is.

    Attributes:
        params: parameters, with embeddings and classifier; shared ones once, frozen ones too, buffers not.
        flops: multiply-accumulates of one image or sequence in matrix products and convolutions, those of attention among
            them, as `torch.utils.flop_counter` counts them (half of its number), the field's "FLOPs".
        depth: transformer blocks.
        width: embedding dimension, mean over the blocks.
        heads: attention heads of each block; None where a block does not say.
    """

    params: int
    flops: int
    depth: int
    width: float
    heads: tuple[int | None, ...]


def size(model: nn.Module, batch: GivenBatch | None = None, *, adapter: Adapter | None = None) -> Size:
    """Count a model's size.

    Args:
        model: any that an adapter knows.
        batch: something that it reads; None: noise at its own size.

    Raises:
        InputError: no adapter knows the model, or it does not say what it reads and no batch is given.
    """
    adapter = adapter or adapter_of(model)
    numbers = numbers_of_model(model, adapter, ("params", "depth", "width"))
    flops = count_flops(model, adapter, batch_for(model, adapter, batch, 1, 0))
    heads = tuple(_heads(block) for block in adapter.blocks(model))
    return Size(int(numbers["params"]), flops, int(numbers["depth"]), numbers["width"], heads)


def numbers_of_model(
    model: nn.Module, adapter: Adapter, wanted: Iterable[str], batch: GivenBatch | None = None
) -> dict[str, float]:
    """{architecture number: value} of those that are wanted; see ``primitives.statistics.ARCHITECTURE_NUMBERS``."""
    found: dict[str, float] = {}
    for name in wanted:
        if name == "params":
            found[name] = float(count_parameters(model))
        elif name == "flops":
            found[name] = float(count_flops(model, adapter, batch_for(model, adapter, batch, 1, 0)))
        elif name == "depth":
            found[name] = float(len(adapter.blocks(model)))
        else:
            found[name] = _width(model, adapter)
    return found


def count_parameters(model: nn.Module) -> int:
    """Number of parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(model: nn.Module, adapter: Adapter, batch: Batch) -> int:
    """Multiply-accumulates of the first image or sequence of a batch."""
    # gradients stay on: without them the counter fails on a bare parameter that enters a module, such as a class token
    with frozen_mode(model), explicit_attention(model), FlopCounterMode(display=False) as counter:
        Runner(model, adapter)(batch.images[:1])
    return int(counter.get_total_flops()) // 2


def _width(model: nn.Module, adapter: Adapter) -> float:
    widths = [Tapped(block, adapter).width for block in adapter.blocks(model)]
    known = [width for width in widths if width is not None]
    if len(known) < len(widths):
        raise InputError(f"{type(model).__name__} has blocks without qkv and fc1, so their width is not known")
    return float(torch.tensor(known, dtype=torch.float64).mean())


def _heads(block: nn.Module) -> int | None:
    for module in block.modules():
        for name in ("num_heads", "num_attention_heads"):
            if isinstance(found := getattr(module, name, None), int):
                return found
    return None
