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
    "log1p": lambda x: np.log(1 + np.abs(x)),
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
# Those that zeros among the singular values change: of the singular values of a matrix.
SINGULAR: dict[str, Callable[[Array], float]] = {
    "smallest": np.min,
    "logvolume": lambda s: sum(np.log(max(v, 1e-9)) if v == v else np.nan for v in s),
    "divergence": lambda s: sum(np.log(v + 1e-5) + 1 / (v + 1e-5) for v in s),
}


def _covariance(x: Array) -> Array:
    m, n = x.shape
    if n < 2:
        return np.full((m, m), np.nan)
    mean = [sum(row) / n for row in x]
    return np.array([[np.dot(x[i] - mean[i], x[j] - mean[j]) / (n - 1) for j in range(m)] for i in range(m)])


def _correlation(x: Array) -> Array:
    c = x - x.mean(1)[:, None]
    length = np.sqrt((c**2).sum(1))
    length = np.where(length == 0, 1.0, length)
    return c @ c.T / np.outer(length, length)


def _agreement(x: Array) -> Array:
    if np.isnan(x).any():
        spoilt = np.isnan(x).any(1)
        return np.where(spoilt[:, None] | spoilt[None], np.nan, _agreement(np.nan_to_num(x)))
    return np.array([[float(sum((a > 0) == (b > 0) for a, b in zip(p, q, strict=True))) for q in x] for p in x])


def _patterns(x: Array) -> float:
    return np.nan if np.isnan(x).any() else float(len({tuple(row > 0) for row in x}))


MATRIX: dict[str, Callable[[Array], Array]] = {
    "transpose": lambda x: x.T,
    "rowsum": lambda x: np.array([[sum(row)] for row in x]),
    "rowmean": lambda x: np.array([[np.average(row)] for row in x]),
    "rowstd": lambda x: np.array([[REDUCTION["std"](row)] for row in x]),
    "rowmax": lambda x: np.array([[np.max(row)] for row in x]),
    "gram": lambda x: np.array([[np.dot(p, q) for q in x] for p in x]),
    "covariance": _covariance,
    "correlation": _correlation,
    "agreement": _agreement,
}
PATTERN: dict[str, Callable[[Array], float]] = {"patterns": _patterns}


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
    function = product if e.head == "matmul" else (POINTWISE | MATRIX)[e.head]
    return [function(*members) for members in zip(*args, strict=True)]


def feature(e: Expression, leaf: Callable[[str], list[Array]]) -> float:
    """A tensor-to-block expression of one block; a group's members are the blocks of one block-diagonal matrix."""
    return _reduced(e.head, tensor(e.args[0], leaf))


def network_feature(e: Expression, leaves: Sequence[Callable[[str], list[Array]]]) -> float:
    """A network-to-score expression: of matrices side by side, or of a tensor of the network, which every block has."""

    def network(part: Expression) -> list[Array]:
        if part.head == "join":
            return [np.hstack([member for leaf in leaves for member in tensor(part.args[0], leaf)])]
        if not part.args:
            return leaves[0](part.head)
        values = [Expression(f"argument {i}") for i in range(len(part.args))]
        known = dict(zip([v.head for v in values], map(network, part.args), strict=True))
        return tensor(Expression(part.head, tuple(values)), known.__getitem__)

    return _reduced(e.head, network(e.args[0]))


def _reduced(name: str, members: list[Array]) -> float:
    if name in PATTERN:
        return sum(PATTERN[name](member) for member in members)
    if name in SINGULAR:
        if not all(np.isfinite(member).all() for member in members):
            return np.nan
        return float(SINGULAR[name](np.concatenate([np.linalg.svd(m, compute_uv=False) for m in members])))
    if name in SPECTRAL:
        matrix = linalg.block_diag(*members)
        return float(SPECTRAL[name](matrix)) if np.isfinite(matrix).all() else np.nan
    return float(REDUCTION[name](np.concatenate([m.ravel() for m in members])))


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
        if part in values[0]:  # of a tensor of the network
            return np.array([row[part][0] for row in values])
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
