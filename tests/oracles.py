"""What operators, features and scores should be, in plain numpy and scipy: written from the definitions, one number at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import linalg, special, stats

from autoprox.language.expression import Expression
from primitives.statistics import GROUPS, STATISTICS

Array = np.ndarray[Any, Any]


def _log(x: Array) -> Array:
    return np.log(np.abs(np.where(x == 0, 1.0, x)))


def _erank(x: Array) -> float:
    s = np.sqrt(np.clip(np.linalg.eigvalsh(x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x), 0, None))
    return float(np.exp(stats.entropy(s)))


POINTWISE: dict[str, Callable[..., Array]] = {
    "identity": lambda x: x,
    "abs": np.abs,
    "neg": lambda x: 0.0 - x,
    "log": _log,
    "poslog": lambda x: _log(np.where(x <= 0, 1.0, x)),
    "exp": lambda x: np.e ** np.where(x > 60, 60, x),
    "square": lambda x: x**2,
    "sqrt": lambda x: np.abs(x) ** 0.5,
    "possqrt": lambda x: np.where(x <= 0, 0.0, x) ** 0.5,
    "sign": np.sign,
    "sigmoid": special.expit,
    "relu": lambda x: np.maximum(x, 0),
    "inverse": lambda x: 1 / (x + 1e-9),
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
RELATIVE: dict[str, Callable[[Array], Array]] = {
    "normalise": lambda x: (x - np.mean(x)) / np.sqrt(np.cov(x)) if len(x) > 1 else x * np.nan,
    "minmax": lambda x: (x - np.min(x)) / np.ptp(x),
    "softmax": special.softmax,
    "logsoftmax": special.log_softmax,
    "rank": lambda x: stats.rankdata(x, nan_policy="propagate") / len(x),
}
REDUCTION: dict[str, Callable[[Array], float]] = {
    "sum": np.sum,
    "mean": np.mean,
    "std": lambda x: np.sqrt(np.sum((x - np.mean(x)) ** 2) / (len(x) - 1)) if len(x) > 1 else np.nan,
    "max": np.max,
    "min": np.min,
    "l1": lambda x: np.linalg.norm(x, 1),
    "l2": lambda x: np.linalg.norm(x, 2),
}
SPECTRAL: dict[str, Callable[[Array], float]] = {
    "nuclear": lambda x: np.linalg.norm(x, "nuc"),
    "spectral": lambda x: np.linalg.norm(x, 2),
    "logdet": lambda x: np.linalg.slogdet(np.eye(len(x)) + x @ x.T)[1],
    "erank": _erank,
    "srank": lambda x: np.linalg.norm(x, "fro") ** 2 / np.linalg.norm(x, 2) ** 2,
}


def product(x: Array, y: Array) -> Array:
    """The longer side is contracted."""
    return np.einsum("ik,jk->ij", x, y) if x.shape[1] >= x.shape[0] else np.einsum("ki,kj->ij", x, y)


def tensor(e: Expression, leaf: Callable[[str], list[Array]]) -> list[Array]:
    """A tensor-level expression of one block: the member matrices."""
    if not e.args:
        return leaf(e.head)
    args = [tensor(arg, leaf) for arg in e.args]
    if e.head in RELATIVE:
        flat = RELATIVE[e.head](np.concatenate([m.ravel() for m in args[0]]))
        ends = np.cumsum([m.size for m in args[0]])
        return [part.reshape(m.shape) for part, m in zip(np.split(flat, ends[:-1]), args[0], strict=True)]
    function = product if e.head == "matmul" else POINTWISE[e.head]
    return [function(*members) for members in zip(*args, strict=True)]


def feature(e: Expression, leaf: Callable[[str], list[Array]]) -> float:
    """A tensor-to-block expression of one block; a group's members are the blocks of one block-diagonal matrix."""
    members = tensor(e.args[0], leaf)
    if e.head in SPECTRAL:
        matrix = linalg.block_diag(*members)
        return float(SPECTRAL[e.head](matrix)) if np.isfinite(matrix).all() else np.nan
    return float(REDUCTION[e.head](np.concatenate([m.ravel() for m in members])))


def scores(
    e: Expression, numbers: Mapping[str, Sequence[float]], values: Sequence[Mapping[Expression, Array]]
) -> Array:
    """A proxy on a population, (networks,), network by network."""

    def blocks(part: Expression, row: Mapping[Expression, Array]) -> Array:
        if part in row:
            return row[part]
        args = [blocks(arg, row) for arg in part.args]
        return RELATIVE[part.head](args[0]) if part.head in RELATIVE else POINTWISE[part.head](*args)

    def score(part: Expression) -> Array:
        if not part.args:
            return np.array(numbers[part.head], dtype=float)
        if part.head in REDUCTION:
            return np.array([REDUCTION[part.head](blocks(part.args[0], row)) for row in values])
        args = [score(arg) for arg in part.args]
        return RELATIVE[part.head](args[0]) if part.head in RELATIVE else POINTWISE[part.head](*args)

    return score(e)


def block_statistics(rng: np.random.Generator, name: str) -> list[Array]:
    """Member matrices of a statistic as some block might have them: small, of equal shapes in a shape class."""
    statistic = STATISTICS[name]
    code = zlib.crc32(statistic.shape_class.encode())
    shapes = [(2 + (code + i) % 3, 2 + (code // 3 + 2 * i) % 4) for i in range(len(GROUPS.get(statistic.site, "x")))]
    members = [rng.normal(size=shape) for shape in shapes]
    return [special.softmax(m, -1) for m in members] if statistic.kind == "map" else members
