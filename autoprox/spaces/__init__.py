"""Search spaces: families of architectures that can be sampled, varied, counted, and built as torch modules.

Importing this package does not import torch; building a network does.
"""

from __future__ import annotations

from difflib import get_close_matches

from autoprox.errors import InputError
from autoprox.files import clipped
from autoprox.spaces._space import IMAGE_SIZE, Architecture, Init, Space
from autoprox.spaces.autoformer import AutoFormerArchitecture, AutoFormerSubSpace
from autoprox.spaces.pit import PiTArchitecture, PiTSpace

__all__ = [
    "IMAGE_SIZE",
    "SPACES",
    "Architecture",
    "AutoFormerArchitecture",
    "AutoFormerSubSpace",
    "Init",
    "PiTArchitecture",
    "PiTSpace",
    "Space",
    "get_space",
]

SPACES: dict[str, Space] = {
    space.name: space
    for space in (
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
