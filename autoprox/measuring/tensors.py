"""Tensor level: compute features (tensor -> one number per block) of many expressions at once, each part once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from autoprox.language.expression import Expression
from primitives.operators import OPERATORS, Form

__all__ = ["Tensors", "block_values"]


@dataclass(frozen=True)
class Tensors:
    """One tensor a row; a row is a block of a network.

    Attributes:
        members: matrices, (rows, m, n) each. A group of sites has several; it acts as the block-diagonal matrix of
            them, so element-wise operators see all their elements and spectral ones all their singular values.
        count: (rows,), how many elements of the full tensor a stored element stands for; None where nothing is sampled.
    """

    members: tuple[Tensor, ...]
    count: Tensor | None = None

    def flat(self) -> Tensor:
        """All elements, (rows, elements)."""
        parts = [member.flatten(1) for member in self.members]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def with_flat(self, flat: Tensor) -> Tensors:
        """The same shapes with other elements."""
        sizes = [member[0].numel() for member in self.members]
        parts = torch.split(flat, sizes, 1)
        return Tensors(tuple(p.reshape(m.shape) for p, m in zip(parts, self.members, strict=True)), self.count)

    def singular_values(self) -> Tensor:
        """Singular values of all members, (rows, values); NaN in rows that are not finite."""
        finite = torch.stack([member.isfinite().flatten(1).all(-1) for member in self.members]).all(0)
        # the decomposition refuses non-finite matrices
        clean = (torch.where(finite[:, None, None], member, 0.0) for member in self.members)
        values = torch.cat([torch.linalg.svdvals(member) for member in clean], 1)
        return torch.where(finite[:, None], values, torch.nan)


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
            if argument not in spectra:  # decomposed once for all spectral reductions
                spectra[argument] = x.singular_values()
            return operator.function(spectra[argument]).double()
        value = operator.function(x.flat()).double()
        return value if x.count is None or operator.rescale is None else operator.rescale(value, x.count.double())

    return {e: reduce(e) for e in features}


def _apply(e: Expression, args: list[Tensors]) -> Tensors:
    operator, x = OPERATORS[e.head], args[0]
    if operator.form is Form.RELATIVE:
        flat = operator.function(x.flat())
        if operator.rescale is not None and x.count is not None:
            flat = operator.rescale(flat, x.count.unsqueeze(1))
        return x.with_flat(flat)
    members = tuple(operator.function(*parts) for parts in zip(*(arg.members for arg in args), strict=True))
    return Tensors(members, x.count)
