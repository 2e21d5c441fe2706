"""Running foreign models: logits out of whatever they return, tokens that enter at the first block, attention in the open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from autoprox.errors import InputError
from autoprox.measuring.tokens import WORDS
from autoprox.models.adapter import Adapter

__all__ = ["Runner", "explicit_attention", "separate_biases"]


class Runner(nn.Module):
    """A model that takes a batch and returns logits (batch, classes); its parameters are the model's.

    Of a model that reads tokens, floating-point input (batch, length, dim) takes the place of what enters the first block,
    as in the space flexibert: ids cannot be differentiated, and the norm behind the embeddings makes zeros of ones.
    """

    def __init__(self, model: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.model = model
        first = adapter.blocks(model)[:1] if adapter.reads == "tokens" else []
        self._first = tuple(first)  # in a tuple: not a part of this module

    def forward(self, batch: Tensor) -> Tensor:
        if not self._first or not batch.is_floating_point():
            return self._logits(self.model(batch))
        hidden = batch
        if torch.is_grad_enabled() and not hidden.requires_grad:
            hidden = hidden.detach().requires_grad_()  # so that the first block's input has a gradient

        def enter(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return hidden, *args[1:]

        ids = torch.full(hidden.shape[:2], WORDS, device=hidden.device)
        handle = self._first[0].register_forward_pre_hook(enter, prepend=True)
        try:
            return self._logits(self.model(ids))
        finally:
            handle.remove()

    def embedded(self, ids: Tensor) -> Tensor:
        """Token ids (batch, length) -> what enters the first block, (batch, length, dim)."""
        entered: list[Tensor] = []
        handle = self._first[0].register_forward_pre_hook(lambda _, args: entered.append(args[0]))
        try:
            with torch.no_grad():
                self.model(ids)
        finally:
            handle.remove()
        return entered[0]

    def _logits(self, output: Any) -> Tensor:
        found = output if isinstance(output, Tensor) else getattr(output, "logits", None)
        if not isinstance(found, Tensor) or found.ndim != 2:
            got = f"{type(output).__name__}" if found is None else f"a tensor of shape {tuple(found.shape)}"
            raise InputError(
                f"{type(self.model).__name__} returns {got}; expected logits (batch, classes), as a tensor or under "
                "'logits': give it a classifier, or wrap it in a module that returns them"
            )
        return found


@contextmanager
def explicit_attention(model: nn.Module) -> Iterator[None]:
    """Have attention computed step by step, so that maps are formed and gradients can be differentiated; then as before.

    timm's modules have a switch ``fused_attn``, those of transformers look into their configuration.
    """
    fused = [module for module in model.modules() if getattr(module, "fused_attn", False) is True]
    found: list[Any] = [getattr(module, "config", None) for module in model.modules()]
    configs = {id(config): config for config in found if hasattr(config, "_attn_implementation")}
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        for module in fused:
            module.fused_attn = False  # type: ignore[assignment]
        for config, _ in before:
            config._attn_implementation = "eager"
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for module in fused:
            module.fused_attn = True  # type: ignore[assignment]
        for config, implementation in before:
            config._attn_implementation = implementation


@contextmanager
def separate_biases(model: nn.Module) -> Iterator[None]:
    """Have timm's BEiT and Swin v2 call their layer ``qkv``, which they otherwise go around; then as before."""
    around = [module for module in model.modules() if getattr(module, "qkv_bias_separate", True) is False]
    try:
        for module in around:
            module.qkv_bias_separate = True  # type: ignore[assignment]
        yield
    finally:
        for module in around:
            module.qkv_bias_separate = False  # type: ignore[assignment]
