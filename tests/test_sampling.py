"""Samples of tensors: small ones whole, extremes for certain, known totals kept, others spread evenly and without bias."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoprox.measuring.sampling import HALVES, sampled


def drawn(seed: int, length: int, count: int) -> list[torch.Tensor]:
    """Tensors like a weight, a heavy-tailed gradient and a positive map."""
    rng = np.random.default_rng(seed)
    arrays = rng.normal(size=length), rng.standard_t(3, size=length), rng.exponential(size=length)
    return [torch.from_numpy(array.astype(np.float32)) for array in arrays[:count]]


def take(
    tensors: list[torch.Tensor], count: int = 256, seed: str = "s", part: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    totals = [torch.stack([x.sum(), x.abs().sum(), x.square().sum()]) for x in (t.double() for t in tensors)]
    positions, weights = sampled(tensors, torch.stack(totals), count, seed)
    return positions, weights[part]


@given(st.integers(1, 256), st.integers(0, 99))
def test_a_short_tensor_is_taken_whole(length, seed):
    tensors = drawn(seed, length, 2)
    positions, weights = take(tensors)
    assert positions.shape == weights.shape == (256,)
    assert positions[weights == 1].tolist() == list(range(length))
    assert weights.sum() == length
    assert set(tensors[0][positions].tolist()) == set(tensors[0].tolist())


PART = st.sampled_from(range(1 + HALVES))  # the sample, or one half of it


@given(st.integers(257, 40_000), st.integers(1, 3), st.integers(0, 99), PART)
def test_totals_and_extremes_come_out_as_they_are(length, count, seed, part):
    tensors = drawn(seed, length, count)
    positions, weights = take(tensors, part=part)
    assert weights.min() >= 0
    assert float(weights.double().sum()) == pytest.approx(length, rel=0.02)
    for tensor in tensors:
        kept = tensor[positions]
        assert kept.max() == tensor.max()
        assert kept.min() == tensor.min()
        assert kept.abs().min() == tensor.abs().min()


@given(st.integers(20_000, 40_000), st.integers(1, 3), st.integers(0, 99), PART)
def test_calibrated_sums(length, count, seed, part):
    tensors = drawn(seed, length, count)
    positions, weights = take(tensors, 1024, part=part)
    for x in (tensor.double() for tensor in tensors):
        kept = x[positions]
        for name in ("sum", "absolute", "square"):
            f = {"sum": lambda v: v, "absolute": torch.abs, "square": torch.square}[name]
            assert float(f(kept) @ weights.double()) == pytest.approx(
                float(f(x).sum()), rel=1e-3, abs=1e-3 * length**0.5
            )


def test_what_is_not_calibrated_is_estimated_without_bias_and_well():
    x = drawn(0, 50_000, 3)
    exact = float((x[0] * x[1]).abs().sqrt().sum())
    found = []
    for seed in range(200):
        positions, weights = take(x, 1024, str(seed))
        found.append(float((x[0] * x[1]).abs().sqrt()[positions] @ weights))
    assert abs(np.mean(found) / exact - 1) < 0.005
    plain = float((x[0] * x[1]).abs().sqrt().std()) / np.sqrt(1024) / exact * 50_000
    assert np.std(found) / exact < 0.6 * plain  # of as many elements drawn without any of this


def test_halves_share_what_is_certain_and_split_the_rest():
    tensors = drawn(0, 50_000, 2)
    one, other = (take(tensors, 1024, part=part)[1] > 0 for part in (1, 2))
    certain = one & other
    assert (one | other).all()
    assert 32 <= int(certain.sum()) <= 2 * 3 * 17
    assert abs(int(one.sum()) - int(other.sum())) <= 1
    assert not certain[int(certain.sum()) :].any()  # they come first


def test_the_places_are_those_of_the_seed_and_spread_evenly():
    flat = torch.zeros(100_000)
    flat[::2] = 1e-3
    positions, _ = take([flat])
    again, _ = take([flat.clone()])
    other, _ = take([flat], seed="another")
    assert torch.equal(positions, again)
    assert not torch.equal(positions, other)
    random = positions[48:].double()  # behind those that are certain
    assert float((random.diff() / 100_000 * len(random)).max()) < 2.1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_tensor_that_is_not_finite_is_sampled_all_the_same(bad):
    tensor = drawn(0, 5000, 1)[0]
    tensor[17] = bad
    positions, weights = take([tensor])
    assert 17 in positions.tolist()
    assert weights.isfinite().all()
    assert float(weights.sum()) == pytest.approx(5000)
