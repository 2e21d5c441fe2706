"""Spaces without their networks: records, sampling, variation, counts."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprox.errors import InputError
from autoprox.spaces import SPACES, PiTSpace, S3Space, Space, get_space

SUB, PIT = SPACES["autoformer-sub"], SPACES["pit-tiny"]
FIRST_SUB: dict[str, Any] = {
    "embed_dim": 192,
    "depth": 12,
    "num_heads": [4, 4, 3, 4, 3, 3, 4, 4, 3, 3, 3, 4],
    "mlp_ratio": [3.5, 4.0, 3.5, 4.0, 3.5, 3.5, 4.0, 3.5, 4.0, 4.0, 4.0, 3.5],
}
FIRST_PIT = {"base_dim": 16, "mlp_ratio": 6, "num_heads": [2, 4, 4], "depth": [2, 8, 4]}
TF_TAS_PIT_T = {"base_dim": 40, "mlp_ratio": 2, "num_heads": [2, 4, 8], "depth": [2, 4, 4]}

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
seeds = st.integers(0, 2**32 - 1)


def test_importing_spaces_imports_no_torch() -> None:
    code = "import sys, autoprox.spaces; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@every_space
def test_a_space_is_found_by_its_name(space: Space) -> None:
    assert get_space(space.name) is space
    assert space.description
    assert all(space.choices().values())


def test_unknown_space_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no space 'autoformer-sup' \(did you mean 'autoformer-sub'\?\).*pit-tiny"):
        get_space("autoformer-sup")
    with pytest.raises(InputError, match="no space 'zzz': choose one of autoformer-base, autoformer-nano"):
        get_space("zzz")


# Records


@every_space
@given(seed=seeds)
def test_record_round_trip(space: Space, seed: int) -> None:
    architecture = space.sample(np.random.default_rng(seed))
    again = space.parse(space.to_json(architecture))
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert space.key(again) == space.key(architecture)


def test_key_is_canonical() -> None:
    assert PIT.key(PIT.parse(FIRST_PIT)) == '{"base_dim":16,"depth":[2,8,4],"mlp_ratio":6,"num_heads":[2,4,4]}'
    integers = {"mlp_ratio": [int(ratio) if ratio == 4 else ratio for ratio in FIRST_SUB["mlp_ratio"]]}
    assert SUB.key(SUB.parse(dict(reversed(FIRST_SUB.items())) | integers)) == SUB.key(SUB.parse(FIRST_SUB))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embed_dim": 200}, "autoformer-sub architecture: embed_dim must be one of 192, 216, 240, found 200"),
        ({"embed_dim": "192"}, "embed_dim must be one of 192, 216, 240, found '192'"),
        ({"depth": 11}, "depth must be one of 12, 13, 14, found 11"),
        ({"depth": True}, "depth must be one of 12, 13, 14, found True"),
        ({"depth": 13}, "num_heads must be a list of 13 values, found 12 values"),
        ({"num_heads": 3}, "num_heads must be a list of 12 values, found 3"),
        ({"num_heads": [3] * 11 + [5]}, r"num_heads\[11\] must be one of 3, 4, found 5"),
        ({"mlp_ratio": [None] * 12}, r"mlp_ratio\[0\] must be one of 3.5, 4.0, found None"),
        ({"hidden_dim": 192}, "expected the fields embed_dim, depth, num_heads, mlp_ratio, found unknown: hidden_dim"),
    ],
)
def test_wrong_autoformer_records(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SUB.parse(FIRST_SUB | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_dim": 48}, "pit-tiny architecture: base_dim must be one of 16, 24, 32, 40, found 48"),
        ({"mlp_ratio": 3}, "mlp_ratio must be one of 2, 4, 6, 8, found 3"),
        ({"num_heads": [2, 4]}, "num_heads must be a list of 3 values, found 2 values"),
        ({"num_heads": [4, 2, 8]}, "num_heads must not decrease from stage to stage, found 4, 2, 8"),
        ({"num_heads": [3, 6, 12]}, r"num_heads\[0\] must be one of 2, 4, 8, found 3"),
        ({"depth": [2, 8, 5]}, r"depth\[2\] must be one of 2, 4, 6, found 5"),
    ],
)
def test_wrong_pit_records(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PIT.parse(FIRST_PIT | change)


@every_space
def test_records_need_all_fields_and_must_be_objects(space: Space) -> None:
    with pytest.raises(InputError, match=r"expected the fields .* found missing: "):
        space.parse({})
    with pytest.raises(InputError, match=r"expected an object with .*, found \[1, 2\]"):
        space.parse([1, 2])  # type: ignore[arg-type]


# Choices


def test_sizes() -> None:
    assert PIT.size() == 1600
    assert SUB.size() == 63 * 4**12


def test_pit_samples_the_benchmarks_triples() -> None:
    assert isinstance(PIT, PiTSpace)
    assert len(PIT.head_triples) == len(PIT.depth_triples) == 10
    assert {sum(triple) for triple in PIT.depth_triples} == {12, 13, 14}
    rng = np.random.default_rng(0)
    drawn = {PIT.sample(rng) for _ in range(20_000)}
    fields = (PIT.base_dims, PIT.mlp_ratios, PIT.head_triples, PIT.depth_triples)
    assert {(a.base_dim, a.mlp_ratio, a.num_heads, a.depth) for a in drawn} == set(product(*fields))


def test_autoformer_samples_every_choice_about_equally() -> None:
    rng = np.random.default_rng(0)
    drawn = [SUB.sample(rng) for _ in range(1500)]
    for counted, kinds in (
        (Counter(a.embed_dim for a in drawn), 3),
        (Counter(a.depth for a in drawn), 3),
        (Counter(h for a in drawn for h in a.num_heads), 2),
        (Counter(r for a in drawn for r in a.mlp_ratio), 2),
    ):
        assert len(counted) == kinds
        assert min(counted.values()) > 0.85 * counted.total() / kinds


@every_space
def test_sampling_is_reproducible(space: Space) -> None:
    assert space.sample(np.random.default_rng(5)) == space.sample(np.random.default_rng(5))


@every_space
@given(seed=seeds)
def test_mutants_are_valid_and_different(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = space.sample(rng)
    mutant = space.mutate(parent, rng)
    assert mutant != parent
    assert space.parse(space.to_json(mutant)) == mutant


@every_space
def test_mutation_reaches_every_field(space: Space) -> None:
    rng = np.random.default_rng(1)
    parent = space.sample(rng)
    before = space.to_json(parent)
    changed = {
        field
        for _ in range(200)
        for field, value in space.to_json(space.mutate(parent, rng)).items()
        if value != before[field]
    }
    assert changed == set(before)


@given(seed=seeds)
def test_pit_mutants_stay_in_the_sampled_space(seed: int) -> None:
    assert isinstance(PIT, PiTSpace)
    rng = np.random.default_rng(seed)
    mutant = PIT.mutate(PIT.sample(rng), rng)
    assert mutant.depth in PIT.depth_triples
    assert mutant.num_heads in PIT.head_triples


@given(seed=seeds)
def test_a_changed_depth_keeps_the_common_blocks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = SUB.sample(rng)
    mutant = SUB.mutate(parent, rng)
    if mutant.depth != parent.depth:
        common = min(mutant.depth, parent.depth)
        assert mutant.num_heads[:common] == parent.num_heads[:common]
        assert mutant.mlp_ratio[:common] == parent.mlp_ratio[:common]
        assert mutant.embed_dim == parent.embed_dim


@every_space
@given(seed=seeds)
def test_children_are_valid(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    child = space.crossover(space.sample(rng), space.sample(rng), rng)
    assert space.parse(space.to_json(child)) == child


@given(seed=seeds)
def test_children_take_every_choice_from_a_parent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = PIT.sample(rng), PIT.sample(rng)
    child = PIT.crossover(a, b, rng)
    assert all(value in (PIT.to_json(a)[field], PIT.to_json(b)[field]) for field, value in PIT.to_json(child).items())

    a, b = SUB.sample(rng), SUB.sample(rng)
    child = SUB.crossover(a, b, rng)
    assert child.embed_dim in (a.embed_dim, b.embed_dim)
    assert child.depth in (a.depth, b.depth)
    for field in ("num_heads", "mlp_ratio"):
        for block, value in enumerate(getattr(child, field)):
            assert value in [getattr(p, field)[block] for p in (a, b) if p.depth > block]


@every_space
def test_children_of_one_parent_are_that_parent(space: Space) -> None:
    rng = np.random.default_rng(2)
    parent = space.sample(rng)
    assert space.crossover(parent, parent, rng) == parent


# Counts (the networks themselves are the oracle, in test_networks.py)


def test_published_parameter_counts() -> None:
    assert SUB.params(SUB.parse(FIRST_SUB)) == 5_321_956
    assert PIT.params(PIT.parse(FIRST_PIT)) == 893_828


def test_the_pit_that_tf_tas_found_parses_although_it_is_never_sampled() -> None:
    architecture = PIT.parse(TF_TAS_PIT_T)
    assert isinstance(PIT, PiTSpace)
    assert architecture.depth not in PIT.depth_triples
    assert round(PIT.params(architecture, classes=1000) / 1e6, 2) == 4.73


def test_depth_and_width() -> None:
    sub, pit = SUB.parse(FIRST_SUB), PIT.parse(FIRST_PIT)
    assert (SUB.depth(sub), SUB.width(sub)) == (12, 192.0)
    assert (PIT.depth(pit), PIT.width(pit)) == (14, (2 * 32 + 8 * 64 + 4 * 64) / 14)


@every_space
@given(seed=seeds)
def test_the_largest_architecture_bounds_all_others(space: Space, seed: int) -> None:
    architecture, largest = space.sample(np.random.default_rng(seed)), space.largest()
    assert space.parse(space.to_json(largest)) == largest
    for count in (space.params, space.depth, space.width):
        if not (isinstance(space, S3Space) and count == space.width):  # its mean is larger with few early blocks
            assert count(architecture) <= count(largest)
    assert space.flops(architecture) <= max(map(space.flops, space.covering()))


def test_the_smallest_architecture_bounds_all_others() -> None:
    assert isinstance(PIT, PiTSpace)
    fields = (PIT.base_dims, PIT.mlp_ratios, PIT.head_triples, PIT.depth_triples)
    every_pit = [type(PIT.largest())(*values) for values in product(*fields)]
    rng = np.random.default_rng(3)
    for space, others in ((PIT, every_pit), (SUB, [SUB.sample(rng) for _ in range(500)])):
        for name in ("params", "flops"):
            count, smallest = getattr(space, name), space.smallest(name)
            assert space.parse(space.to_json(smallest)) == smallest
            assert count(smallest) <= min(map(count, others))
            assert space is SUB or count(smallest) == min(map(count, others))
