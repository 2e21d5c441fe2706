"""What is left of a run when a network kills every process that measures it, or has NaN for weights: all but that network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autoprox
from autoprox.building.build import BuildSettings, build
from autoprox.discovery import Discovery, DiscoverySettings, discover
from autoprox.errors import InterruptedRunError, MissingError
from autoprox.language.text import parse_proxy
from autoprox.measuring.capture import CaptureSettings, Network
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Notice, Workers
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.proxy import resolve_proxy
from autoprox.proxies.scoring import score_architectures
from autoprox.ranking.comparison import Comparison, compare
from autoprox.ranking.problem import Group, numbers_of, split_of
from autoprox.search import Found, SearchSettings, search
from tests.dying import KILLS, POISONED, SPACE, Dying, register

CAPTURE = CaptureSettings(batch_size=1)
DISCOVERY = DiscoverySettings(evaluations=250, finalists=2, capture=CAPTURE)
SEARCH = SearchSettings("planted", evaluations=12, capture=CAPTURE)
WEIGHTS = "sum(l2(qkv.weight))"
REASON = "two worker processes died at it: the last one was killed by SIGKILL"

pytestmark = pytest.mark.filterwarnings("ignore::autoprox.measuring.workers.Notice")


@pytest.fixture(autouse=True)
def planted() -> Iterator[None]:
    register()
    yield
    autoprox.forget("planted")


def ground(count: int = 36) -> Group:
    rng = np.random.default_rng(3)
    keys = list(dict.fromkeys(SPACE.key(SPACE.sample(rng)) for _ in range(20 * count)))[:count]
    networks = tuple(("planted", key) for key in keys)
    numbers = numbers_of(networks)
    labels = {"made": np.log(numbers["params"]) + rng.normal(size=count) * 0.1}
    return Group("planted", networks, labels, {"made": "kd"}, numbers)


def of_part(group: Group, part: str) -> list[Network]:
    return [network for network, place in split_of(group.networks).items() if place == part]


def plant(patch: pytest.MonkeyPatch, variable: str, *networks: Network) -> None:
    patch.setenv(variable, "\n".join(key for _, key in networks))


def found(tmp_path: Path, name: str, count: int = 2, **options: Any) -> Discovery:
    with Dying(count) as workers:
        return discover(
            [ground()], DISCOVERY, run_dir=tmp_path / name, home=tmp_path / f"home {name}", workers=workers, **options
        )


def timeless(one: Discovery) -> dict[str, Any]:
    return {"metrics": one.proxy.metrics, **one.summary}


def test_discovery_leaves_out_what_dies_and_resumes_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ground()
    dead = [of_part(group, part)[0] for part in ("discovery", "selection", "test")]
    plant(monkeypatch, KILLS, *dead)
    with pytest.warns(Notice, match=r"planted .* is left out: two worker processes died at it"):
        whole = found(tmp_path, "whole")
    recorded = json.loads((tmp_path / "whole" / "best.json").read_text())["provenance"]["left_out"]
    assert recorded == whole.summary["left_out"]
    assert [(one["space"], one["architecture"]) for one in recorded] == sorted(dead)
    assert all(one["reason"].startswith(REASON) for one in recorded)
    assert [whole.summary["parts"][part]["n"] for part in ("discovery", "selection", "test")] == [
        len(of_part(group, part)) - 1 for part in ("discovery", "selection", "test")
    ]
    assert len(list((tmp_path / "home whole").rglob("*.safetensors"))) == len(of_part(group, "discovery")) - 1

    standings: list[Any] = []
    with pytest.raises(InterruptedRunError):
        found(tmp_path, "run", observe=standings.append, stop=lambda: bool(standings))
    plant(monkeypatch, KILLS, *dead[1:])  # as on a machine with more memory, where the first one could be measured
    assert timeless(found(tmp_path, "run", 3, resume=True)) == timeless(whole)
    monkeypatch.delenv(KILLS)
    assert "left_out" not in found(tmp_path, "new", 1).summary


def test_discovery_leaves_out_what_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ground()
    broken = [of_part(group, part)[0] for part in ("discovery", "selection", "test")]
    plant(monkeypatch, POISONED, *broken)
    with pytest.warns(Notice, match=r"planted .* is left out: its logits are not finite"):
        without = found(tmp_path, "broken")
    assert [(one["space"], one["architecture"]) for one in without.summary["left_out"]] == sorted(broken)
    assert {one["reason"] for one in without.summary["left_out"]} == {"its logits are not finite"}
    monkeypatch.delenv(POISONED)
    plant(monkeypatch, KILLS, *broken)
    assert timeless(without) | {"left_out": []} == timeless(found(tmp_path, "dead")) | {"left_out": []}


def test_too_few_that_are_left_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, KILLS, *of_part(ground(), "selection")[:2])
    with pytest.raises(MissingError, match=r"2 of the 6 architectures of planted in one part .* at least 5 with"):
        found(tmp_path, "run")


def compared(tmp_path: Path, group: Group) -> Comparison:
    with Dying(2) as workers:
        return compare([group], [resolve_proxy(WEIGHTS)], CAPTURE, tmp_path / "memo", workers, resamples=20)


def test_ranks_are_those_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ground(8)
    plant(monkeypatch, KILLS, group.networks[2])
    one = compared(tmp_path, group)
    assert list(one.lost) == [group.networks[2]]
    assert one.lost[group.networks[2]].startswith(REASON)
    others = compared(tmp_path / "others", group.take([0, 1, 3, 4, 5, 6, 7]))
    assert one.rows == others.rows
    assert {row["n"] for row in one.rows} == {7}
    monkeypatch.delenv(KILLS)  # the memo does not hold the death
    assert compared(tmp_path, group).lost == {}


def test_processes_that_really_die_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ground(4)
    plant(monkeypatch, KILLS, group.networks[1])
    with FeatureStore(tmp_path / "memo") as store, Workers(2) as real, Dying(2) as pretended:
        one, other = (
            score_architectures(parse_proxy(WEIGHTS), group.networks, CAPTURE, store, workers)
            for workers in (real, pretended)
        )
    assert one == other
    assert [isinstance(score, Invalid) for _, score in one] == [False, True, False, False]


def searched(tmp_path: Path, name: str, count: int = 2, **options: Any) -> Found:
    with Dying(count) as workers, FeatureStore(tmp_path / f"{name}.sqlite") as store:
        run_dir = tmp_path / name
        return search(parse_proxy(WEIGHTS), SEARCH, run_dir=run_dir, store=store, workers=workers, **options)


def test_search_goes_on_without_a_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched(tmp_path, "all")
    first = json.loads((tmp_path / "all" / "journal.jsonl").read_text().splitlines()[1])["architecture"]
    dead = ("planted", SPACE.key(SPACE.parse(first)))
    plant(monkeypatch, KILLS, dead)
    one = searched(tmp_path, "one")
    assert list(one.lost) == [dead]
    assert one.invalid == 1
    record = json.loads((tmp_path / "one" / "journal.jsonl").read_text().splitlines()[1])
    assert record["reason"].startswith(REASON)
    assert record["architecture"] == first
    (left_out,) = json.loads((tmp_path / "one" / "arch.json").read_text())["provenance"]["left_out"]
    assert left_out["architecture"] == dead[1]

    steps: list[Any] = []
    with pytest.raises(InterruptedRunError):
        searched(tmp_path, "two", observe=steps.append, stop=lambda: True)
    monkeypatch.delenv(KILLS)
    resumed = searched(tmp_path, "two", 1, resume=True)
    assert replace(resumed, seconds=0.0) == replace(one, seconds=0.0)


def test_all_that_die_end_the_run_with_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KILLS, "all")
    with pytest.raises(MissingError, match=r"every worker process died, two at each of the first 5 tasks"):
        searched(tmp_path, "run")


def test_a_training_that_kills_is_a_failure_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BuildSettings("made", ("planted",), ("digits",), architectures=3, seeds=(0,), epochs=1)
    with Workers(1) as workers:
        whole = build(settings, tmp_path / "whole", False, workers)
    dead = SPACE.key(SPACE.parse(whole.rows[1].architecture))
    plant(monkeypatch, KILLS, ("planted", dead))
    with Dying(2) as workers:
        table = build(settings, tmp_path / "run", False, workers)
    (failure,) = table.provenance["failures"]
    assert failure["architecture"] == dead
    assert failure["failure"].startswith(REASON)
    assert [bool(row.accuracy) for row in table.rows] == [True, False, True]
    assert [row.accuracy for row in table.rows[::2]] == [row.accuracy for row in whole.rows[::2]]
    monkeypatch.delenv(KILLS)
    with Workers(1) as workers:  # a failure stays one, as of a training that diverges
        assert build(settings, tmp_path / "run", True, workers).rows == table.rows


def test_nan_is_a_reason_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ground(8)
    plant(monkeypatch, POISONED, group.networks[2])
    rows = {row["proxy"]: row for row in compared(tmp_path, group).rows}
    assert rows[WEIGHTS]["invalid"] == "not finite on 1 of 8 networks"
    assert rows["params"]["kendall"] is not None
    with Workers(1) as workers, FeatureStore(tmp_path / "memo") as store:
        scores = score_architectures(parse_proxy(WEIGHTS), group.networks, CAPTURE, store, workers)
    assert [isinstance(score, Invalid) for _, score in scores] == [i == 2 for i in range(8)]

    searched(tmp_path, "all", 1)
    first = json.loads((tmp_path / "all" / "journal.jsonl").read_text().splitlines()[1])["architecture"]
    plant(monkeypatch, POISONED, ("planted", SPACE.key(SPACE.parse(first))))
    one = searched(tmp_path, "one", 1)
    assert (one.invalid, one.lost) == (1, {})
    assert json.loads((tmp_path / "one" / "journal.jsonl").read_text().splitlines()[1])["reason"] == "not finite"
