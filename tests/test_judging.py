"""What samples say too little of is not judged, with the reason, and what they tell is."""

import re

import numpy as np
import pytest
from scipy.stats import kendalltau

from autoprox.discovery.engines import best_of
from autoprox.discovery.judging import RELIABLE, Judge, Verdict
from autoprox.language.text import parse
from autoprox.measuring import screening
from autoprox.measuring.capture import CaptureSettings, block_features
from autoprox.measuring.screening import Screen, take_samples
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
    return Judge([group], [screen], Fitness([group]))


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
        assert verdict.taus[0] == pytest.approx(abs(kendalltau(truth, np.arange(12)).statistic), abs=0.1)


class Unread(Screen):
    """Of networks that no candidate reads anything of."""

    def __init__(self) -> None:
        super().__init__([])

    def measured(self, features, threads=1, half=None):
        assert not features
        return {}


@pytest.mark.parametrize(
    ("mode", "second"),
    [
        ("mean", [5, 4, 3, 2, 0, 1]),
        ("mean-abs", [5, 4, 3, 2, 0, 1]),
        ("min", [2, 5, 1, 4, 0, 3]),
        ("partial", [0, 2, 1, 3, 4, 5]),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_candidate_is_judged_with_its_fitter_sign(mode, second, sign):
    """On labels that the parameter count follows, and on others; for "min" their τ is -.2, which the negative makes -1."""
    numbers = {name: [float(i) for i in range(6)] for name in ("params", "flops", "depth", "width")}
    labels = {"a": sign * np.arange(6.0), "b": sign * np.array(second, dtype=float)}
    group = Group("s", tuple(("s", str(i)) for i in range(6)), labels, {}, numbers)
    fitness = Fitness([group], mode)
    (verdict,) = Judge([group], [Unread()], fitness)([parse("params")])
    assert verdict.expression == parse("params" if sign == 1 else "-params")
    assert verdict.value == max(fitness.joint([way * np.arange(6.0)])[0] for way in (1, -1))
    assert sum(verdict.taus) > 0


def test_those_of_one_tau_that_know_more_beyond_size_stay():
    simple, fitter = Verdict(parse("depth"), 0.1, (0.6,)), Verdict(parse("params / depth"), 0.5, (0.6,))
    again = Verdict(parse("square(params / depth)"), 0.5, (0.6,))
    assert best_of([again, simple, fitter], 3) == [fitter, simple]
