"""Operators as torch functions. Each works on the last dimension, needs torch alone and leaves its input as it was.

Functions of a matrix (rows, kernels, patterns) take the last two dimensions, (..., m, n).

At tensor level the last dimension holds the elements of one block's tensor, at block level the blocks of one network,
at score level the networks that are scored together. NaN stays NaN: evaluation turns it into ``Invalid``.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-9
RIDGE = 1e-5  # the k of Mellor et al.'s score
PATTERN_BITS = 30
GRAM_COLUMNS = 65_536  # converted at a time
LARGEST_EXPONENT = 60.0  # exp(60) ~ 1e26 leaves room to sum in float32


def identity(x: Tensor) -> Tensor:
    return x


def absolute(x: Tensor) -> Tensor:
    return x.abs()


def negative(x: Tensor) -> Tensor:
    return -x


def log_absolute(x: Tensor) -> Tensor:
    """log|x|, and 0 where x is 0."""
    return torch.where(x == 0, torch.ones_like(x), x.abs()).log()


def log_positive(x: Tensor) -> Tensor:
    """log x where x > 0, else 0."""
    return torch.where(x <= 0, torch.ones_like(x), x).log()


def log_one_plus(x: Tensor) -> Tensor:
    """log(1 + |x|)."""
    return x.abs().log1p()


def exponential(x: Tensor) -> Tensor:
    """exp(min(x, 60))."""
    return x.clamp(max=LARGEST_EXPONENT).exp()


def square(x: Tensor) -> Tensor:
    return x * x


def sqrt_absolute(x: Tensor) -> Tensor:
    return x.abs().sqrt()


def sqrt_positive(x: Tensor) -> Tensor:
    """sqrt(max(x, 0))."""
    return x.clamp(min=0).sqrt()


def sign(x: Tensor) -> Tensor:
    return torch.where(x.isnan(), x, x.sign())


def sigmoid(x: Tensor) -> Tensor:
    return x.sigmoid()


def relu(x: Tensor) -> Tensor:
    return x.relu()


def inverse(x: Tensor) -> Tensor:
    """1 / (x + 1e-9)."""
    return 1 / (x + EPSILON)


def normalise(x: Tensor) -> Tensor:
    """(x - mean) / standard deviation; NaN for fewer than two elements."""
    return (x - x.mean(-1, keepdim=True)) / standard_deviation(x).unsqueeze(-1)


def min_max(x: Tensor) -> Tensor:
    """(x - min) / (max - min); NaN where all elements are equal."""
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return (x - low) / (high - low)


def softmax(x: Tensor) -> Tensor:
    return x.softmax(-1)


def log_softmax(x: Tensor) -> Tensor:
    return x.log_softmax(-1)


def rank(x: Tensor) -> Tensor:
    """Ascending ranks with ties averaged, scaled to (0, 1]; NaN stays NaN."""
    flat = x.contiguous()
    ordered = flat.sort(-1).values
    below = torch.searchsorted(ordered, flat, right=False)
    through = torch.searchsorted(ordered, flat, right=True)
    ranks = (below + through + 1).to(x.dtype) / (2 * x.shape[-1])
    return torch.where(x.isnan(), x, ranks)


def total(x: Tensor) -> Tensor:
    return x.sum(-1)


def mean(x: Tensor) -> Tensor:
    return x.mean(-1)


def standard_deviation(x: Tensor) -> Tensor:
    """Unbiased; NaN for fewer than two elements. Two plain passes: torch's own one-pass kernel is slower."""
    n = x.shape[-1]
    if n < 2:
        return torch.full_like(x[..., 0], torch.nan)
    return (square(x - x.mean(-1, keepdim=True)).sum(-1) / (n - 1)).sqrt()


def maximum_of(x: Tensor) -> Tensor:
    return x.amax(-1)


def minimum_of(x: Tensor) -> Tensor:
    return x.amin(-1)


def l1_norm(x: Tensor) -> Tensor:
    return x.abs().sum(-1)


def l2_norm(x: Tensor) -> Tensor:
    return square(x).sum(-1).sqrt()


def spectrum(x: Tensor) -> Tensor:
    """Singular values of matrices, (..., m, n) -> (..., min(m, n)), largest first; all elements finite.

    Those of float32 are roots of the eigenvalues of the smaller Gram matrix in float64: their errors, 1e-8 of the largest, are
    below those of a float32 decomposition, which takes several times as long.
    """
    values: Tensor
    if x.dtype == torch.float64:
        values = torch.linalg.svdvals(x)
        return values
    wide = x if x.shape[-2] <= x.shape[-1] else x.mT
    values = torch.linalg.eigvalsh(gram(wide)).clamp(min=0).sqrt().flip(-1)
    return values.to(x.dtype)


def nuclear_norm(s: Tensor) -> Tensor:
    """Sum of the singular values ``s``."""
    return s.sum(-1)


def spectral_norm(s: Tensor) -> Tensor:
    """Largest singular value."""
    return s.amax(-1)


def log_determinant(s: Tensor) -> Tensor:
    """log det(I + X X^T) from the singular values of X."""
    return square(s).log1p().sum(-1)


def effective_rank(s: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values."""
    p = s / s.sum(-1, keepdim=True)
    entropy: Tensor = torch.special.entr(p).sum(-1)
    return entropy.exp()


def stable_rank(s: Tensor) -> Tensor:
    """Squared Frobenius norm over squared spectral norm."""
    return square(s).sum(-1) / square(s.amax(-1))


def smallest_value(s: Tensor) -> Tensor:
    """Smallest of the min(m, n) singular values."""
    return s.amin(-1)


def log_volume(s: Tensor) -> Tensor:
    """Sum of the logarithms of the singular values, log|det X| of a square matrix; values below 1e-9 count as 1e-9."""
    return s.clamp(min=EPSILON).log().sum(-1)


def divergence(s: Tensor) -> Tensor:
    """Sum of log(s + 1e-5) + 1 / (s + 1e-5): twice the Kullback-Leibler divergence of N(0, I) from N(0, X), but for n."""
    return ((s + RIDGE).log() + 1 / (s + RIDGE)).sum(-1)


def transposed(x: Tensor) -> Tensor:
    return x.mT


def side_by_side(*parts: Tensor) -> Tensor:
    """Matrices of equal height as one."""
    return torch.cat(parts, -1)


def row_sum(x: Tensor) -> Tensor:
    return x.sum(-1, keepdim=True)


def row_mean(x: Tensor) -> Tensor:
    return x.mean(-1, keepdim=True)


def row_deviation(x: Tensor) -> Tensor:
    """Unbiased standard deviation of each row; NaN for rows of fewer than two elements."""
    return standard_deviation(x).unsqueeze(-1)


def row_maximum(x: Tensor) -> Tensor:
    return x.amax(-1, keepdim=True)


def gram(x: Tensor) -> Tensor:
    """Inner products of the rows, (..., m, m), in double precision: small eigenvalues do not survive a sum in single."""
    parts = [part.double() for part in torch.split(x, GRAM_COLUMNS, -1)]
    return torch.stack([part @ part.mT for part in parts]).sum(0)


def covariance(x: Tensor) -> Tensor:
    """Covariance matrix of the rows, (..., m, m), unbiased; NaN for rows of fewer than two elements."""
    n = x.shape[-1]
    return gram(x - x.mean(-1, keepdim=True)) / (n - 1 if n > 1 else torch.nan)


def correlation(x: Tensor) -> Tensor:
    """Pearson correlation of the rows, (..., m, m); 0 with a row that is constant, which has none."""
    centred = x - x.mean(-1, keepdim=True)
    length = square(centred).sum(-1, keepdim=True).sqrt()
    unit = centred / torch.where(length == 0, torch.ones_like(length), length)
    return gram(unit)


def agreement(x: Tensor) -> Tensor:
    """In how many places two rows are on the same side of zero (positive or not), (..., m, m)."""
    code = torch.where(x.isnan(), x, torch.where(x > 0, 1.0, -1.0).to(x.dtype))
    return (gram(code) + x.shape[-1]) / 2


def distinct_patterns(x: Tensor) -> Tensor:
    """How many rows differ in which of their elements are positive; NaN if an element is."""
    positive = x > 0
    patterns = torch.zeros(positive.shape[:-1], dtype=torch.int64, device=x.device)
    weights = 2 ** torch.arange(PATTERN_BITS, device=x.device)
    for part in torch.split(positive, PATTERN_BITS, -1):  # as many columns as fit beside the number of a pattern
        code = (part * weights[: part.shape[-1]]).sum(-1) + (patterns << PATTERN_BITS)
        rows = code.reshape(-1, code.shape[-1])
        patterns = torch.stack([row.unique(return_inverse=True)[1] for row in rows]).view(code.shape)
    counts = patterns.amax(-1) + 1
    return torch.where(x.isnan().flatten(-2).any(-1), torch.nan, counts.to(x.dtype))


def add(x: Tensor, y: Tensor) -> Tensor:
    return x + y


def subtract(x: Tensor, y: Tensor) -> Tensor:
    return x - y


def multiply(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def divide(x: Tensor, y: Tensor) -> Tensor:
    return x / y


def larger(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x, y)


def smaller(x: Tensor, y: Tensor) -> Tensor:
    return torch.minimum(x, y)


def matrix_product(x: Tensor, y: Tensor) -> Tensor:
    """X Y^T or X^T Y of two (..., m, n) matrices: the longer side is contracted, so the result is the small square."""
    return x @ y.mT if x.shape[-1] >= x.shape[-2] else x.mT @ y
