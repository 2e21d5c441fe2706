"""Block and score level: turn features into scores, vectorised over the networks of a population, in float64."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from autoprox.language.expression import Expression, features, kind
from autoprox.language.text import to_text
from autoprox.measuring.capture import Lacking, Values
from primitives.operators import OPERATORS, Form

__all__ = ["Invalid", "Population", "Scores"]

Scores: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

# A branch that varies less than this, relative to its size, is noise of arithmetic: the published Auto-Prox genotype
# has one whose coefficient of variation is 7e-6 over the networks, and which therefore ranks nothing.
CONSTANT = 1e-4


@dataclass(frozen=True)
class Invalid:
    """Why a proxy has no usable scores on a population: a value, so that it is never mistaken for a score."""

    reason: str


class Population:
    """Networks of one space that are scored together.

    Args:
        numbers: {architecture number: (networks,)}; see ``primitives.statistics.ARCHITECTURE_NUMBERS``.
        values: for each network {feature: (blocks,), or (1,) of one tensor per network}; more can be added. A proxy over a
            feature that is `Lacking` on some network has no scores here.
    """

    def __init__(
        self, numbers: Mapping[str, Sequence[float]], values: Sequence[Mapping[Expression, Values | Lacking]] = ()
    ) -> None:
        self.size = len(numbers["depth"])
        self._numbers = {name: torch.tensor(list(column), dtype=torch.float64) for name, column in numbers.items()}
        depths = [int(blocks) for blocks in numbers["depth"]]
        # networks of one depth are computed as one matrix
        self._groups = [torch.tensor([i for i, d in enumerate(depths) if d == depth]) for depth in sorted(set(depths))]
        self._features: dict[Expression, list[Tensor]] = {}
        self._lacking: dict[Expression, str] = {}
        if values:
            self.add({feature: [row[feature] for row in values] for feature in values[0]})

    def add(self, columns: Mapping[Expression, Sequence[np.ndarray[Any, Any] | Lacking]]) -> None:
        """Add features: {feature: for each network (blocks,), or why it has none}."""
        for feature, column in columns.items():
            rows = [row for row in column if not isinstance(row, Lacking)]
            reasons = [row.reason for row in column if isinstance(row, Lacking)]
            if reasons:
                self._lacking[feature] = f"lacking on {len(reasons)} of {self.size} networks: {reasons[0]}"
                continue
            self._features[feature] = [
                torch.from_numpy(np.stack([rows[i] for i in group.tolist()])) for group in self._groups
            ]

    def missing(self, expressions: Iterable[Expression]) -> list[Expression]:
        """The features of these expressions that were not added yet."""
        wanted = dict.fromkeys(f for e in expressions for f in features(e))
        return [f for f in wanted if f not in self._features and f not in self._lacking]

    def score(self, expression: Expression, strict: bool = False) -> Scores | Invalid:
        """Score every network.

        Args:
            expression: a proxy in canonical form whose features were added.
            strict: also refuse a proxy with a branch that is the same on all networks: it pretends to use what it
                does not (for discovery; published proxies are scored as they are).

        Returns:
            (networks,) float64, finite and not all equal, or why there are no such scores.
        """
        memo: dict[Expression, list[Tensor]] = {}
        try:
            value = self._value(expression, memo, strict)[0]
        except _UnusableError as reason:
            return Invalid(str(reason))
        finite = value.isfinite()
        if not bool(finite.all()):
            return Invalid(f"not finite on {int((~finite).sum())} of {self.size} networks")
        if self.size > 1 and _constant([value]):
            return Invalid(f"constant over the {self.size} networks")
        return value.numpy().copy()  # it may be the population's own

    def take(self, rows: Sequence[int]) -> Population:
        """Some of the networks, in the given order, with what is known of them."""
        found = Population({name: [float(column[i]) for i in rows] for name, column in self._numbers.items()})
        found.add({feature: [by_network[i] for i in rows] for feature, by_network in self._by_network().items()})
        found._lacking = dict(self._lacking)
        return found

    def less(self, blocks: Sequence[int]) -> Population:
        """The same networks, each without one of its blocks; what is known of a network as a whole stays.

        Args:
            blocks: the block that each network loses; every network has at least two.
        """
        found = self.take(range(self.size))
        for feature, rows in self._by_network().items():
            if kind(feature).level == "block":
                left = [torch.from_numpy(np.delete(row, block)) for row, block in zip(rows, blocks, strict=True)]
                found._features[feature] = [torch.stack([left[i] for i in group.tolist()]) for group in self._groups]
        return found

    def blocks(self, expression: Expression) -> list[Scores] | Invalid:
        """The numbers of an expression at block level: (blocks,) of each network, or why there are none."""
        try:
            return self._rows(self._value(expression, {}, strict=False))
        except _UnusableError as reason:
            return Invalid(str(reason))

    def _by_network(self) -> dict[Expression, list[Scores]]:
        return {feature: self._rows(parts) for feature, parts in self._features.items()}

    def _rows(self, parts: Sequence[Tensor]) -> list[Scores]:
        """One row a network, in the order of the networks."""
        rows: dict[int, Scores] = {}
        for group, part in zip(self._groups, parts, strict=True):
            rows |= dict(zip(group.tolist(), part.numpy(), strict=True))
        return [rows[i] for i in range(self.size)]

    def _value(self, e: Expression, memo: dict[Expression, list[Tensor]], strict: bool) -> list[Tensor]:
        """Block level: one (networks, blocks) matrix a group; score level: one (networks,) vector."""
        if e in memo:
            return memo[e]
        if e in self._lacking:
            raise _UnusableError(f"{to_text(e)} is {self._lacking[e]}")
        if e in self._features:
            kept = self._features[e]
            memo[e] = [self._ordered([part[:, 0] for part in kept])] if kind(e).level == "score" else kept
            return memo[e]
        if not e.args:
            memo[e] = [self._numbers[e.head]]
            return memo[e]
        operator = OPERATORS[e.head]
        args = [self._value(arg, memo, strict) for arg in e.args]
        if strict and len(args) == 2:
            for arg, parts in zip(e.args, args, strict=True):
                if _constant(parts):
                    raise _UnusableError(f"the branch {to_text(arg)} is constant over the networks")
        values = [operator.function(*parts) for parts in zip(*args, strict=True)]
        if operator.form is Form.REDUCTION:  # block to score
            values = [self._ordered(values)]
        memo[e] = values
        return values

    def _ordered(self, parts: Sequence[Tensor]) -> Tensor:
        """One number per network, group by group, back into the order of the networks."""
        score = torch.empty(self.size, dtype=torch.float64)
        for group, part in zip(self._groups, parts, strict=True):
            score[group] = part
        return score


class _UnusableError(Exception):
    pass


def _constant(parts: Sequence[Tensor]) -> bool:
    low = min(float(part.min()) for part in parts)
    high = max(float(part.max()) for part in parts)
    # an infinite spread is not small beside an infinite size
    return high - low < float("inf") and high - low <= CONSTANT * max(abs(low), abs(high))
