"""Known proxies, written in the proxy language, so that they are measured on the very networks of the discovered ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from autoprox.language.expression import Expression
from autoprox.language.text import parse_proxy
from primitives.statistics import ARCHITECTURE_NUMBERS

__all__ = ["BASELINES", "KNOWN_PROXIES", "KnownProxy"]

BASELINES: Final = ("params", "flops", "depth")
"""Shown beside every proxy that is ranked."""


@dataclass(frozen=True)
class KnownProxy:
    """A published proxy: its text, where it comes from, and how far the text is what was published."""

    name: str
    text: str
    source: str
    note: str = ""

    @property
    def expression(self) -> Expression:
        return parse_proxy(self.text)


_DIVERSITY = "nuclear(ones.qkv.weight) * nuclear(ones.qkv.grad) + nuclear(ones.proj.weight) * nuclear(ones.proj.grad)"
_SALIENCY = "sum(abs(ones.ffn.weight * ones.ffn.grad))"
_BLOCKS_ONLY = "over the linear layers of the blocks, without patch embedding and classifier"


def _per_layer(template: str) -> str:
    return " + ".join(template.format(site) for site in ("qkv", "proj", "fc1", "fc2"))


_TABLE = (
    *(KnownProxy(name, name, "closed form", meaning) for name, meaning in ARCHITECTURE_NUMBERS.items()),
    KnownProxy(
        "snip",
        "sum(sum(abs(linear.weight * linear.grad)))",
        "Lee et al. 2019, SNIP, arXiv 1810.02340, eq. 5 summed (Abdelfattah et al. 2021, arXiv 2101.08134)",
        _BLOCKS_ONLY,
    ),
    KnownProxy(
        "grad_norm",
        f"sum({_per_layer('l2({}.grad)')})",
        "Abdelfattah et al. 2021, Zero-cost proxies for lightweight NAS, arXiv 2101.08134",
        _BLOCKS_ONLY,
    ),
    KnownProxy(
        "l2_norm",
        f"sum({_per_layer('l2({}.weight)')})",
        "Abdelfattah et al. 2021, zero-cost-nas (github.com/SamsungLabs/zero-cost-nas)",
        _BLOCKS_ONLY,
    ),
    KnownProxy(
        "plain",
        "sum(sum(linear.weight * linear.grad))",
        "Mozer and Smolensky 1989, Skeletonization, as in arXiv 2101.08134",
        _BLOCKS_ONLY,
    ),
    KnownProxy(
        "synflow",
        "sum(sum(abs(ones.linear.weight * ones.linear.grad)))",
        "Tanaka et al. 2020, SynFlow, arXiv 2006.05467, eq. 3",
        f"{_BLOCKS_ONLY}; LayerNorm and softmax stay in, so layer-wise conservation does not hold",
    ),
    KnownProxy(
        "dss",
        f"sum({_DIVERSITY} + {_SALIENCY})",
        "Zhou et al. 2022, TF-TAS, CVPR, DSS-indicator",
        "as published, not as the released code computes it",
    ),
    KnownProxy(
        "dss++",
        f"rank(sum({_DIVERSITY})) + rank(sum({_SALIENCY}))",
        "Zhou et al. 2024, T-Razor, TPAMI 46(10), doi 10.1109/tpami.2024.3378781",
        "a reconstruction from the abstract: ranks of synaptic diversity and saliency within the scored population",
    ),
    KnownProxy(
        "auto-prox",
        f"mean({_per_layer('l2(minmax({}.weight))')} + mean(sqrt(sigmoid(norm1.output_grad)))"
        " + mean(sqrt(sigmoid(norm2.output_grad))))",
        "Wei et al. 2024, Auto-Prox, AAAI, doi 10.1609/aaai.v38i14.29511: the genotype of all released configurations",
        "weights taken as t2 and LayerNorm gradients as t4g, which the release leaves open",
    ),
)

KNOWN_PROXIES: Final[dict[str, KnownProxy]] = {proxy.name: proxy for proxy in _TABLE}
