"""The torch modules of the spaces. Names follow timm, so that captures find `blocks`, `attn.qkv`, `mlp.fc1`, ...

A network holds parameters only, no buffers: spaces assemble it on the meta device and fill in the parameters.
"""

from __future__ import annotations

from autoprox.spaces.networks.autoformer import (
    AutoFormer,
    AutoFormerSub,
    InterleavedLinear,
    RelativeAttention,
    RelativePosition,
)
from autoprox.spaces.networks.blocks import Attention, Block, DropPath, Mlp, PatchEmbed
from autoprox.spaces.networks.pit import PiT, Pooling, Stage
from autoprox.spaces.networks.s3 import S3, PatchMerging, WindowAttention

__all__ = [
    "S3",
    "Attention",
    "AutoFormer",
    "AutoFormerSub",
    "Block",
    "DropPath",
    "InterleavedLinear",
    "Mlp",
    "PatchEmbed",
    "PatchMerging",
    "PiT",
    "Pooling",
    "RelativeAttention",
    "RelativePosition",
    "Stage",
    "WindowAttention",
]
