"""Adapters: where the transformer blocks of a family of models are, and the sites inside a block; the register of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from torch import nn

from autoprox.errors import InputError
from primitives.statistics import SUBMODULES

__all__ = ["Adapter", "Place", "SitePath", "adapter_of", "adapters", "forget", "register"]


@dataclass(frozen=True)
class Place:
    """Where a site is, if it is not simply one module.

    Attributes:
        entry: path, inside the block, of the module that reads what enters the site.
        exit: path of the module that returns what leaves it; None: the entry.
        output: which of the outputs of that module, where it returns several.
    """

    entry: str
    exit: str | None = None
    output: int = 0


SitePath = str | Place | tuple[str, ...]
"""A module's path inside the block, a `Place`, or the paths of Linear layers that read the same tokens (q, k and v)."""


@dataclass(frozen=True)
class Adapter:
    """What has to be known of a family of models.

    Attributes:
        name: of the family.
        blocks: the transformer blocks of a model in the order in which they run, once each; none: not of this family.
        sites: {site: where it is in a block}. Sites are ``qkv proj fc1 fc2`` (Linear layers, weights (out, in)), ``attn mlp
            norm1 norm2 gelu`` (modules whose tensors have the channels last) and ``map``: what returns the softmax
            attention (batch, heads, tokens, tokens) wherever attention is not fused. The block itself need not be named.
        absent: {site or site.kind: why blocks have no such thing, as the end of a sentence}. What is neither named nor
            absent is lacking, with a reason made of the names.
        reads: ``images`` or ``tokens``.
    """

    name: str
    blocks: Callable[[nn.Module], Sequence[nn.Module]]
    sites: Mapping[str, SitePath]
    absent: Mapping[str, str] = field(default_factory=dict)
    reads: Literal["images", "tokens"] = "images"

    def __post_init__(self) -> None:
        known = {*SUBMODULES, "map"} - {"block", "attn_res", "mlp_res"}
        for site in self.sites:
            if site not in known:
                raise InputError(f"the adapter {self.name} names a site {site!r}; expected {', '.join(sorted(known))}")

    def reason(self, site: str, kind: str) -> str | None:
        """Why a statistic is absent by declaration."""
        return self.absent.get(f"{site}.{kind}", self.absent.get(site))


_registered: dict[str, Adapter] = {}


def register(adapter: Adapter) -> Adapter:
    """Add an adapter to those that models are looked up in, before the built-in ones; one of the same name is replaced.

    Where several know a model, the one registered last is taken. The registration holds for this process.
    """
    _registered.pop(adapter.name, None)
    _registered[adapter.name] = adapter
    return adapter


def forget(name: str) -> None:
    """Undo a registration; InputError where there is none."""
    if name not in _registered:
        raise InputError(f"no adapter {name!r} is registered; there is {', '.join(_registered) or 'none'}")
    del _registered[name]


def adapters() -> list[Adapter]:
    """All adapters in the order in which they are asked: own ones, the newest first, then the built-in ones."""
    from autoprox.models.families import FAMILIES

    return [*reversed(_registered.values()), *FAMILIES]


def adapter_of(model: nn.Module) -> Adapter:
    """The adapter that knows the model.

    Raises:
        InputError: there is none; says what the model consists of and how to register one.
    """
    for adapter in adapters():
        if adapter.blocks(model):
            return adapter
    names = ", ".join(adapter.name for adapter in adapters())
    raise InputError(
        f"no adapter knows the blocks of {type(model).__name__}: {_found(model)}. Tell where its blocks and their sites are "
        f"with autoprox.models.register(Adapter(...)), about 20 lines (docs/models.md); known families: {names}"
    )


def _found(model: nn.Module) -> str:
    """What the model consists of, and what its most frequent compound module has."""
    parts = [f"{name} ({type(child).__name__})" for name, child in model.named_children()]
    compound = [module for module in model.modules() if any(chain(module.children()))]
    repeated = Counter(type(module).__name__ for module in compound if not isinstance(module, nn.ModuleList))
    text = f"it has {', '.join(parts[:8]) or 'no submodules'}"
    # of classes that are equally frequent the outermost, which comes first
    name, count = repeated.most_common(1)[0] if repeated else ("", 0)
    if count > 1:
        inside = next(module for module in compound if type(module).__name__ == name)
        children = ", ".join(child for child, _ in inside.named_children())
        text += f", and {count} times a {name} with {children}"
    return text
