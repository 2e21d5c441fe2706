"""Block-wise evolution: positions of spaces, values of blocks, where children differ, and searches as a whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from autoprox.errors import InputError, InterruptedRunError
from autoprox.language.canonical import canonical
from autoprox.language.text import parse_proxy, to_text
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.proxies.scoring import Measurement, Scorer
from autoprox.search import Found, SearchSettings, search
from autoprox.search.blockwise import Parent, cross, focus, mutate, position_values, terms
from autoprox.spaces import SPACES, Architecture, PiTSpace, Space

FORMER, PIT = SPACES["autoformer-nano"], SPACES["pit-nano"]
NANO = SearchSettings("autoformer-nano", "blockwise", max_params=60_000, evaluations=36)
A, B = "sum(l2(fc1.weight))", "sum(std(proj.weight) * mean(abs(qkv.weight)))"  # weights only: no network is run
RANKS = f"rank({A}) + rank({B})"

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
both_nanos = pytest.mark.parametrize("space", [FORMER, PIT], ids=["autoformer-nano", "pit-nano"])
both_kinds = pytest.mark.parametrize("positions", ["blockwise", "uniform"])
seeds = st.integers(0, 2**32 - 1)

Runner = Callable[..., Found]


def at(space: Space, architecture: Architecture) -> list[Any]:
    """What an architecture has at each position: the entries there of all lists of its record."""
    lists = [value for value in space.to_json(architecture).values() if isinstance(value, list)]
    return [tuple(map(json.dumps, entries)) for entries in zip(*lists, strict=True)]


def shared(space: Space, architecture: Architecture) -> dict[str, Any]:
    """The choices that are of no position."""
    return {field: v for field, v in space.to_json(architecture).items() if not isinstance(v, list)}


def drawn(space: Space, blocks: int, rng: np.random.Generator) -> Architecture:
    """A random architecture of that many positions."""
    while len(space.positions(architecture := space.sample(rng))) != blocks:
        pass
    return architecture


def valued(space: Space, architecture: Architecture, rng: np.random.Generator) -> Parent:
    return Parent(architecture, rng.random(len(space.positions(architecture))))


# Positions of spaces


@every_space
@given(seed=seeds)
def test_positions_cover_all_blocks(space: Space, seed: int) -> None:
    architecture = space.sample(np.random.default_rng(seed))
    assert sum(space.positions(architecture)) == space.depth(architecture)
    assert len(space.positions(architecture)) == len(at(space, architecture))


@every_space
@given(seed=seeds)
def test_exchange_exchanges_the_positions_alone(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    common = min(len(space.positions(a)), len(space.positions(b)))
    places = np.flatnonzero(rng.random(common) < 0.5).tolist()
    child = space.exchange(a, b, places)
    if child is None:
        assert isinstance(space, PiTSpace)
        return
    assert space.parse(space.to_json(child)) == child
    assert shared(space, child) == shared(space, a)
    assert at(space, child) == [at(space, b if i in places else a)[i] for i in range(len(space.positions(a)))]
    assert space.exchange(a, b, ()) == a
    assert space.exchange(a, a, places) == a


def test_stages_of_pit_are_exchanged_only_for_what_is_sampled() -> None:
    assert isinstance(PIT, PiTSpace)
    rng = np.random.default_rng(0)
    outcomes = Counter[bool]()
    for _ in range(500):
        a, b = PIT.sample(rng), PIT.sample(rng)
        child = PIT.exchange(a, b, (1,))
        h, d = (a.num_heads[0], b.num_heads[1], a.num_heads[2]), (a.depth[0], b.depth[1], a.depth[2])
        assert (child is not None) == (h in PIT.head_triples and d in PIT.depth_triples)
        outcomes[child is None] += 1
    assert min(outcomes[True], outcomes[False]) > 50


# Values of blocks


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Space], list[Measurement]]:
    """Measurements of two dozen networks of a space by a proxy."""

    def measure(proxy: str, space: Space) -> list[Measurement]:
        rng = np.random.default_rng(0)
        keys = sorted({space.key(space.sample(rng)) for _ in range(24)})
        with FeatureStore(tmp_path_factory.getbasetemp() / "values.sqlite") as store, Workers(1) as workers:
            return Scorer(parse_proxy(proxy), CaptureSettings(), store, workers).measure(
                [(space.name, k) for k in keys]
            )

    return measure


Measure = Callable[[str, Space], list[Measurement]]


def values_of(proxy: str, space: Space, measure: Measure) -> list[np.ndarray[Any, Any]]:
    measurements = measure(proxy, space)
    sizes = [space.positions(space.parse(json.loads(m.network[1]))) for m in measurements]
    return position_values(canonical(parse_proxy(proxy)), measurements, sizes)


@pytest.mark.parametrize(
    ("proxy", "count"), [("dss", 1), ("dss++", 2), ("az-nas", 2), ("snip", 1), ("params", 0), ("nwot", 0)]
)
def test_terms_are_the_reductions_of_numbers_of_blocks(proxy: str, count: int) -> None:
    found = terms(KNOWN_PROXIES[proxy].expression)
    assert len(found) == count
    assert all(to_text(term).startswith(("sum(", "mean(")) for term in found)


def test_a_block_is_ranked_among_those_of_its_place(measured: Measure) -> None:
    found = values_of(A, FORMER, measured)
    blocks = [next(iter(m.values.values())) for m in measured(A, FORMER)]
    for place in range(6):
        having = [i for i, row in enumerate(blocks) if len(row) > place]
        expected = rankdata([blocks[i][place] for i in having]) / len(having)
        assert [found[i][place] for i in having] == pytest.approx(expected)
    assert list(map(len, found)) == list(map(len, blocks))


@pytest.mark.parametrize(
    ("reduction", "oracle"),
    [
        ("sum", np.sum), ("mean", np.mean), ("max", np.max), ("l1", np.sum), ("l2", lambda x: np.sqrt(np.sum(x**2))),
    ],
)  # fmt: skip
def test_a_stage_is_worth_what_the_reduction_makes_of_it(
    reduction: str, oracle: Callable[[Any], float], measured: Measure
) -> None:
    proxy = f"{reduction}(l2(fc1.weight))"
    found, measurements = values_of(proxy, PIT, measured), measured(proxy, PIT)
    depths = [json.loads(m.network[1])["depth"] for m in measurements]
    for stage in range(3):
        column = []
        for m, depth in zip(measurements, depths, strict=True):
            start = sum(depth[:stage])
            column.append(oracle(next(iter(m.values.values()))[start : start + depth[stage]]))
        expected = rankdata(np.round(column, 12)) / len(column)
        assert [row[stage] for row in found] == pytest.approx(expected)


@both_nanos
def test_a_value_is_the_mean_over_the_terms_in_their_directions(space: Space, measured: Measure) -> None:
    first, second = values_of(A, space, measured), values_of(B, space, measured)
    down = values_of(f"-{B}", space, measured)
    for proxy, other in ((RANKS, second), (f"rank({A}) - rank({B})", down), (f"{A} / {B}", down)):
        for found, x, y in zip(values_of(proxy, space, measured), first, other, strict=True):
            assert found == pytest.approx((x + y) / 2)
    for place in range(3):  # ranks that run the other way
        column = [up[place] + reverse[place] for up, reverse in zip(second, down, strict=True) if len(up) > place]
        assert column == pytest.approx([1 + 1 / len(column)] * len(column))


def test_a_spread_between_blocks_values_what_differs(measured: Measure) -> None:
    proxy = "std(l2(fc1.weight)) * depth"
    blocks = [next(iter(m.values.values())) for m in measured(proxy, PIT)]
    depths = [json.loads(m.network[1])["depth"] for m in measured(proxy, PIT)]
    column = [np.abs(row - row.mean())[: depth[0]].mean() for row, depth in zip(blocks, depths, strict=True)]
    expected = rankdata(np.round(column, 12)) / len(column)
    assert [row[0] for row in values_of(proxy, PIT, measured)] == pytest.approx(expected)


# Children


@given(values=st.lists(st.floats(0.01, 1), min_size=1, max_size=14))
def test_the_lower_the_value_the_more_probable_is_a_mutation(values: list[float]) -> None:
    found = focus(np.array(values))
    assert found.sum() == pytest.approx(1)
    assert (found > 0).all()
    for i, one in enumerate(values):
        for j, other in enumerate(values):
            assert (found[i] > found[j]) == (one < other)


@both_nanos
@both_kinds
@given(seed=seeds)
def test_a_mutation_changes_one_position_or_what_all_blocks_share(space: Space, positions: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = valued(space, space.sample(rng), rng)
    if positions == "uniform":
        parent = Parent(parent.architecture)
    child = mutate(space, parent, rng)
    if child is None:
        return
    assert space.parse(space.to_json(child)) == child
    before, after = at(space, parent.architecture), at(space, child)
    changed = [i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]]
    if shared(space, child) == shared(space, parent.architecture):
        assert len(after) == len(before)
        assert len(changed) == 1 or child == parent.architecture
    else:
        assert not changed


def test_low_values_are_mutated_more_often() -> None:
    values = np.array([0.9, 0.1, 0.6, 0.3, 0.8, 0.5])
    parent = Parent(drawn(FORMER, 6, np.random.default_rng(1)), values)
    for given_values, expected in ((values, focus(values)), (None, np.full(6, 1 / 6))):
        rng = np.random.default_rng(2)
        counts = np.zeros(6)
        while counts.sum() < 1500:
            child = mutate(FORMER, replace(parent, values=given_values), rng)
            if child is not None and shared(FORMER, child) == shared(FORMER, parent.architecture):
                pairs = zip(at(FORMER, child), at(FORMER, parent.architecture), strict=True)
                counts += [one != other for one, other in pairs]
        assert counts / counts.sum() == pytest.approx(expected, abs=0.05)  # four standard deviations


@both_nanos
@given(seed=seeds)
def test_a_child_of_two_has_the_blocks_of_the_larger_values(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    better, other = (valued(space, space.sample(rng), rng) for _ in range(2))
    child = cross(space, better, other, rng)
    if child is None:
        assert isinstance(space, PiTSpace)
        return
    assert better.values is not None
    assert other.values is not None
    assert shared(space, child) == shared(space, better.architecture)
    mine, theirs = at(space, better.architecture), at(space, other.architecture)
    for i, block in enumerate(at(space, child)):
        takes = i < len(theirs) and other.values[i] > better.values[i]
        assert block == (theirs if takes else mine)[i]


def test_equal_and_absent_values_leave_it_to_chance() -> None:
    rng = np.random.default_rng(3)
    one, other = drawn(FORMER, 6, rng), drawn(FORMER, 6, rng)
    for values in (np.full(6, 0.5), None):
        children = {cross(FORMER, Parent(one, values), Parent(other, values), rng) for _ in range(200)}
        assert len(children) > 10
        for child in children:
            assert all(
                b in pair for b, *pair in zip(at(FORMER, child), at(FORMER, one), at(FORMER, other), strict=True)
            )


# Searches


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Runner]:
    with FeatureStore(tmp_path / "memo.sqlite") as store:

        def once(proxy: str, settings: SearchSettings, name: str = "run", *, count: int = 1, **options: Any) -> Found:
            with Workers(count) as workers:
                return search(
                    parse_proxy(proxy), settings, run_dir=tmp_path / name, store=store, workers=workers, **options
                )

        yield once


def timeless(found: Found) -> Found:
    return replace(found, seconds=0.0)


def scores(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]


@both_kinds
@pytest.mark.parametrize("name", ["autoformer-nano", "pit-nano"])
def test_a_search_stays_in_its_budget(name: str, positions: str, run: Runner, tmp_path: Path) -> None:
    settings = replace(NANO, space=name, max_flops=600_000, positions=positions)
    found = run(RANKS, settings)
    records, space = scores(tmp_path / "run"), SPACES[name]
    architectures = [space.parse(record["architecture"]) for record in records]
    assert len(set(architectures)) == len(records) == found.evaluations == 36
    assert all(space.params(a) <= 60_000 and space.flops(a) <= 600_000 for a in architectures)
    assert found.score == max(record["score"] for record in records)
    assert found.file().provenance["positions"] == positions
    assert found.random["count"] > 0


def test_the_values_change_what_is_scored(run: Runner, tmp_path: Path) -> None:
    run(A, NANO, "valued")
    run(A, replace(NANO, positions="uniform"), "uniform")
    valued_, uniform = scores(tmp_path / "valued"), scores(tmp_path / "uniform")
    assert valued_[:6] == uniform[:6]  # the random population
    assert valued_[6:] != uniform[6:]


def test_it_climbs_higher_than_random_search(run: Runner) -> None:
    settings = SearchSettings("autoformer-nano", "blockwise", evaluations=70)
    assert run(A, settings, "blockwise").score > run(A, replace(settings, algorithm="random"), "random").score


def test_neither_interruptions_nor_workers_change_the_result(run: Runner, two_workers: Workers, tmp_path: Path) -> None:
    whole = run(RANKS, NANO, "whole")
    for done in range(4):
        with pytest.raises(InterruptedRunError, match="--resume"):
            run(RANKS, NANO, "parts", resume=done > 0, stop=lambda: True)
    assert timeless(run(RANKS, NANO, "parts", resume=True)) == timeless(whole)
    with FeatureStore(tmp_path / "other.sqlite") as store:
        both = search(parse_proxy(RANKS), NANO, run_dir=tmp_path / "two", store=store, workers=two_workers)
    assert timeless(both) == timeless(whole)
    texts = {(tmp_path / name / "scores.jsonl").read_text() for name in ("whole", "parts", "two")}
    assert len(texts) == 1
    assert timeless(run(RANKS, replace(NANO, seed=1), "another")) != timeless(whole)


def test_networks_without_a_score_become_no_parents(run: Runner) -> None:
    found = run(
        "square(" * 6 + "sum(l2(fc1.weight)) * width * width * depth" + ")" * 6, NANO
    )  # the 64th power overflows
    assert 0 < found.invalid < found.evaluations == 36


@pytest.mark.parametrize("proxy", ["params", "rank(flops) - depth", "nwot"])
def test_a_proxy_without_blocks_is_refused(proxy: str, run: Runner, tmp_path: Path) -> None:
    text = KNOWN_PROXIES[proxy].text if proxy in KNOWN_PROXIES else proxy
    with pytest.raises(
        InputError, match=r"has no number per block, by which block-wise search .*--algorithm evolution"
    ):
        run(text, NANO)
    assert not (tmp_path / "run").exists()


def test_uniform_positions_need_no_blocks(run: Runner) -> None:
    assert run("params", replace(NANO, positions="uniform")).evaluations == 36


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": "low"}, "no 'low' positions; choose one of blockwise, uniform"),
        ({"algorithm": "random", "positions": "uniform"}, "the algorithm is random; choose --algorithm blockwise"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(NANO, **change).check()  # type: ignore[arg-type]


def test_a_run_goes_on_with_its_own_positions(run: Runner) -> None:
    run(A, NANO)
    with pytest.raises(InputError, match='positions = "blockwise", now "uniform"'):
        run(A, replace(NANO, positions="uniform"), resume=True)
