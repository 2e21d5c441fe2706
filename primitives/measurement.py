"""Measure statistics of a network: one pass a loss, hooks only while it runs, weights restored bit for bit.

This module needs torch alone and knows sites by attribute paths only, so that an exported proxy can carry it along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["MAP_MODULE", "AbsentError", "Part", "find_blocks", "loss_gradient", "measure"]

MAP_MODULE = "attn.attn_drop"
# pass: absolute weights; the images of the batch, else one of ones; cross-entropy, else the sum of the logits
PASS_RULES = {
    "data": (False, True, True),
    "logits": (False, True, False),
    "ones": (True, False, False),
    "signed": (False, False, False),
}
MAP_KINDS = ("map", "head_grad")  # what is taken where the attention map is
FORWARD_KINDS = ("input", "output", "map", "response")  # what needs no gradient
# from where to where in a block: its entry, its middle (what norm2 reads), its exit
JACOBIANS = {"attn_res": ("entry", "middle"), "mlp_res": ("middle", "exit"), "block": ("entry", "exit")}
HALVES = ("attn_res", "mlp_res")


class AbsentError(ValueError):
    """A block has no such statistic, whatever its numbers; ``pairs`` are all (site, kind) that it lacks for this reason."""

    def __init__(self, reason: str, pairs: Iterable[tuple[str, str]]) -> None:
        super().__init__(reason)
        self.pairs = frozenset(pairs)


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks in the order of execution: modules that have both ``attn`` and ``mlp``."""
    blocks = [module for module in model.modules() if hasattr(module, "attn") and hasattr(module, "mlp")]
    if not blocks:
        raise ValueError(f"{type(model).__name__} has no transformer blocks: expected modules with 'attn' and 'mlp'")
    return blocks


@contextmanager
def absolute_weights(model: nn.Module) -> Iterator[None]:
    """Replace every parameter by its absolute value; afterwards the very bits are back, signed zeros included."""
    parameters = list(model.parameters())
    with torch.no_grad():
        saved = [parameter.detach().clone() for parameter in parameters]
        try:
            for parameter in parameters:
                parameter.abs_()
            with torch.enable_grad():
                yield
        finally:
            for parameter, original in zip(parameters, saved, strict=True):
                parameter.copy_(original)


@contextmanager
def frozen_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout, no stochastic depth) with differentiable parameters; both flags come back."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval()
    for parameter, _ in flags:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def measure(
    model: nn.Module,
    wanted: Sequence[tuple[str, str, str]],
    paths: dict[str, str],
    images: Tensor | None = None,
    labels: Tensor | None = None,
    part: Part | None = None,
    blocks: Sequence[nn.Module] | None = None,
    views: bool = False,
) -> list[dict[tuple[str, str, str], Tensor]]:
    """Measure single-site statistics.

    Args:
        model: a network that returns logits.
        wanted: (pass, site, kind) triples; groups are not known here.
        paths: site -> attribute path inside a block.
        images: (batch, 3, height, width), used by the passes ``data`` and ``logits``; the others take their size.
        labels: (batch,) class indices, used by the ``data`` pass.
        part: where the batch is only a part of one: what has to be known of the whole.
        blocks: its transformer blocks; None: those that ``find_blocks`` finds.
        views: weights may be the network's own memory, for who changes neither; copying takes longer than reading them.

    Returns:
        For each block a matrix for each triple: weights (out, in), activations (batch x tokens, channels), attention
        maps (batch x heads x tokens, tokens); ``primitives.statistics`` says the others. What belongs to the site
        ``net`` is in every block. Nothing is run for weights.

    Raises:
        AbsentError: a block lacks a site; before anything is run, or for the halves (``attn_res``, ``mlp_res``) of a block
            that does not normalise before its MLP, while the first such block runs, or where the pass goes around the site.
        ValueError: a pass lacks its images.
    """
    blocks = find_blocks(model) if blocks is None else blocks
    found: list[dict[tuple[str, str, str], Tensor]] = [{} for _ in blocks]
    for pass_ in dict.fromkeys(triple[0] for triple in wanted):
        absolute, batch, entropy = PASS_RULES[pass_]
        needed = [(site, kind) for p, site, kind in wanted if p == pass_]
        if all(kind == "weight" for _, kind in needed):
            values = run_pass(model, blocks, needed, paths, None, None, views=views or absolute)
            values = [{k: v.abs() if absolute else v for k, v in block.items()} for block in values]
        elif images is None or (entropy and labels is None):
            raise ValueError(f"the {pass_} pass runs the network: give it images{' and labels' * entropy}")
        else:
            shown = images if batch else torch.ones_like(images[:1])
            with frozen_mode(model), absolute_weights(model) if absolute else nullcontext():
                known = part if batch else None
                along = known.gradients.get(pass_) if known else None
                values = run_pass(
                    model,
                    blocks,
                    needed,
                    paths,
                    shown,
                    labels if entropy else None,
                    known.first if known else 0,
                    along,
                    views and not absolute,
                )
        for block, kept in zip(values, found, strict=True):
            kept.update({(pass_, site, kind): value for (site, kind), value in block.items()})
    return found


def loss(logits: Tensor, labels: Tensor | None) -> Tensor:
    """The number that a pass differentiates: mean cross-entropy, or without labels the sum of the logits."""
    return logits.sum() if labels is None else nn.functional.cross_entropy(logits, labels)


def loss_gradient(model: nn.Module, pass_: str, images: Tensor, labels: Tensor | None) -> list[Tensor | None]:
    """Gradient of the loss of a pass over the batch by each parameter; None where it does not depend on one."""
    with frozen_mode(model):
        value = loss(model(images), labels if PASS_RULES[pass_][2] else None)
        return list(torch.autograd.grad(value, list(model.parameters()), allow_unused=True))


def named(block: nn.Module) -> str:
    """What errors call a block: its class, or what an object that stands for it says."""
    return str(getattr(block, "class_name", type(block).__name__))


def submodule(block: nn.Module, path: str) -> nn.Module:
    try:
        return block.get_submodule(path)
    except AttributeError:
        raise ValueError(f"{named(block)} has no '{path}', which the statistic is taken at") from None


class Part:
    """What a part of a batch has to know of the whole, so that values of parts add up to those of the whole.

    ``first`` is the place of its first image; ``gradients`` are those of the whole by the parameters, by pass (for hvp).
    """

    def __init__(self, first: int, gradients: dict[str, list[Tensor | None]]) -> None:
        self.first, self.gradients = first, gradients


class Taken:
    """What a pass takes from one block, or from the network as a whole, by (site, kind)."""

    def __init__(self) -> None:  # no dataclass: those look for their module, which an executed text may not have
        self.values: dict[tuple[str, str], Tensor] = {}
        self.sources: dict[tuple[str, str], Tensor] = {}  # the loss is differentiated by these
        self.weights: dict[tuple[str, str], Tensor] = {}  # of the kinds hvp and grads
        self.places: dict[str, Tensor] = {}  # where Jacobians begin and end


def listen(
    block: nn.Module, taken: Taken, site: str, kind: str, paths: dict[str, str], views: bool
) -> list[RemovableHandle]:
    """Read a weight, or hook what one statistic needs into the forward pass."""

    def keep(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if kind not in FORWARD_KINDS:
            taken.sources[site, kind] = output
        else:
            taken.values[site, kind] = (args[0] if kind == "input" else output).detach()

    def enter(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen = args[0].view_as(args[0])  # so that other uses of the tensor do not count
        taken.sources[site, kind] = seen
        return seen, *args[1:]

    def begin(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        taken.places["entry"] = args[0]

    def meet(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        taken.places["middle"] = args[0]
        if kind == "output":
            taken.values[site, kind] = args[0].detach()

    def check(_: nn.Module, __: tuple[Tensor, ...]) -> None:
        # by the order of calls, which layer scale, stochastic depth, windows and modulation leave as it is
        if "middle" not in taken.places:
            raise AbsentError(
                f"{named(block)} runs 'mlp' before '{paths[site]}', so it has no halves x + attn(norm1(x)) and "
                f"x + mlp(norm2(x)), which {site}.{kind} is taken of",
                [(half, taken_there) for half in HALVES for taken_there in ("output", "jacobian")],
            )

    def end(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        taken.places["exit"] = output

    try:
        module = submodule(block, MAP_MODULE if kind in MAP_KINDS else paths[site])
    except ValueError as error:
        if kind not in MAP_KINDS:
            raise AbsentError(str(error), [(site, kind)]) from None
        reason = f"{error}: its {type(block.attn).__name__} forms no attention map"
        raise AbsentError(reason, [(site, other) for other in MAP_KINDS]) from None
    if kind in ("weight", "grad", "hvp", "grads"):
        weight = module.get_parameter("weight")
        if kind == "weight":
            taken.values[site, kind] = weight.detach() if views else weight.detach().clone()
        else:
            (taken.sources if kind == "grad" else taken.weights)[site, kind] = weight
        return []
    if kind == "input_grad":
        return [module.register_forward_pre_hook(enter)]
    hooks: list[RemovableHandle] = []
    if site in HALVES:
        hooks += [module.register_forward_pre_hook(meet), submodule(block, "mlp").register_forward_pre_hook(check)]
    if kind == "jacobian":
        hooks += [block.register_forward_pre_hook(begin), block.register_forward_hook(end)]
    return hooks or [module.register_forward_hook(keep)]


def run_pass(
    model: nn.Module,
    blocks: Sequence[nn.Module],
    needed: Sequence[tuple[str, str]],
    paths: dict[str, str],
    images: Tensor | None,
    labels: Tensor | None,
    first: int = 0,
    along: Sequence[Tensor | None] | None = None,
    views: bool = False,
) -> list[dict[tuple[str, str], Tensor]]:
    """Run one loss and keep what is needed of each block; ``images`` None: only the weights are read.

    ``first`` and ``along`` are those of a `Part`, ``views`` as in `measure`.
    """
    blocks_taken, whole = [Taken() for _ in blocks], Taken()
    handles: list[RemovableHandle] = []
    kinds = {kind for _, kind in needed}
    try:
        for block, taken in zip(blocks, blocks_taken, strict=True):
            for site, kind in needed:
                if site != "net":
                    handles += listen(block, taken, site, kind, paths, views)
        if images is not None and kinds - {"weight", "grads"}:
            if ("net", "input_grad") in needed:
                images = images.detach().clone().requires_grad_()
                whole.sources["net", "input_grad"] = images
            with torch.set_grad_enabled(bool(kinds - {"weight", "grads", *FORWARD_KINDS})):
                logits = model(images)
                value = loss(logits, labels)
            whole.values["net", "output"] = logits.detach()
    finally:
        for handle in handles:
            handle.remove()
    everything = [*blocks_taken, whole]
    count = 1 if images is None else len(images)
    if any(taken.sources for taken in everything):
        differentiate(value, everything, kinds, count)
    if "hvp" in kinds:
        hessian_gradients(value, blocks_taken, list(model.parameters()), along)
    if "jacobian" in kinds:
        for taken in blocks_taken:
            for site, (start, end) in JACOBIANS.items():
                if (site, "jacobian") in needed and {start, end} <= taken.places.keys():
                    begins, ends = taken.places[start], taken.places[end]
                    taken.values[site, "jacobian"] = channel_jacobian(begins, ends, first * len(ends) // count)
    if "grads" in kinds and images is not None:
        image_gradients(model, blocks_taken, images.detach(), labels)
    for block, taken in zip(blocks, blocks_taken, strict=True):
        for site, kind in needed:
            if site != "net" and (site, kind) not in taken.values:
                in_map = kind in MAP_KINDS
                raise AbsentError(
                    f"{named(block)} never calls its '{MAP_MODULE if in_map else paths[site]}', "
                    f"where {site}.{kind} is taken" + " (a fused attention forms no map: switch it off)" * in_map,
                    [(site, kind)],
                )
    return [
        {key: as_matrix(key, (whole if key[0] == "net" else taken).values[key], count) for key in needed}
        for taken in blocks_taken
    ]


def as_matrix(key: tuple[str, str], value: Tensor, images: int) -> Tensor:
    """Rows of channels, or of all that belongs to one image."""
    if key[1] == "response" or key[0] == "net":
        return value.reshape(images, -1)
    return value.reshape(-1, value.shape[-1])


def differentiate(value: Tensor, everything: Sequence[Taken], kinds: set[str], images: int) -> None:
    """Gradients of the loss with respect to all sources, in one pass backward."""
    tensors = [tensor for taken in everything for tensor in taken.sources.values()]
    again = bool(kinds & {"hvp", "jacobian"})
    found = iter(torch.autograd.grad(value, tensors, allow_unused=True, retain_graph=again))
    for taken in everything:
        for (site, kind), tensor in taken.sources.items():
            gradient = next(found)
            gradient = torch.zeros_like(tensor) if gradient is None else gradient
            if kind == "gate_grad":  # a factor 1 on a channel: the derivative is the sum of output * gradient
                gradient = (tensor.detach() * gradient).reshape(images, -1, tensor.shape[-1]).sum(1)
            elif kind == "head_grad":  # maps of windows of an image are heads of that image
                gates = (tensor.detach() * gradient).sum((-2, -1))
                gradient = gates.reshape(images, -1, gates.shape[-1]).sum(1)
            taken.values[site, kind] = gradient


def hessian_gradients(
    value: Tensor,
    blocks: Sequence[Taken],
    parameters: Sequence[Tensor],
    along: Sequence[Tensor | None] | None = None,
) -> None:
    """H g for the weights: half the gradient of the squared norm of the gradient over all parameters; or, with another
    vector ``along`` in the place of g, the gradient of the gradient's product with it."""
    gradients = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
    if along is None:
        energy = torch.stack([(g * g).sum() for g in gradients if g is not None]).sum() / 2
    else:
        pairs = [(g, v) for g, v in zip(gradients, along, strict=True) if g is not None and v is not None]
        energy = torch.stack([(g * v).sum() for g, v in pairs]).sum()
    wanted = [(taken, key) for taken in blocks for key in taken.weights if key[1] == "hvp"]
    weights = [taken.weights[key] for taken, key in wanted]
    products = torch.autograd.grad(energy, weights, allow_unused=True, retain_graph=True)
    for (taken, key), weight, product in zip(wanted, weights, products, strict=True):
        taken.values[key] = torch.zeros_like(weight) if product is None else product


def image_gradients(model: nn.Module, blocks: Sequence[Taken], images: Tensor, labels: Tensor | None) -> None:
    """Gradients of each image's own loss, a column an image; image by image, so that any layer may share its weight."""
    wanted = [(taken, key) for taken in blocks for key in taken.weights if key[1] == "grads"]
    weights = [taken.weights[key] for taken, key in wanted]
    columns: list[list[Tensor]] = [[] for _ in weights]
    for k in range(len(images)):
        value = loss(model(images[k : k + 1]), None if labels is None else labels[k : k + 1])
        gradients = torch.autograd.grad(value, weights, allow_unused=True)
        for column, weight, gradient in zip(columns, weights, gradients, strict=True):
            column.append(torch.zeros_like(weight).flatten() if gradient is None else gradient.flatten())
    for (taken, key), column in zip(wanted, columns, strict=True):
        taken.values[key] = torch.stack(column, 1)


def channel_jacobian(start: Tensor, end: Tensor, skipped: int = 0) -> Tensor:
    """Jacobian of ``end`` by ``start``, (in, out) channels, mean over tokens, from one backward pass of seeded signs.

    Where ``end`` is a part of a batch, the signs of so many rows of its first dimension are ``skipped``.

    The products of J^T s and s have J^T as their mean, since the signs s of different elements are independent.
    """
    shape = (skipped + len(end), *end.shape[1:])
    signs = torch.randint(2, shape, generator=torch.Generator().manual_seed(0))[skipped:].to(end) * 2 - 1
    (back,) = torch.autograd.grad(end, start, signs, retain_graph=True)
    rows = signs.reshape(-1, signs.shape[-1])
    return back.reshape(-1, back.shape[-1]).mT @ rows / len(rows)
