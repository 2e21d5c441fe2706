"""Presets: published procedures of architecture search as settings of the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """Settings that a published procedure had.

    Attributes:
        max_params: {space: most parameters}, where a size was published for it.
        source: the paper, and what of the settings is not in it.
    """

    name: str
    proxy: str
    algorithm: str
    evaluations: int
    max_params: Mapping[str, int]
    source: str
    space: str = "autoformer-tiny"


# Budgets of the published architectures, which have 6.201, 23.935 and 56.471 million parameters. The released script
# has limits of 3 and 23 million, which none of its smallest space's architectures (5.4 to 10.5 million) comes near.
_AUTOFORMER: Final = {"autoformer-tiny": 6_210_000, "autoformer-small": 24_000_000, "autoformer-base": 56_500_000}

PRESETS: Final[dict[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset(
            "tf-tas", "dss", "random", 8000, _AUTOFORMER,
            "Zhou et al. 2022, TF-TAS, CVPR: the best of 8000 random architectures; the budgets are the sizes published",
        ),
        Preset(
            "t-razor", "dss++", "blockwise", 1000, _AUTOFORMER,
            "Zhou et al. 2024, T-Razor, TPAMI 46(10): a reconstruction; population and generations are not known, these "
            "are AutoFormer's (50 and 20), and the budgets TF-TAS's",
        ),
    )
}  # fmt: skip
