"""Tensor level: compute features (tensor -> one number per block) of many expressions at once, each part once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoprox.errors import InputError
from autoprox.language.expression import Expression
from autoprox.language.text import to_text
from autoprox.measuring.spectra import remembered, singular_values
from primitives.operators import OPERATORS, Form, Operator
from primitives.statistics import STATISTICS

__all__ = ["Tensors", "block_values", "network_values"]


@dataclass(frozen=True)
class Tensors:
    """One tensor a row; a row is a block of a network.

    Attributes:
        members: matrices, (rows, m, n) each. A group of sites has several; it acts as the block-diagonal matrix of
            them, so element-wise operators see all their elements and spectral ones all their singular values.
        weights: (rows, elements), how many elements of the full tensor each stands for; None where nothing is sampled.
    """

    members: tuple[Tensor, ...]
    weights: Tensor | None = None

    def flat(self) -> Tensor:
        """All elements, (rows, elements)."""
        parts = [member.flatten(1) for member in self.members]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def with_flat(self, flat: Tensor) -> Tensors:
        """The same shapes with other elements."""
        sizes = [member[0].numel() for member in self.members]
        parts = torch.split(flat, sizes, 1)
        return Tensors(tuple(p.reshape(m.shape) for p, m in zip(parts, self.members, strict=True)), self.weights)

    def reduced(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Sum over the members of what a function of a matrix makes of each, (rows,)."""
        return torch.stack([function(member) for member in self.members]).sum(0)

    def singular_values(self, weights: bool = False) -> Tensor:
        """Singular values of all members, (rows, values); NaN for members that are not finite."""
        decompose = remembered if weights else singular_values
        return torch.cat([decompose(member) for member in self.members], 1)


class _Evaluator:
    """Evaluates tensors and their reductions, each part once."""

    def __init__(self, leaf: Callable[[str], Tensors], blocks: Sequence[_Evaluator] = ()) -> None:
        self._leaf = leaf
        self._blocks = blocks
        self._tensors: dict[Expression, Tensors] = {}
        self._spectra: dict[Expression, Tensor] = {}

    def tensors(self, e: Expression) -> Tensors:
        if e not in self._tensors:
            if not e.args:
                self._tensors[e] = self._leaf(e.head)
            elif OPERATORS[e.head].form is Form.JOIN:
                self._tensors[e] = _joined(e, [block.tensors(e.args[0]) for block in self._blocks])
            else:
                self._tensors[e] = _apply(e, [self.tensors(arg) for arg in e.args])
        return self._tensors[e]

    def reduction(self, e: Expression) -> Tensor:
        operator, argument = OPERATORS[e.head], e.args[0]
        x = self.tensors(argument)
        if operator.form is Form.SPECTRAL:
            if argument not in self._spectra:  # decomposed once for all spectral reductions
                weights = not argument.args and STATISTICS[argument.head].kind == "weight"
                self._spectra[argument] = x.singular_values(weights)
            return operator.function(self._spectra[argument]).double()
        if operator.form is Form.PATTERN:
            return x.reduced(operator.function).double()
        return _on_elements(operator, x).double()


def block_values(features: Iterable[Expression], leaf: Callable[[str], Tensors]) -> dict[Expression, Tensor]:
    """Evaluate features on statistics.

    Args:
        features: expressions from tensor to block level, best in canonical form.
        leaf: the tensors of a statistic, by name.

    Returns:
        For each feature one number per row, (rows,) float64. NaN and infinities stay what they are.
    """
    evaluator = _Evaluator(leaf)
    return {e: evaluator.reduction(e) for e in features}


def network_values(
    features: Iterable[Expression], leaves: Sequence[Callable[[str], Tensors]]
) -> dict[Expression, Tensor]:
    """Evaluate features of one tensor per network: expressions from network to score level.

    Args:
        features: the expressions, best in canonical form.
        leaves: for each block the tensors of a statistic, by name, one row each; a network's own are in all of them.

    Returns:
        For each feature one number, (1,) float64.

    Raises:
        InputError: the matrices of the blocks do not have one height, so that they cannot be joined.
    """
    evaluator = _Evaluator(leaves[0], [_Evaluator(leaf) for leaf in leaves])
    return {e: evaluator.reduction(e) for e in features}


def _joined(e: Expression, blocks: Sequence[Tensors]) -> Tensors:
    members = [member for block in blocks for member in block.members]
    heights = sorted({member.shape[1] for member in members})
    if len(heights) > 1:
        raise InputError(
            f"{to_text(e)} puts matrices side by side, and these have {' and '.join(map(str, heights))} rows; "
            "join statistics with one row an image, such as gelu.response"
        )
    return Tensors((OPERATORS[e.head].function(*members),))


def _apply(e: Expression, args: list[Tensors]) -> Tensors:
    operator, x = OPERATORS[e.head], args[0]
    if operator.form is Form.RELATIVE:
        return x.with_flat(_on_elements(operator, x))
    members = tuple(operator.function(*parts) for parts in zip(*(arg.members for arg in args), strict=True))
    return Tensors(members, x.weights)


def _on_elements(operator: Operator, x: Tensors) -> Tensor:
    if x.weights is None or operator.weighted is None:
        return operator.function(x.flat())
    return operator.weighted(x.flat(), x.weights)
