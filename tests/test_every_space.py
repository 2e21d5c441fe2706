"""Every space, from its choices to a search: built, scored by weights, gradients and activations, and searched through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from autoprox.language.text import parse_proxy
from autoprox.measuring.capture import CaptureSettings, Network
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.proxies.scoring import score_architectures
from autoprox.search import SearchSettings, search
from autoprox.spaces import SPACES, Space
from autoprox.spaces.initialisation import SharedNoise

WEIGHTS, GRADIENTS = "l2_norm", "snip"
ACTIVATIONS = {"evolution": "nwot", "blockwise": "meco"}  # no block has a number of nwot
FEW = CaptureSettings(batch_size=2)

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """One memo for all tests here."""
    with FeatureStore(tmp_path_factory.mktemp("home") / "memo.sqlite") as store:
        yield store


@pytest.fixture(scope="module")
def alone() -> Iterator[Workers]:
    with Workers(1) as workers:
        yield workers


@cache
def budget(space: Space) -> int:
    """Multiply-accumulates that a fifth of random architectures stay below."""
    rng = np.random.default_rng(0)
    return sorted(space.flops(space.sample(rng)) for _ in range(50))[10]


def runs_fast(space: Space) -> bool:
    """Whether a test can afford to run dozens of networks of the budget."""
    return budget(space) < 400_000_000


def drawn(space: Space) -> Network:
    """A random architecture within the budget."""
    rng = np.random.default_rng(1)
    found = next(a for a in (space.sample(rng) for _ in range(1000)) if space.flops(a) <= budget(space))
    return space.name, space.key(found)


@every_space
def test_it_builds_what_its_closed_form_counts(space: Space) -> None:
    for architecture in (space.smallest(), space.parse(json.loads(drawn(space)[1]))):
        model = space.network(architecture, None, seed=0)
        assert sum(p.numel() for p in model.parameters()) == space.params(architecture)
        assert all(p.isfinite().all() for p in model.parameters())


@every_space
def test_it_scores_by_weights_gradients_and_activations(space: Space, store: FeatureStore, alone: Workers) -> None:
    networks: list[Network] = [(space.name, space.key(space.smallest("flops"))), drawn(space)]
    for name in (WEIGHTS, GRADIENTS, ACTIVATIONS["evolution"]):
        some = networks if name == WEIGHTS or runs_fast(space) else networks[:1]
        scores = [score for _, score in score_architectures(KNOWN_PROXIES[name].expression, some, FEW, store, alone)]
        assert all(isinstance(score, float) and np.isfinite(score) and score > 0 for score in scores), (name, scores)
        assert len(set(scores)) == len(some)


@every_space
@pytest.mark.parametrize("algorithm", ["evolution", "blockwise"])
def test_it_is_searched_by_three_proxies(
    space: Space, algorithm: str, store: FeatureStore, alone: Workers, tmp_path: Path
) -> None:
    if runs_fast(space):
        proxies = [KNOWN_PROXIES[name].text for name in (WEIGHTS, GRADIENTS, ACTIVATIONS[algorithm])]
    else:
        proxies = [KNOWN_PROXIES[WEIGHTS].text, KNOWN_PROXIES["weight-log-norm"].text, "mean(l2(fc1.weight))"]
    # eight random architectures, then two that the algorithm makes of them
    settings = SearchSettings(space.name, algorithm, max_flops=budget(space), evaluations=10, capture=FEW)
    for i, proxy in enumerate(proxies):
        folder = tmp_path / str(i)
        found = search(parse_proxy(proxy), settings, run_dir=folder, store=store, workers=alone)
        records = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
        assert len({space.parse(record["architecture"]) for record in records}) == found.evaluations == 10
        assert (found.invalid, found.exhausted) == (0, False)
        scores = [record["score"] for record in records]
        assert found.score == max(scores) > min(scores)
        assert found.flops == space.flops(space.parse(found.architecture)) <= budget(space)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("largest", [(7,), (16,), (40,), (10, 3), (9, 16), (12, 5, 2, 2), (300, 7)])
def test_noise_is_the_same_in_whatever_order_networks_take_their_rows(largest: tuple[int, ...], kind: str) -> None:
    shape = torch.Size(largest)

    def noise() -> SharedNoise:
        return SharedNoise(3, "some space", {"weight": shape})

    whole = noise()("weight", shape, kind)
    growing = noise()
    for rows in range(1, shape[0] + 1):
        taken = torch.Size([rows, *shape[1:]])
        assert torch.equal(growing("weight", taken, kind), whole[:rows])
        assert torch.equal(noise()("weight", taken, kind), whole[:rows])
    narrow = torch.Size([2, *(max(1, side - 1) for side in shape[1:])])
    assert torch.equal(growing("weight", narrow, kind), whole[tuple(slice(side) for side in narrow)])


def test_a_small_network_draws_little_of_the_largest() -> None:
    space = SPACES["pit-small"]
    noise = SharedNoise(0, space.name, {"fc": torch.Size([4000, 1000])})
    assert noise("fc", torch.Size([10, 10]), "normal").untyped_storage().nbytes() == 10 * 1000 * 4
    assert noise("fc", torch.Size([11, 10]), "normal").untyped_storage().nbytes() == 20 * 1000 * 4
    assert noise("fc", torch.Size([9, 10]), "normal").untyped_storage().nbytes() == 20 * 1000 * 4
