"""The names of statistics: ``[pass.]site.kind``, one tensor per transformer block, and four numbers per network.

A *site* is a place in a block. Linear sites (``qkv proj fc1 fc2``) and their groups (``msa ffn linear``) have a weight;
module sites (``attn mlp block gelu norm1 norm2``) only see activations. A *pass* says which loss is run: ``data``
(cross-entropy on the batch; not written in names) or ``ones`` (absolute weights, all-ones input, sum of the logits;
Tanaka et al. 2020, SynFlow, arXiv 2006.05467, eq. 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ARCHITECTURE_NUMBERS", "GROUPS", "PASSES", "STATISTICS", "SUBMODULES", "Statistic"]

PASSES: Final = ("data", "ones")

# Where a site is in a block, by the attribute names that timm's vision transformers established.
SUBMODULES: Final = {
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "attn": "attn",
    "mlp": "mlp",
    "block": "",
    "gelu": "mlp.act",
    "norm1": "norm1",
    "norm2": "norm2",
}
GROUPS: Final = {"msa": ("qkv", "proj"), "ffn": ("fc1", "fc2"), "linear": ("qkv", "proj", "fc1", "fc2")}

_LINEAR = ("qkv", "proj", "fc1", "fc2")
_MODULES = ("attn", "mlp", "block", "gelu", "norm1", "norm2")
_KINDS = {
    "weight": "the weight matrix, (out, in)",
    "grad": "gradient of the loss with respect to the weight, (out, in)",
    "input": "what enters the site, (batch x tokens, channels)",
    "output": "what leaves the site, (batch x tokens, channels)",
    "output_grad": "gradient of the loss with respect to the output, (batch x tokens, channels)",
    "map": "softmax attention, (batch x heads x tokens, tokens)",
}


@dataclass(frozen=True, slots=True)
class Statistic:
    """One tensor per block. ``pass_`` is the loss that is run, ``site`` the place, ``kind`` what is taken there."""

    pass_: str
    site: str
    kind: str

    @property
    def name(self) -> str:
        """The name in the proxy language; the ``data`` pass is not written."""
        local = f"{self.site}.{self.kind}"
        return local if self.pass_ == "data" else f"{self.pass_}.{local}"

    @property
    def members(self) -> tuple[str, ...]:
        """The single sites behind a group; a single site is its own only member."""
        return GROUPS.get(self.site, (self.site,))

    @property
    def shape_class(self) -> str:
        """Statistics of one class have equal shapes in every block, so element-wise operators may join them."""
        if self.kind in ("weight", "grad"):
            return f"{self.site}.weight"
        kind = "output" if self.kind == "output_grad" else self.kind
        # the two passes run different batches
        return f"{self.pass_}.{self.site}.{kind}"

    @property
    def needs_forward(self) -> bool:
        """Whether a network has to be run at all."""
        return self.kind != "weight"

    @property
    def needs_backward(self) -> bool:
        """Whether the loss has to be differentiated."""
        return self.kind in ("grad", "output_grad")

    @property
    def meaning(self) -> str:
        """One phrase for listings."""
        of = f"{self.site} ({', '.join(self.members)})" if self.site in GROUPS else self.site
        return f"{of}: {_KINDS[self.kind]}"


def _all() -> dict[str, Statistic]:
    every = [
        Statistic(pass_, site, kind)
        for pass_ in PASSES
        for sites, kinds in (
            ((*_LINEAR, *GROUPS), ("weight", "grad", "input", "output", "output_grad")),
            (_MODULES, ("input", "output", "output_grad")),
            (("attn",), ("map",)),
        )
        for site in sites
        for kind in kinds
    ]
    return {statistic.name: statistic for statistic in every}


STATISTICS: Final[dict[str, Statistic]] = _all()

# Numbers of an architecture that need no network. They are in the language so that size can be compared with and
# written down like any other proxy; discovery never uses them.
ARCHITECTURE_NUMBERS: Final[dict[str, str]] = {
    "params": "number of parameters, with the classifier",
    "flops": "multiply-accumulates of one image, the field's 'FLOPs'",
    "depth": "number of transformer blocks",
    "width": "embedding dimension, mean over the blocks",
}
