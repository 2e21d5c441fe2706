"""Scores of given architectures, and the files that hold architectures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoprox.errors import InputError
from autoprox.language.text import parse_proxy
from autoprox.measuring.capture import CaptureSettings, Network
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.scoring import Scorer, is_constant, score_architectures
from autoprox.spaces import get_space
from autoprox.spaces.architecture_file import ArchitectureFile, load_architecture, save_architecture

SETTINGS = CaptureSettings()
SUB, PIT = get_space("autoformer-sub"), get_space("pit-tiny")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore(tmp_path / "memo.sqlite") as opened:
        yield opened


def some(count: int, name: str = "pit-tiny", seed: int = 0) -> list[Network]:
    space, rng = get_space(name), np.random.default_rng(seed)
    found: dict[Network, None] = {}
    while len(found) < count:
        found[(name, space.key(space.sample(rng)))] = None
    return list(found)


def scored(text: str, models: list[Network], store: FeatureStore) -> list[float | Invalid]:
    with Workers(1) as workers:
        return [score for _, score in score_architectures(parse_proxy(text), models, SETTINGS, store, workers)]


def params(network: Network) -> int:
    space = get_space(network[0])
    return space.params(space.parse(json.loads(network[1])))


def example() -> ArchitectureFile:
    architecture = PIT.parse(json.loads(some(1)[0][1]))
    return ArchitectureFile(
        "pit-tiny", PIT.to_json(architecture), PIT.params(architecture), PIT.flops(architecture), 1.5, {"seed": 0}
    )


# Scores


def test_counting_proxies_need_no_network(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoprox.measuring.capture.capture", lambda *_: pytest.fail("a network was built"))
    models = some(4) + some(4, "autoformer-sub")
    assert scored("params", models, store) == [params(model) for model in models]


def test_a_score_of_weights_is_what_torch_says(store: FeatureStore) -> None:
    (model,) = some(1)
    network = PIT.network(PIT.parse(json.loads(model[1])), classes=100, seed=0)
    norms = [float(p.detach().double().norm()) for name, p in network.named_parameters() if name.endswith("qkv.weight")]
    assert scored("sum(l2(qkv.weight))", [model], store) == [pytest.approx(sum(norms), rel=1e-6)]


def test_scores_do_not_depend_on_company_unless_the_proxy_is_relative(store: FeatureStore) -> None:
    models = some(5)
    together = scored("sum(l2(qkv.weight))", models, store)
    assert together == [scored("sum(l2(qkv.weight))", [model], store)[0] for model in models]
    ranks = scored("rank(params)", models, store)
    assert np.argsort(ranks).tolist() == np.argsort([params(model) for model in models]).tolist()
    assert scored("rank(params)", models[:2], store) != ranks[:2]


def test_spaces_are_ranked_apart(store: FeatureStore) -> None:
    pit, sub = some(3), some(3, "autoformer-sub")
    mixed = [model for pair in zip(pit, sub, strict=True) for model in pair]
    found = scored("rank(params)", mixed, store)
    assert found[::2] == scored("rank(params)", pit, store)
    assert found[1::2] == scored("rank(params)", sub, store)


def test_equal_scores_are_scores(store: FeatureStore) -> None:
    pair = [("pit-tiny", PIT.key(replace(PIT.largest(), mlp_ratio=ratio))) for ratio in (2, 4)]
    assert scored("depth", pair, store) == [17, 17]


def test_one_network_without_a_score_leaves_the_others_theirs(store: FeatureStore) -> None:
    models = some(4)
    heaviest = max(models, key=params)
    with Workers(1) as workers:
        scorer = Scorer(parse_proxy("rank(params)"), SETTINGS, store, workers)
        taken = scorer.measure(models)
        broken = [replace(m, alone=Invalid("not finite")) if m.network == heaviest else m for m in taken]
        found = scorer.scores(broken)
    rest = [model for model in models if model != heaviest]
    assert found[models.index(heaviest)] == Invalid("not finite")
    assert [score for score in found if not isinstance(score, Invalid)] == scored("rank(params)", rest, store)


@pytest.mark.parametrize("form", ["{}", "rank({}) + params"])
def test_scores_that_are_not_finite_are_invalid(form: str, store: FeatureStore) -> None:
    power = "square(" * 6 + "params" + ")" * 6
    assert scored(form.format(power), some(3), store) == [Invalid("not finite")] * 3


def test_a_model_given_twice_counts_once(store: FeatureStore) -> None:
    models = some(3)
    assert scored("rank(params)", [*models, models[0]], store)[:3] == scored("rank(params)", models, store)


def test_files_are_scored_under_their_names(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    save_architecture(path, example())
    with Workers(1) as workers:
        found = score_architectures(parse_proxy("params"), [str(path)], SETTINGS, store, workers)
    assert found == [(str(path), example().params)]


def test_constant_is_judged_relative_to_size() -> None:
    assert is_constant([1e6, 1e6 + 1])
    assert is_constant([0.0, 0.0])
    assert not is_constant([1e-6, 2e-6])
    assert not is_constant([-1.0, 1.0])


# Files


def test_a_file_comes_back_as_it_went(tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    save_architecture(path, example())
    assert load_architecture(path) == example()
    record = json.loads(path.read_text())
    assert list(record) == ["format", "version", "space", "architecture", "params", "flops", "score", "provenance"]
    assert (record["format"], record["version"]) == ("autoprox-architecture", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "autoprox-proxy"}, "not an architecture file: expected the format 'autoprox-architecture'"),
        ({"version": 2}, "version 2 of the architecture format; this autoprox reads version 1"),
        ({"version": True}, "version True"),
        ({"space": "pit-tini"}, r"no space 'pit-tini' \(did you mean 'pit-tiny'\?\)"),
        ({"space": 3}, "expected 'space' to be a name, found 3"),
        ({"architecture": {"base_dim": 16}}, "expected the fields base_dim, .* found missing: mlp_ratio"),
        ({"architecture": None}, "expected an object"),
        ({"params": "many"}, "expected 'params' to be a positive whole number, found 'many'"),
        ({"flops": True}, "expected 'flops' to be a positive whole number, found True"),
        ({"score": None}, "expected 'score' to be a finite number, found None"),
        ({"score": math.nan}, "expected 'score' to be a finite number, found nan"),
        ({"provenance": []}, "expected 'provenance' to be an object, found list"),
    ],
)
def test_a_wrong_file_is_named(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    path.write_text(json.dumps(example().to_json() | change))
    with pytest.raises(InputError, match=rf"arch\.json.*{message}"):
        load_architecture(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "damaged or not JSON"), ('{"format": "autopr', "damaged or not JSON"), ("[]", "found 'list'"), ("\xff", "")],
)
def test_a_damaged_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=rf"arch\.json.*{message}"):
        load_architecture(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no architecture file .*nowhere\.json"):
        load_architecture(tmp_path / "nowhere.json")
