"""Measure statistics of a network: one pass a loss, hooks only while it runs, weights restored bit for bit.

This module needs torch alone and knows sites by attribute paths only, so that an exported proxy can carry it along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["MAP_MODULE", "find_blocks", "measure"]

MAP_MODULE = "attn.attn_drop"


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks in the order of execution: modules that have both ``attn`` and ``mlp``."""
    blocks = [module for module in model.modules() if hasattr(module, "attn") and hasattr(module, "mlp")]
    if not blocks:
        raise ValueError(f"{type(model).__name__} has no transformer blocks: expected modules with 'attn' and 'mlp'")
    return blocks


@contextmanager
def absolute_weights(model: nn.Module) -> Iterator[None]:
    """Replace every parameter by its absolute value; afterwards the very bits are back, signed zeros included."""
    parameters = list(model.parameters())
    with torch.no_grad():
        saved = [parameter.detach().clone() for parameter in parameters]
        try:
            for parameter in parameters:
                parameter.abs_()
            with torch.enable_grad():
                yield
        finally:
            for parameter, original in zip(parameters, saved, strict=True):
                parameter.copy_(original)


@contextmanager
def frozen_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout, no stochastic depth) with differentiable parameters; both flags come back."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval()
    for parameter, _ in flags:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def measure(
    model: nn.Module,
    wanted: Sequence[tuple[str, str, str]],
    paths: dict[str, str],
    images: Tensor | None = None,
    labels: Tensor | None = None,
) -> list[dict[tuple[str, str, str], Tensor]]:
    """Measure single-site statistics.

    Args:
        model: a network whose blocks ``find_blocks`` finds.
        wanted: (pass, site, kind) triples; groups are not known here.
        paths: site -> attribute path inside a block.
        images: (batch, 3, height, width), used by the ``data`` pass; the ``ones`` pass takes their size.
        labels: (batch,) class indices, used by the ``data`` pass.

    Returns:
        For each block a matrix for each triple: weights (out, in), activations (batch x tokens, channels), attention
        maps (batch x heads x tokens, tokens). Nothing is run for weights.

    Raises:
        ValueError: a block lacks a site, or a pass lacks its images.
    """
    blocks = find_blocks(model)
    found: list[dict[tuple[str, str, str], Tensor]] = [{} for _ in blocks]
    for pass_ in dict.fromkeys(triple[0] for triple in wanted):
        needed = [(site, kind) for p, site, kind in wanted if p == pass_]
        if all(kind == "weight" for _, kind in needed):
            values = run_pass(model, blocks, needed, paths, None)
            values = [{k: v.abs() if pass_ == "ones" else v for k, v in block.items()} for block in values]
        elif images is None or (pass_ == "data" and labels is None):
            raise ValueError(f"the {pass_} pass runs the network: give it images{' and labels' * (pass_ == 'data')}")
        else:
            weights = absolute_weights(model) if pass_ == "ones" else nullcontext()
            with frozen_mode(model), weights:
                values = run_pass(model, blocks, needed, paths, partial(loss, model, pass_, images, labels))
        for block, kept in zip(values, found, strict=True):
            kept.update({(pass_, site, kind): value for (site, kind), value in block.items()})
    return found


def loss(model: nn.Module, pass_: str, images: Tensor, labels: Tensor | None) -> Tensor:
    """The number that a pass differentiates: cross-entropy on the batch, or the sum of the logits of a one-filled image."""
    if pass_ == "ones" or labels is None:
        return cast(Tensor, model(torch.ones_like(images[:1])).sum())
    return nn.functional.cross_entropy(model(images), labels)


def submodule(block: nn.Module, path: str) -> nn.Module:
    try:
        return block.get_submodule(path)
    except AttributeError:
        raise ValueError(f"{type(block).__name__} has no '{path}', which the statistic is taken at") from None


def run_pass(
    model: nn.Module,
    blocks: Sequence[nn.Module],
    needed: Sequence[tuple[str, str]],
    paths: dict[str, str],
    loss_of: Callable[[], Tensor] | None,
) -> list[dict[tuple[str, str], Tensor]]:
    """Run one loss and keep what is needed of each block; ``loss_of`` None: only the weights are read."""
    values: list[dict[tuple[str, str], Tensor]] = [{} for _ in blocks]
    sources: list[tuple[int, tuple[str, str], Tensor]] = []  # what the loss is differentiated with respect to
    handles = []
    try:
        for i, block in enumerate(blocks):
            for site, kind in needed:
                module = submodule(block, MAP_MODULE if kind == "map" else paths[site])
                if kind in ("weight", "grad"):
                    weight = module.get_parameter("weight")
                    if kind == "grad":
                        sources.append((i, (site, kind), weight))
                    else:
                        values[i][site, kind] = weight.detach().clone()
                    continue

                def keep(
                    _: nn.Module,
                    args: tuple[Tensor, ...],
                    output: Tensor,
                    i: int = i,
                    site: str = site,
                    kind: str = kind,
                ) -> None:
                    if kind == "output_grad":
                        sources.append((i, (site, kind), output))
                    else:
                        values[i][site, kind] = (args[0] if kind == "input" else output).detach()

                handles.append(module.register_forward_hook(keep))
        if loss_of is not None:
            with torch.set_grad_enabled(any(kind in ("grad", "output_grad") for _, kind in needed)):
                value = loss_of()
            if sources:
                gradients = torch.autograd.grad(value, [tensor for *_, tensor in sources], allow_unused=True)
                for (i, key, tensor), gradient in zip(sources, gradients, strict=True):
                    values[i][key] = torch.zeros_like(tensor) if gradient is None else gradient
    finally:
        for handle in handles:
            handle.remove()
    for block, kept in zip(blocks, values, strict=True):
        for site, kind in needed:
            if (site, kind) not in kept:
                path = MAP_MODULE if kind == "map" else paths[site]
                raise ValueError(
                    f"{type(block).__name__} never calls its '{path}', where {site}.{kind} is taken"
                    + " (a fused attention forms no map: switch it off)" * (kind == "map")
                )
    return [{key: value.reshape(-1, value.shape[-1]) for key, value in block.items()} for block in values]
