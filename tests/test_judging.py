"""What samples say too little of is not judged, with the reason, and what they tell is."""

import re

import numpy as np
import pytest
from scipy.stats import kendalltau

from autoprox.discovery.judging import RELIABLE, Judge
from autoprox.language.text import parse
from autoprox.measuring import screening
from autoprox.measuring.capture import CaptureSettings, block_features
from autoprox.measuring.screening import take_samples
from autoprox.measuring.workers import Workers
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import Group, numbers_of
from autoprox.spaces import get_space

SETTINGS = CaptureSettings(batch_size=1)
NAMES = ("linear.weight", "qkv.weight", "ones.qkv.grad")
TOLD = "mean(sum(abs(qkv.weight)))", "sum(sum(square(ones.qkv.grad)))", "sum(erank(qkv.weight))"
LUCK = "mean(sum(sign(linear.weight)))", "max(mean(possqrt(linear.weight)))"


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """Twelve networks with a sample of one element in thousands each."""
    space = get_space("pit-nano")
    rng = np.random.default_rng(0)
    keys = list(dict.fromkeys(space.key(space.sample(rng)) for _ in range(20)))[:12]
    networks = tuple((space.name, key) for key in keys)
    numbers = numbers_of(networks)
    group = Group(space.name, networks, {"d": np.arange(12.0)}, {"d": "base"}, numbers)
    with pytest.MonkeyPatch.context() as patch, Workers(1) as workers:
        patch.setattr(screening, "ELEMENTS", 128)
        screen = take_samples(networks, NAMES, SETTINGS, tmp_path_factory.mktemp("samples"), workers)
    return Judge([group], [screen], Fitness([group]), orient=False)


def test_what_samples_cannot_tell_is_no_verdict(judge):
    for text, verdict in zip(LUCK, judge([parse(text) for text in LUCK]), strict=True):
        assert verdict.value is None, text
        found = re.fullmatch(
            r"pit-nano: cannot be told from samples, whose halves agree with τ (-?[.\d]+) only", verdict.reason
        )
        assert found, verdict.reason
        assert float(found[1]) < RELIABLE


def test_what_they_tell_ranks_like_the_truth(judge):
    features = [parse(text).args[0] for text in TOLD]
    exact = [block_features(network, features, SETTINGS) for network in judge._groups[0].networks]
    for text, verdict in zip(TOLD, judge([parse(text) for text in TOLD]), strict=True):
        assert verdict.value is not None, verdict.reason
        reduce = np.mean if text.startswith("mean") else np.sum
        truth = [reduce(row[parse(text).args[0]]) for row in exact]
        assert verdict.taus[0] == pytest.approx(kendalltau(truth, np.arange(12)).statistic, abs=0.1)
