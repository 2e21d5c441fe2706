"""The structures of Auto-Prox: linear, tree and graph genotypes over one or two statistics, and their expressions.

Wei et al. 2024, Auto-Prox (AAAI, doi 10.1609/aaai.v38i14.29511) name the structures; their mechanics are known from
sibling code of the same group (github.com/pprp/LPZero, lpzero/structures and lpzero/operators). Statistics are named
explicitly here, because the sources define theirs differently.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Final

from autoprox.language.expression import Expression, kind
from primitives.operators import OPERATORS, Form

__all__ = ["BINARY", "STRUCTURES", "UNARY", "Genotype", "mutate", "random_genotype"]

STRUCTURES: Final = ("linear", "tree", "graph")

UNARY: Final = (
    ("poslog",), ("log",), ("abs",), ("square",), ("exp",), ("normalise",), ("relu",), ("inverse",), ("l2",), ("mean",),
    ("abs", "mean"), ("softmax",), ("sigmoid",), ("logsoftmax",), ("possqrt",), ("neg",), ("minmax",), ("mean",), ("std",),
    (),
)  # fmt: skip
"""Unary operations by their published index 0 .. 19, each a chain of operators of the language: log, abslog, abs, pow,
exp, normalize, relu, invert, frobenius_norm, normalized_sum, l1_norm (a mean of absolute values there), softmax, sigmoid,
logsoftmax, sqrt, revert, min_max_normalize, to_mean, to_std, no_op."""

_UNARY_WEIGHTS = (0.1,) * (len(UNARY) - 1) + (0.2,)

BINARY: Final = ("add", "sub", "mul")
"""Binary operations of the tree. The fourth published one, matmul, is not defined for the numbers that a tree joins."""

_BINARY_WEIGHTS = (0.6, 0.3, 0.05)

_SHAPES: Final = {"linear": (4,), "tree": (2, 2), "graph": (2, 3, 4)}  # unaries of each branch or node


@dataclass(frozen=True)
class Genotype:
    """What evolves: inputs (statistics), indices into ``UNARY`` for each branch or node, an index into ``BINARY``."""

    structure: str
    inputs: tuple[str, ...]
    unaries: tuple[tuple[int, ...], ...]
    binary: int = 0

    def expression(self) -> Expression | None:
        """The proxy, or None where the genotype has no meaning (a z-score of one number, for instance)."""
        leaves = [Expression(name) for name in self.inputs]
        try:
            if self.structure == "linear":
                return _reduced("mean", _block(_chain(leaves[0], self.unaries[0])))
            if self.structure == "tree":
                branches = tuple(_block(_chain(x, u)) for x, u in zip(leaves, self.unaries, strict=True))
                return _reduced("mean", Expression(BINARY[self.binary], branches))
            nodes: list[Expression] = []
            for unaries in self.unaries:
                terms = [_chain(x, (u,)) for x, u in zip([*leaves, *nodes], unaries, strict=True)]
                nodes.append(reduce(_added, terms))
            # the mean of the three nodes ranks like their sum
            return _reduced("mean", reduce(_added, map(_block, nodes)))
        except _MeaninglessError:
            return None

    def to_json(self) -> dict[str, Any]:
        return {
            "structure": self.structure,
            "inputs": list(self.inputs),
            "unaries": [list(u) for u in self.unaries],
            "binary": self.binary,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Genotype:
        unaries = tuple(tuple(u) for u in record["unaries"])
        return cls(record["structure"], tuple(record["inputs"]), unaries, record["binary"])


class _MeaninglessError(Exception):
    pass


def _reduced(name: str, e: Expression) -> Expression:
    return Expression(name, (e,))


def _block(e: Expression) -> Expression:
    """Bring a branch to one number per block, by the mean, as published."""
    return e if kind(e).level == "block" else _reduced("mean", e)


def _chain(e: Expression, indices: tuple[int, ...]) -> Expression:
    for name in (name for index in indices for name in UNARY[index]):
        form = OPERATORS[name].form
        if kind(e).level == "tensor" or form is Form.POINTWISE:
            e = Expression(name, (e,))
        elif name == "l2":  # of one number
            e = Expression("abs", (e,))
        elif name != "mean":
            raise _MeaninglessError
    return e


def _added(x: Expression, y: Expression) -> Expression:
    """Sum of two terms; tensors of different shapes meet at block level."""
    if kind(x) != kind(y):
        x, y = _block(x), _block(y)
    return Expression("add", (x, y))


def random_genotype(structure: str, inputs: tuple[str, ...], rng: random.Random) -> Genotype:
    """Draw every part by its published weight; inputs uniformly."""
    shape = _SHAPES[structure]
    return Genotype(
        structure,
        tuple(rng.choice(inputs) for _ in range(1 if structure == "linear" else 2)),
        tuple(tuple(_unary(rng) for _ in range(n)) for n in shape),
        _binary(rng) if structure == "tree" else 0,
    )


def _unary(rng: random.Random) -> int:
    return rng.choices(range(len(UNARY)), _UNARY_WEIGHTS)[0]


def _binary(rng: random.Random) -> int:
    return rng.choices(range(len(BINARY)), _BINARY_WEIGHTS)[0]


def mutate(genotype: Genotype, inputs: tuple[str, ...], rng: random.Random) -> Genotype:
    """Draw each part anew with probability one half, as the sibling code does."""

    def again() -> bool:
        return rng.random() < 0.5

    return replace(
        genotype,
        inputs=tuple(rng.choice(inputs) if again() else name for name in genotype.inputs),
        unaries=tuple(tuple(_unary(rng) if again() else u for u in part) for part in genotype.unaries),
        binary=_binary(rng) if genotype.structure == "tree" and again() else genotype.binary,
    )
