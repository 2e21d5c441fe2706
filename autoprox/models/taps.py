"""Blocks of foreign models as the measurement sees them: sites where the measurement looks for them.

`primitives.measurement` hooks one module a site. A `Tapped` block answers with a `_Tap` for each, which hooks whatever the
adapter says the site is. Separate query, key and value layers are measured as three sites and put side by side afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autoprox.measuring.splitting import Blocks, Triple
from autoprox.models.adapter import Adapter, Place
from primitives.measurement import HALVES, JACOBIANS, MAP_KINDS, MAP_MODULE, AbsentError
from primitives.statistics import STATISTICS

__all__ = ["Tapped", "joined_blocks", "own_pairs"]

_OF_WEIGHTS: Final = ("weight", "grad", "hvp", "grads")  # rows of the weight, so they lie one below the other
_ENTERING: Final = ("input", "input_grad")
_KINDS: Final = sorted({statistic.kind for statistic in STATISTICS.values()} - set(_OF_WEIGHTS))
_WIDE: Final = ("block", "attn", "mlp", "norm1", "norm2", *HALVES)  # where the width of the block passes
_JACOBIAN: Final = {*((site, "jacobian") for site in JACOBIANS), *((site, "output") for site in HALVES)}


class _Tap:
    """Stands for the module of a site in one pass: hooks and the weight.

    Hooks before a module run see what enters the first of two modules, those after it what leaves the last; or, of a tap
    that is ``entering``, what enters the first as well.
    """

    def __init__(
        self, modules: tuple[nn.Module, nn.Module], output: int, site: str, what: str, width: int | None
    ) -> None:
        self._first, self._last = modules
        self._output, self._site, self._what, self._width = output, site, what, width
        self.entering = False

    def get_parameter(self, name: str) -> nn.Parameter:
        return self._first.get_parameter(name)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        calls: list[None] = []

        def pre(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
            self._once(calls)
            # a module that is called by keyword is taken to name its input first
            name = "" if args else next(iter(kwargs))
            changed = hook(module, (self._checked(args[0] if args else kwargs[name]),))
            if changed is None:
                return None
            return ((changed[0], *args[1:]), kwargs) if args else (args, {**kwargs, name: changed[0]})

        return self._first.register_forward_pre_hook(pre, with_kwargs=True)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        calls: list[None] = []

        def post(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            self._once(calls)
            if self.entering:
                hook(module, (self._checked(next(iter((*args, *kwargs.values())))),), None)
            else:
                hook(module, (), self._checked(output[self._output] if isinstance(output, tuple | list) else output))

        module = self._first if self.entering else self._last
        return module.register_forward_hook(post, with_kwargs=True)

    def _once(self, calls: list[None]) -> None:
        if calls:
            raise self._error(f"{self._what} runs more than once in a pass, so it has no one input and output")
        calls.append(None)

    def _checked(self, tensor: Any) -> Tensor:
        if isinstance(tensor, Tensor) and (self._width is None or tensor.shape[-1] == self._width):
            return tensor
        found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        wanted = "tensor" if self._width is None else f"tensor with the block's {self._width} channels last"
        raise self._error(f"no {wanted} passes {self._what}, but {found}")

    def _error(self, reason: str) -> AbsentError:
        pairs = {(self._site, kind) for kind in _KINDS}
        return AbsentError(reason, pairs | _JACOBIAN if self._site in _WIDE else pairs)


class Tapped:
    """One block; answers what `primitives.measurement` asks of a module."""

    def __init__(self, block: nn.Module, adapter: Adapter) -> None:
        self.block, self.adapter = block, adapter
        self.class_name = type(block).__name__
        self.width = self._width()

    # -- what is there

    def places(self, site: str) -> list[Place]:
        """Where a site is: several places side by side for separate layers, none if the adapter names no such site."""
        if site == "block":
            return [Place("")]
        path = self.adapter.sites.get("norm2" if site in HALVES else site)
        if path is None:
            return []
        paths = path if isinstance(path, tuple) else (path,)
        return [place if isinstance(place, Place) else Place(place) for place in paths]

    def modules(self, site: str) -> list[nn.Module]:
        """The modules of a site, whose weights are the rows of its weight; none where one of them is not there."""
        try:
            return [self.block.get_submodule(place.entry) for place in self.places(site)]
        except AttributeError:
            return []

    def lacks(self, site: str, kind: str) -> str | None:
        """Why the block has no such statistic, as far as that can be seen without running it."""
        name = self.class_name
        if declared := self.adapter.reason(site, kind):
            return f"{name} has no {site}.{kind}: {declared}"
        for part in ("map",) if kind in MAP_KINDS else ("norm2", "mlp", "block") if site in HALVES else (site,):
            if not (places := self.places(part)):
                return f"{name} has no site {part}, which {site}.{kind} is taken at"
            for path in (path for place in places for path in (place.entry, place.exit) if path):
                try:
                    self.block.get_submodule(path)
                except AttributeError:
                    return f"{name} has no '{path}', which {site}.{kind} is taken at"
        if kind in _OF_WEIGHTS:
            for module in self.modules(site):
                weight = getattr(module, "weight", None)
                if not isinstance(weight, nn.Parameter) or weight.ndim != 2:
                    found = tuple(weight.shape) if isinstance(weight, Tensor) else "nothing of the kind"
                    return f"{site} of {name} is a {type(module).__name__}: expected a weight (out, in), found {found}"
        return None

    def _width(self) -> int | None:
        """Channels that enter the block."""
        for site in ("qkv", "fc1"):
            for module in self.modules(site):
                weight = getattr(module, "weight", None)
                if isinstance(weight, nn.Parameter) and weight.ndim == 2:
                    return weight.shape[1]
        return None

    # -- what the measurement asks

    def get_submodule(self, name: str) -> _Tap:
        """The tap of ``site``, ``site<`` (what enters it) or ``site.1`` (one of the layers side by side)."""
        site, _, index = name.removesuffix("<").partition(".")
        place = self.places("map")[0] if name == MAP_MODULE else self.places(site)[int(index or 0)]
        first = self.block.get_submodule(place.entry)
        last = first if place.exit is None else self.block.get_submodule(place.exit)
        what = f"{'the attention map' if name == MAP_MODULE else site} of {self.class_name}"
        width = self.width if site in _WIDE and name != MAP_MODULE else None
        tap = _Tap((first, last), place.output, site, what, width)
        tap.entering = name.endswith("<")
        return tap

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        return self.get_submodule("block").register_forward_pre_hook(hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        return self.get_submodule("block").register_forward_hook(hook)

    # -- from and to the statistics' own names

    def singles(self, triples: Sequence[Triple]) -> tuple[list[Triple], dict[str, str]]:
        """What to ask the measurement for, and the paths to say where that is."""
        wanted: dict[Triple, None] = {}
        for triple in triples:
            wanted.update(dict.fromkeys(self._parts(triple)))
        return list(wanted), {site: "norm2" if site in HALVES else site for _, site, _ in wanted}

    def _parts(self, triple: Triple) -> list[Triple]:
        pass_, site, kind = triple
        if site == "net" or kind in MAP_KINDS:
            return [triple]
        members = _members(site, len(self.places(site)))
        entering = [(pass_, f"{member}<", "input") for member in members]
        if kind in _ENTERING:
            return [(pass_, f"{member}<", kind) for member in members] + entering * (len(members) > 1)
        own = [(pass_, member, kind) for member in members]
        return own + entering * (len(members) > 1 and kind not in _OF_WEIGHTS)

    def joined(self, triples: Sequence[Triple], found: dict[Triple, Tensor]) -> dict[Triple, Tensor]:
        """The statistics under their own names; those of layers side by side as if these were one layer.

        Raises:
            AbsentError: the layers read different tokens.
        """
        return {triple: self._joined(triple, found) for triple in triples}

    def _joined(self, triple: Triple, found: dict[Triple, Tensor]) -> Tensor:
        pass_, site, kind = triple
        parts = [found[part] for part in self._parts(triple) if part[2] == kind]
        if len(self.places(site)) < 2 or site == "net" or kind in MAP_KINDS:
            return parts[0]
        if kind in _OF_WEIGHTS:
            return torch.cat(parts)
        inputs = [found[pass_, f"{member}<", "input"] for member in _members(site, len(self.places(site)))]
        if not all(torch.equal(inputs[0], other) for other in inputs[1:]):
            pairs = {(site, kind_) for kind_ in _KINDS}
            raise AbsentError(f"the layers of {site} of {self.class_name} read different tokens", pairs)
        if kind == "input":
            return inputs[0]
        if kind == "input_grad":  # all of them pass their gradient on to the one input
            return torch.stack(parts).sum(0)
        if kind == "response":  # a row an image: back to tokens, to join their channels
            widths = [module.get_parameter("weight").shape[0] for module in self.modules(site)]
            rows = [part.reshape(len(part), -1, width) for part, width in zip(parts, widths, strict=True)]
            return torch.cat(rows, -1).flatten(1)
        return torch.cat(parts, 1)


def _members(site: str, count: int) -> list[str]:
    return [site] if count < 2 else [f"{site}.{i}" for i in range(count)]


def joined_blocks(tapped: Sequence[Tapped], triples: Sequence[Triple], found: Blocks) -> Blocks:
    """`Tapped.joined`, block by block."""
    return [block.joined(triples, values) for block, values in zip(tapped, found, strict=True)]


def own_pairs(error: AbsentError) -> set[tuple[str, str]]:
    """The statistics that an error of the measurement is about, by their own names."""
    return {(site.removesuffix("<").partition(".")[0], kind) for site, kind in error.pairs}
