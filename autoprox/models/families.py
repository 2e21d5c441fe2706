"""The built-in adapters. They go by the names of modules, so none of the libraries has to be there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from torch import nn

from autoprox.models.adapter import Adapter, Place, SitePath
from primitives.statistics import GROUPS

__all__ = ["FAMILIES"]

_MLP: Final = {"mlp": "mlp", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}

_TIMM: Final[Mapping[str, SitePath]] = {
    "attn": "attn",
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "map": "attn.attn_drop",
    **_MLP,
    "gelu": "mlp.act",
    "norm1": "norm1",
    "norm2": "norm2",
}

_VISION: Final[Mapping[str, SitePath]] = {
    "attn": "attention",
    "qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "proj": "attention.o_proj",
    "map": Place("attention", output=1),
    **_MLP,
    "gelu": "mlp.activation_fn",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
}

# `attention` and `output` add the residual and normalise, so the sites end at the Linear layers inside them
_TEXT: Final[Mapping[str, SitePath]] = {
    "attn": Place("attention.self", "attention.output.dense"),
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "proj": "attention.output.dense",
    "map": Place("attention.self", output=1),
    "mlp": Place("intermediate", "output.dense"),
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "gelu": "intermediate.intermediate_act_fn",
    "norm1": "attention.output.LayerNorm",
    "norm2": "output.LayerNorm",
}

_POST_NORM: Final = (
    "a block normalises after its attention and its MLP, so it has no halves x + attn(norm1(x)) and x + mlp(norm2(x))"
)


def _has(module: nn.Module, *paths: str) -> bool:
    """Whether there is a module at each path."""
    try:
        return all(module.get_submodule(path) is not None for path in paths)
    except AttributeError:
        return False


def _with(*paths: str, without: str = "") -> Callable[[nn.Module], Sequence[nn.Module]]:
    """Finds all modules that have modules at these paths, in the order of the model."""

    def blocks(model: nn.Module) -> Sequence[nn.Module]:
        return [m for m in model.modules() if _has(m, *paths) and not (without and _has(m, without))]

    return blocks


def _timm_like(model: nn.Module) -> Sequence[nn.Module]:
    return [block for block in _with("attn", "mlp")(model) if any(_has(block, str(_TIMM[site])) for site in _LINEAR)]


def _flexibert(model: nn.Module) -> Sequence[nn.Module]:
    return _timm_like(model) if hasattr(model, "embedded") else []


def _inside(*paths: str) -> Callable[[nn.Module], Sequence[nn.Module]]:
    """Finds the blocks in the first list of the first model that has modules at all these paths."""

    def blocks(model: nn.Module) -> Sequence[nn.Module]:
        owner = next((module for module in model.modules() if _has(module, *paths)), None)
        return [] if owner is None else list(owner.get_submodule(paths[0]).children())

    return blocks


_LINEAR: Final = GROUPS["linear"]
_BERT: Final = ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense")

FAMILIES: Final = (
    Adapter(
        "timm XCiT",
        _inside("blocks", "cls_attn_blocks"),  # the class attention behind the blocks is how they are read out
        _TIMM,
        {
            "attn.map": "its attention is between channels, so there is no map of tokens",
            "attn_res": "a local interaction of patches stands between its attention and its MLP",
        },
    ),
    Adapter("timm CaiT", _inside("blocks", "blocks_token_only"), _TIMM),
    Adapter(
        "transformers ViT, DeiT, BEiT, Swin",
        _with("attention.q_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2", "layernorm_before"),
        _VISION,
    ),
    Adapter(
        "transformers BERT, RoBERTa, ELECTRA",
        _with(*_BERT, without="crossattention"),
        _TEXT,
        {"attn_res": _POST_NORM, "mlp_res": _POST_NORM},
        reads="tokens",
    ),
    Adapter("flexibert", _flexibert, _TIMM, reads="tokens"),
    Adapter("timm and what is named like it", _timm_like, _TIMM),
)
"""Asked in this order: the more special before the more general."""
