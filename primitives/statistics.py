"""The names of statistics: ``[pass.]site.kind``, one tensor per transformer block, and four numbers per network.

A *site* is a place in a block. Linear sites (``qkv proj fc1 fc2``) and their groups (``msa ffn linear``) have a weight;
module sites (``attn mlp block gelu norm1 norm2``) only see activations; ``attn_res`` and ``mlp_res`` are the two halves
of a block that normalises before each of them, with their residual connections. The site ``net`` is the network as a
whole: one tensor per network.

A *pass* says which weights, images and loss are run: ``data`` (cross-entropy on the batch; not written in names),
``logits`` (the sum of the logits of the batch), ``ones`` (absolute weights, one all-ones image, sum of the logits;
Tanaka et al. 2020, SynFlow, arXiv 2006.05467, eq. 3) and ``signed`` (the same with the weights as they are).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ARCHITECTURE_NUMBERS", "BATCH_PASSES", "GROUPS", "PASSES", "STATISTICS", "SUBMODULES", "Statistic"]

_PASSES: Final = {
    "data": "",
    "ones": "with absolute weights and one image of ones",
    "logits": "with the sum of the logits as the loss",
    "signed": "with the weights as they are and one image of ones",
}
PASSES: Final = tuple(_PASSES)
BATCH_PASSES: Final = ("data", "logits")  # the others run one image of ones

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
    "attn_res": "norm2",  # the halves of a block meet where norm2 reads
    "mlp_res": "norm2",
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
    "hvp": "Hessian of the loss over all parameters times its gradient, the part of the weight, (out, in)",
    "input_grad": "gradient of the loss with respect to the input, through the site, (batch x tokens, channels)",
    "response": "what leaves the site, a row an image, (batch, tokens x channels)",
    "gate_grad": "gradient of the loss with respect to a factor on an image's output channel, (batch, channels)",
    "head_grad": "gradient of the loss with respect to a factor on an image's attention head, (batch, heads)",
    "grads": "gradient of each image's own loss with respect to the weight, (out x in, batch)",
    "jacobian": "Jacobian of output by input, mean over tokens, estimated with random signs, (in, out) channels",
}
_NET_KINDS = {
    "output": "the logits, (batch, classes)",
    "input_grad": "gradient of the loss with respect to the images, (batch, 3 x height x width)",
}
_BACKWARD = ("grad", "output_grad", "hvp", "input_grad", "gate_grad", "head_grad", "grads", "jacobian")
_OUTPUT = ("output", "output_grad")
_INPUT = ("input", "input_grad")


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
        if self.kind in ("weight", "grad", "hvp"):
            return f"{self.site}.weight"
        kind = "output" if self.kind in _OUTPUT else "input" if self.kind in _INPUT else self.kind
        # passes over other images have other shapes
        return f"{'data' if self.runs_batch else 'ones'}.{self.site}.{kind}"

    @property
    def runs_batch(self) -> bool:
        """Whether the pass runs the batch, not one image of ones."""
        return self.pass_ in BATCH_PASSES

    @property
    def of_network(self) -> bool:
        """Whether it is one tensor per network, not one per block."""
        return self.site == "net"

    @property
    def needs_forward(self) -> bool:
        """Whether a network has to be run at all."""
        return self.kind != "weight"

    @property
    def needs_backward(self) -> bool:
        """Whether the loss has to be differentiated."""
        return self.kind in _BACKWARD

    @property
    def phrase(self) -> str:
        """As a part of a sentence, without its shape: ``the weight matrix of qkv``."""
        kind = (_NET_KINDS if self.of_network else _KINDS)[self.kind].partition(", (")[0]
        place = "the network" if self.of_network else self.site
        told = kind.replace("the site", place) if "the site" in kind else f"{kind} of {place}"
        article = "" if told.startswith(("the ", "what ")) else "the "
        run = f" ({_PASSES[self.pass_]})" if _PASSES[self.pass_] else ""
        return f"{article}{told}{run}"

    @property
    def meaning(self) -> str:
        """One phrase for listings."""
        if self.of_network:
            return f"net (one tensor per network): {_NET_KINDS[self.kind]}"
        of = f"{self.site} ({', '.join(self.members)})" if self.site in GROUPS else self.site
        return f"{of}: {_KINDS[self.kind]}"


_PLACES: Final = (
    ((*_LINEAR, *GROUPS), ("weight", "grad", "input", "output", "output_grad")),
    (_MODULES, ("input", "output", "output_grad")),
    (("attn",), ("map",)),
    ((*_LINEAR, *GROUPS), ("hvp", "grads")),
    ((*_LINEAR, *GROUPS, *_MODULES), ("input_grad", "gate_grad")),
    ((*_LINEAR, *_MODULES), ("response",)),
    (("attn",), ("head_grad",)),
    (("attn_res", "mlp_res", "block"), ("jacobian",)),
    (("attn_res",), ("output",)),  # norm2.input, where blocks have halves; an error elsewhere
    (("net",), tuple(_NET_KINDS)),
)


def _exists(pass_: str, kind: str) -> bool:
    """Nothing has two names, and the gradients of single images differ from the gradient only where there are several."""
    if kind == "grads":
        return pass_ in BATCH_PASSES
    if kind == "jacobian":  # no loss enters it
        return pass_ != "logits"
    backward = kind in _BACKWARD
    return backward or (pass_ != "logits" and not (pass_ == "signed" and kind == "weight"))


def _all() -> dict[str, Statistic]:
    every = [
        Statistic(pass_, site, kind)
        for pass_ in PASSES
        for sites, kinds in _PLACES
        for site in sites
        for kind in kinds
        if _exists(pass_, kind)
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
