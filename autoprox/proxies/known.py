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
_ABDELFATTAH = "Abdelfattah et al. 2021, Zero-cost proxies for lightweight NAS, ICLR, arXiv 2101.08134"
_AUTO_PROX = "Wei et al. 2024, Auto-Prox, AAAI, doi 10.1609/aaai.v38i14.29511"
_AZ_NAS = "Lee and Ham 2024, AZ-NAS, CVPR, arXiv 2403.19232"
_SERIANNI = "Serianni and Kalita 2023, Training-free NAS for RNNs and Transformers, ACL, arXiv 2306.00288"
_MARTIN = (
    "Martin, Peng and Mahoney 2021, Predicting trends in the quality of neural networks, Nature Communications 12:4122"
)
_SEVERAL = "needs several images"


def _per_layer(template: str) -> str:
    return " + ".join(template.format(site) for site in ("qkv", "proj", "fc1", "fc2"))


_TANGENT = "gram(join(transpose(logits.linear.grads)))"
_EXPRESSIVITY = "sum({})".format(
    " + ".join(f"log(erank(covariance(transpose({name}))))" for name in ("attn_res.output", "block.output"))
)
_TRAINABILITY = "-mean({})".format(
    " + ".join(f"spectral({s}.jacobian) + inverse(spectral({s}.jacobian))" for s in ("attn_res", "mlp_res"))
)

_SIZE = tuple(KnownProxy(name, name, "closed form", meaning) for name, meaning in ARCHITECTURE_NUMBERS.items())

_WEIGHTS_AND_GRADIENTS = (
    KnownProxy(
        "snip",
        "sum(sum(abs(linear.weight * linear.grad)))",
        "Lee et al. 2019, SNIP, arXiv 1810.02340, eq. 5 summed (Abdelfattah et al. 2021, arXiv 2101.08134)",
        _BLOCKS_ONLY,
    ),
    KnownProxy("grad_norm", f"sum({_per_layer('l2({}.grad)')})", _ABDELFATTAH, _BLOCKS_ONLY),
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
        "grasp",
        "-sum(sum(linear.weight * linear.hvp))",
        "Wang et al. 2020, GraSP, ICLR, arXiv 2002.07376: the sum of -w Hg as in arXiv 2101.08134",
        f"{_BLOCKS_ONLY}; H and g over all parameters of the network, zero-cost-nas takes weights of layers only",
    ),
    KnownProxy(
        "fisher",
        "sum(sum(rowmean(square(transpose(linear.gate_grad)))))",
        "Turner et al. 2020, BlockSwap, ICLR, arXiv 1906.04113: for each channel the mean over images of the"
        " square of the sum over positions of activation times gradient",
        "at the outputs of the linear layers of the blocks, positions are tokens; the gradient is that of the mean loss,"
        " as in zero-cost-nas; the constant 1/2 is left out",
    ),
    KnownProxy(
        "gradsign",
        "sum(sum(abs(rowsum(sign(linear.grads)))))",
        "Zhang and Jia 2022, GradSign, ICLR, arXiv 2110.08616: the sum over weights of |sum over images of sign g|",
        f"{_BLOCKS_ONLY}; {_SEVERAL}: of one it counts weights",
    ),
    KnownProxy(
        "zico",
        f"sum({_per_layer('log(sum(rowmean(abs({0}.grads)) / rowstd(abs({0}.grads))))')})",
        "Li et al. 2023, ZiCo, ICLR, arXiv 2301.11300: per layer log of the sum over weights of mean |g| / std |g|",
        f"{_BLOCKS_ONLY}; each image is a batch of its own, where the release takes two batches, and the deviation is the"
        f" unbiased one of |g|, where the release takes that of g; {_SEVERAL}: of one it is not finite",
    ),
    KnownProxy(
        "synflow",
        "sum(sum(abs(ones.linear.weight * ones.linear.grad)))",
        "Tanaka et al. 2020, SynFlow, arXiv 2006.05467, eq. 3",
        f"{_BLOCKS_ONLY}; LayerNorm and softmax stay in, so layer-wise conservation does not hold",
    ),
    KnownProxy(
        "logsynflow",
        "sum(sum(ones.linear.weight * log1p(ones.linear.grad)))",
        "Cavagnero et al. 2023, FreeREA, WACV, arXiv 2207.05135: |w| log(|g| + 1)",
        f"{_BLOCKS_ONLY}; LayerNorm and softmax stay in, so gradients may be negative: their absolute values are taken",
    ),
)

_ACTIVATIONS = (
    KnownProxy(
        "nwot",
        "logvolume(agreement(join(gelu.response)))",
        "Mellor et al. 2021, NAS without training, ICML, arXiv 2006.04647: log-determinant of the matrix of"
        " agreeing binary codes",
        f"signs of all GELU outputs of all blocks are the code; {_SEVERAL}: of one it is the logarithm of the code's length",
    ),
    KnownProxy(
        "swap",
        "patterns(transpose(join(gelu.response)))",
        "Peng et al. 2024, SWAP-NAS, ICLR, arXiv 2403.04161, and for transformers arXiv 2605.07378: the number of"
        " distinct activation patterns of units over the images",
        "signs of all GELU outputs over the images; without the regularisation by size; n images give at most 2^n"
        " patterns, so small batches saturate: use 32 images",
    ),
    KnownProxy(
        "jacov",
        "-divergence(correlation(logits.net.input_grad))",
        "Mellor et al. 2020, arXiv 2006.04647 version 1: minus the sum of log(v + k) + 1/(v + k) over the eigenvalues"
        " of the correlation of the images' input gradients, k = 1e-5",
        f"{_SEVERAL}: of one it is constant",
    ),
    KnownProxy(
        "ntk",
        f"-(spectral({_TANGENT}) / smallest({_TANGENT}))",
        "Chen et al. 2021, TE-NAS, ICLR, arXiv 2102.11535: minus the condition number of the neural tangent kernel",
        f"{_BLOCKS_ONLY}; {_SEVERAL}: of one it is constant",
    ),
    KnownProxy(
        "meco",
        "sum(smallest(correlation(transpose(block.output))))",
        "Jiang et al. 2023, MeCo, NeurIPS: sum over layers of the smallest eigenvalue of the feature maps' Pearson correlation",
        "channels of the outputs of blocks, correlated over the tokens of the whole batch: those of one image are fewer than"
        " the channels, which makes the smallest eigenvalue 0, as in linear layers that widen",
    ),
    KnownProxy(
        "attention-confidence",
        "mean(mean(rowmax(attn.map)))",
        f"Voita et al. 2019, ACL, arXiv 1905.09418: the largest weight of attention; as a proxy: {_SERIANNI}",
        "mean over blocks, heads and queries of the largest attention weight",
    ),
    KnownProxy(
        "attention-entropy",
        "-mean(mean(rowsum(attn.map * log(attn.map))))",
        "Zhai et al. 2023, Preventing attention entropy collapse, ICML, arXiv 2303.06296: -sum a log a",
        "mean over blocks, heads and queries",
    ),
    KnownProxy(
        "head-importance",
        "sum(sum(rowmean(abs(transpose(attn.head_grad)))))",
        f"Michel et al. 2019, NeurIPS, arXiv 1905.10650: E |dL/d gate|; as a proxy: {_SERIANNI}",
        "summed over heads and blocks; the gradient is that of the mean loss",
    ),
)

_TRANSFORMERS = (
    KnownProxy(
        "dss",
        f"sum({_DIVERSITY} + {_SALIENCY})",
        "Zhou et al. 2022, TF-TAS, CVPR, DSS-indicator",
        "as published, not as the released code computes it",
    ),
    KnownProxy(
        "dss-released",
        "sum(nuclear(proj.weight) * nuclear(signed.proj.grad) + sum(abs(ffn.weight * signed.ffn.grad)))",
        "Zhou et al. 2022, TF-TAS, CVPR, as its code computes it (github.com/decemberzhou/TF_TAS, commit 42616bc)",
        "qkv and classifier contribute nothing there, and the sampled weights keep their signs; position embedding and class"
        " token, which it makes absolute, keep theirs here",
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
    KnownProxy(
        "auto-prox-a",
        f"mean({_per_layer('mean(abs(normalise({0}.input_grad))) + mean(relu(possqrt({0}.weight)))')})",
        f"{_AUTO_PROX}: Auto-Prox-A as in a co-author's code (github.com/pprp/PicoNAS, measures/auto_prox.py), genotype"
        " [[5, 10], [14, 6], 0] of (t3g, t2)",
        f"t3g is the gradient by the layer's input, t2 its weight, as that file has them; {_BLOCKS_ONLY}; the mean over the"
        " layers of a block is written as their sum, which changes no rank",
    ),
    KnownProxy(
        "auto-prox-p",
        f"mean({_per_layer('relu(l2({}.weight))')} - log(mean(abs(gelu.input_grad))))",
        f"{_AUTO_PROX}: Auto-Prox-P as in a co-author's code (github.com/pprp/PicoNAS, measures/auto_prox.py), genotype"
        " [[8, 6], [10, 1], 1] of (t2, t1g)",
        "inferred: t1g, the gradient at ReLU, is taken at GELU, and a block's four weights meet its one GELU, where the code"
        f" pairs the layers in their order and drops the rest; {_BLOCKS_ONLY}",
    ),
    KnownProxy(
        "auto-prox-ood",
        "sum(l1(ones.qkv.grad) + l1(ones.proj.grad) + mean(sigmoid(ones.fc1.grad)) + mean(sigmoid(ones.fc2.grad)))",
        f"{_AUTO_PROX}: Auto-Prox-A as in the code of OoD-ViT-NAS (github.com/vovantuan1999a/OoD-ViT-NAS), which cites its"
        " equation 2 and figure 7",
        f"{_BLOCKS_ONLY}; contradicts auto-prox and auto-prox-a: the three published versions are different proxies",
    ),
    KnownProxy(
        "az-nas-expressivity",
        _EXPRESSIVITY,
        f"{_AZ_NAS}, as in its code for AutoFormer: entropy of the principal components of the tokens",
        "after each attention and each MLP with their residuals, of blocks that normalise before them (others, as those of"
        " flexibert, have no such halves and get no score); the 1e-8 in the logarithm is left out",
    ),
    KnownProxy(
        "az-nas-trainability",
        _TRAINABILITY,
        f"{_AZ_NAS}, as in its code for AutoFormer: -s - 1/s of the spectral norm s of Jacobians",
        "of each half of a block that normalises first, with its residual, from one draw of random signs;"
        " the first attention, which the code leaves"
        " out, counts too, and the constant 2 does not",
    ),
    KnownProxy(
        "az-nas",
        f"log(rank({_EXPRESSIVITY})) + log(rank({_TRAINABILITY})) + log(rank(flops))",
        f"{_AZ_NAS}: sum of the logarithms of ranks within the scored population",
        "progressivity is not defined for transformers of one width: the code for AutoFormer has none",
    ),
)

_WEIGHT_STATISTICS = (
    KnownProxy(
        "weight-log-norm",
        f"mean({_per_layer('log(square(l2({}.weight)))')})",
        f"{_MARTIN}: average log Frobenius norm",
        f"{_BLOCKS_ONLY}; the mean over the layers of a block is written as their sum",
    ),
    KnownProxy(
        "weight-log-spectral",
        f"mean({_per_layer('log(square(spectral({}.weight)))')})",
        f"{_MARTIN}: average log spectral norm",
        f"{_BLOCKS_ONLY}; the mean over the layers of a block is written as their sum",
    ),
    KnownProxy(
        "weight-stable-rank",
        f"mean({_per_layer('srank({}.weight)')})",
        "Rudelson and Vershynin 2007, Journal of the ACM 54(4): squared Frobenius over squared spectral norm",
        f"{_BLOCKS_ONLY}; the mean over the layers of a block is written as their sum",
    ),
    KnownProxy(
        "weight-effective-rank",
        f"sum({_per_layer('erank({}.weight)')})",
        "Roy and Vetterli 2007, The effective rank, EUSIPCO: exponential of the entropy of the singular values",
        _BLOCKS_ONLY,
    ),
)

_TABLE = (*_SIZE, *_WEIGHTS_AND_GRADIENTS, *_ACTIVATIONS, *_TRANSFORMERS, *_WEIGHT_STATISTICS)

KNOWN_PROXIES: Final[dict[str, KnownProxy]] = {proxy.name: proxy for proxy in _TABLE}
