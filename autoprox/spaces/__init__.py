"""Search spaces: families of architectures that can be sampled, varied, counted, and built as torch modules.

Importing this package does not import torch; building a network does.
"""

from __future__ import annotations

from difflib import get_close_matches

from autoprox.errors import InputError
from autoprox.files import clipped
from autoprox.spaces._space import IMAGE_SIZE, Architecture, Init, Space
from autoprox.spaces.autoformer import AutoFormerArchitecture, AutoFormerSpace, AutoFormerSubSpace
from autoprox.spaces.flexibert import FlexiBertArchitecture, FlexiBertSpace
from autoprox.spaces.pit import PiTArchitecture, PiTSpace
from autoprox.spaces.s3 import S3Architecture, S3Choices, S3Space

__all__ = [
    "IMAGE_SIZE",
    "SPACES",
    "Architecture",
    "AutoFormerArchitecture",
    "AutoFormerSpace",
    "AutoFormerSubSpace",
    "FlexiBertArchitecture",
    "FlexiBertSpace",
    "Init",
    "PiTArchitecture",
    "PiTSpace",
    "S3Architecture",
    "S3Space",
    "Space",
    "get_space",
]

SPACES: dict[str, Space] = {
    space.name: space
    for space in (
        AutoFormerSpace(
            name="autoformer-tiny",
            description="AutoFormer-T's space as published: head dimension 64, relative positions on keys and values",
            embed_dims=(192, 216, 240),
            heads=(3, 4),
            mlp_ratios=(3.5, 4.0),
            depths=(12, 13, 14),
            also_ratios=(3.0,),  # AutoFormer-T itself has it
        ),
        AutoFormerSpace(
            name="autoformer-small",
            description="AutoFormer-S's space as published: head dimension 64, relative positions on keys and values",
            embed_dims=(320, 384, 448),
            heads=(5, 6, 7),
            mlp_ratios=(3.0, 3.5, 4.0),
            depths=(12, 13, 14),
        ),
        AutoFormerSpace(
            name="autoformer-base",
            description="AutoFormer-B's space as published: head dimension 64, relative positions on keys and values",
            embed_dims=(528, 576, 624),
            heads=(9, 10),
            mlp_ratios=(3.0, 3.5, 4.0),
            depths=(14, 15, 16),
            also_heads=(8,),  # a choice in TF-TAS's configuration
        ),
        AutoFormerSubSpace(
            name="autoformer-sub",
            description="ViT-Bench-101's AutoFormer-Ti: head dimension embed_dim / num_heads, no relative position",
            embed_dims=(192, 216, 240),
            heads=(3, 4),
            mlp_ratios=(3.5, 4.0),
            depths=(12, 13, 14),
        ),
        PiTSpace(
            name="pit-tiny",
            description="Pooling-based vision transformers of ViT-Bench-101, the size of PiT-Ti",
            base_dims=(16, 24, 32, 40),
            mlp_ratios=(2, 4, 6, 8),
            heads=(2, 4, 8),
            depths=((1, 2, 3), (4, 6, 8), (2, 4, 6)),
            total_depths=(12, 13, 14),
        ),
        PiTSpace(
            name="pit-xs",
            description="Pooling-based vision transformers around PiT-XS, with TF-TAS's choices",
            base_dims=(40, 48, 56, 64),
            mlp_ratios=(2, 4, 6, 8),
            heads=(2, 4, 8),
            depths=((1, 2, 3), (4, 6, 8), (2, 4, 6)),
            total_depths=tuple(range(7, 18)),
            classes=1000,
        ),
        PiTSpace(
            name="pit-small",
            description="Pooling-based vision transformers around PiT-S, with TF-TAS's choices",
            base_dims=(36, 48, 60, 72),
            mlp_ratios=(2, 4, 6, 8),
            heads=(3, 6, 12),
            depths=((1, 2, 3), (4, 6, 8), (2, 4, 6)),
            total_depths=tuple(range(7, 18)),
            classes=1000,
        ),
        S3Space(
            name="s3-tiny",
            description="AutoFormerV2 around S3-T, four stages of shifted windows: its published fields; its lists of "
            "choices are unknown, these are set by us around S3-T's values",
            stages=(
                S3Choices((64, 96, 128), (1, 2, 3), (2, 3, 4), (3.0, 3.5, 4.0), (7, 14)),
                S3Choices((160, 192, 224), (1, 2, 3), (5, 6, 7), (3.0, 3.5, 4.0), (7, 14)),
                S3Choices((320, 384, 448), (4, 6, 8), (10, 12, 14), (3.0, 3.5, 4.0), (7, 14)),
                S3Choices((640, 768, 896), (1, 2, 3), (20, 24, 28), (3.0, 3.5, 4.0), (7,)),
            ),
        ),
        AutoFormerSubSpace(
            name="autoformer-nano",
            description="AutoFormer-like networks of 24 px images that train in seconds; width, depth and tokens disagree",
            embed_dims=(16, 24, 32, 48),
            heads=(2, 4),
            mlp_ratios=(1.0, 2.0, 4.0),
            depths=(1, 2, 3, 4, 5, 6),
            patch_sizes=(4, 6, 8),
            image_size=24,
            classes=10,
            embedding_std=0.2,
            linear_init="default",
        ),
        PiTSpace(
            name="pit-nano",
            description="Pooling-based networks of 24 px images that train in seconds; width, depth and tokens disagree",
            base_dims=(4, 8, 12),
            mlp_ratios=(1, 2, 4),
            heads=(1, 2, 4),
            depths=((1, 2, 3), (1, 2, 3), (1, 2, 3)),
            total_depths=(3, 4, 5, 6, 7),
            strides=(3, 4, 6),
            image_size=24,
            classes=10,
            embedding_std=0.2,
        ),
        FlexiBertSpace(
            name="flexibert",
            description="NAS-Bench-BERT's encoders: attention, transforms or convolutions in each of 2 or 4 layers",
            hidden_sizes=(128, 256),
            depths=(2, 4),
            operations=(("SA", "SDP"), ("SA", "WMA"), ("LT", "DFT"), ("LT", "DCT"), ("DSC", 5), ("DSC", 9)),
            heads=(2, 4),
            feed_forwards=(512, 1024),
            stacks=(1, 3),
        ),
    )
}
"""Every space by its name."""


def get_space(name: str) -> Space:
    """The space of that name. InputError lists what exists and suggests the nearest name."""
    if name in SPACES:
        return SPACES[name]
    name = clipped(name)
    near = get_close_matches(name, SPACES, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InputError(f"there is no space {name!r}{hint}: choose one of {', '.join(sorted(SPACES))}")
