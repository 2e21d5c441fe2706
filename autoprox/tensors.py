"""Tensor level: compute features (tensor -> one number per block) of many expressions at once, each part once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from autoprox.expression import Expression
from primitives.operators import OPERATORS, Form

__all__ = ["Tensors", "block_values", "needs_matrices"]


@dataclass(frozen=True)
class Tensors:
    """One tensor a row; a row is a block of a network.

    Attributes:
        members: matrices, (rows, m, n) each. A group of sites has several; it acts as the block-diagonal matrix of
            them, so element-wise operators see all their elements and spectral ones all their singular values.
        count: (rows,), how many elements of the full tensor a stored element stands for; None where nothing is sampled.
        short, long: the same for the shorter and the longer side of a sampled matrix.
    """

    members: tuple[Tensor, ...]
    count: Tensor | None = None
    short: Tensor | None = None
    long: Tensor | None = None

    def flat(self) -> Tensor:
        """All elements, (rows, elements)."""
        parts = [member.flatten(1) for member in self.members]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def with_members(self, members: Iterable[Tensor]) -> Tensors:
        return Tensors(tuple(members), self.count, self.short, self.long)

    def with_flat(self, flat: Tensor) -> Tensors:
        """The same shapes with other elements."""
        sizes = [member[0].numel() for member in self.members]
        parts = flat.split(sizes, 1)
        return self.with_members(p.reshape(m.shape) for p, m in zip(parts, self.members, strict=True))

    def singular_values(self) -> Tensor:
        """Singular values of all members, (rows, values)."""
        values = torch.cat([torch.linalg.svdvals(member) for member in self.members], 1)
        if self.long is None:
            return values
        # a sampled side of independent elements shrinks singular values with the root of its length
        return values * self.long.sqrt().unsqueeze(1)


def needs_matrices(feature: Expression) -> bool:
    """Whether the feature depends on where elements are in their matrix, not only on which there are."""
    return bool(feature.args) and (
        OPERATORS[feature.head].form in (Form.SPECTRAL, Form.PRODUCT) or any(map(needs_matrices, feature.args))
    )


def block_values(features: Iterable[Expression], leaf: Callable[[str], Tensors]) -> dict[Expression, Tensor]:
    """Evaluate features on statistics.

    Args:
        features: expressions from tensor to block level, best in canonical form.
        leaf: the tensors of a statistic, by name.

    Returns:
        For each feature one number per row, (rows,) float64. NaN and infinities stay what they are.
    """
    tensors: dict[Expression, Tensors] = {}
    spectra: dict[Expression, Tensor] = {}

    def evaluate(e: Expression) -> Tensors:
        if e not in tensors:
            tensors[e] = _apply(e, [evaluate(arg) for arg in e.args]) if e.args else leaf(e.head)
        return tensors[e]

    def reduce(e: Expression) -> Tensor:
        operator, argument = OPERATORS[e.head], e.args[0]
        x = evaluate(argument)
        if operator.form is Form.SPECTRAL:
            if argument not in spectra:
                spectra[argument] = _spectrum(x)
            value, count = operator.function(spectra[argument]), x.short
        else:
            value, count = operator.function(x.flat()), x.count
        value = value.double()
        return value if count is None or operator.rescale is None else operator.rescale(value, count.double())

    return {e: reduce(e) for e in features}


def _spectrum(x: Tensors) -> Tensor:
    finite = torch.stack([member.isfinite().all(-1).all(-1) for member in x.members]).all(0)
    if bool(finite.all()):
        return x.singular_values()
    # the decomposition refuses non-finite matrices; their values are not numbers, the other rows keep theirs
    clean = x.with_members(torch.where(finite[:, None, None], m, torch.zeros_like(m)) for m in x.members)
    return torch.where(finite[:, None], clean.singular_values(), torch.nan)


def _apply(e: Expression, args: list[Tensors]) -> Tensors:
    operator, x = OPERATORS[e.head], args[0]
    if operator.form is Form.RELATIVE:
        flat = operator.function(x.flat())
        if operator.rescale is not None and x.count is not None:
            flat = operator.rescale(flat, x.count.unsqueeze(1))
        return x.with_flat(flat)
    members = [operator.function(*parts) for parts in zip(*(arg.members for arg in args), strict=True)]
    if operator.form is Form.PRODUCT and x.short is not None and x.long is not None:
        # the sum over the sampled longer side, scaled to its full length; the result is square
        scaled = tuple(member * x.long[:, None, None] for member in members)
        return Tensors(scaled, x.short**2, x.short, x.short)
    return x.with_members(members)
