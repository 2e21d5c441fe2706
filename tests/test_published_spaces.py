"""The spaces of AutoFormer, PiT and S3 against what was published of them: choices, found architectures, their sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprox.errors import InputError
from autoprox.spaces import SPACES, AutoFormerSpace, S3Space

TINY, SMALL, BASE = (SPACES[f"autoformer-{size}"] for size in ("tiny", "small", "base"))
S3_TINY = SPACES["s3-tiny"]
S3_DEPTH = (2, 2, 6, 2)


def former(embed_dim: int, heads: str, ratios: str) -> dict[str, Any]:
    """A record from one letter a block: heads in hexadecimal; ratios a = 3, b = 3.5, c = 4."""
    return {
        "embed_dim": embed_dim,
        "depth": len(heads),
        "num_heads": [int(head, 16) for head in heads],
        "mlp_ratio": [{"a": 3.0, "b": 3.5, "c": 4.0}[ratio] for ratio in ratios],
    }


def pit(base_dim: int, mlp_ratio: int, heads: list[int], depth: list[int]) -> dict[str, Any]:
    return {"base_dim": base_dim, "mlp_ratio": mlp_ratio, "num_heads": heads, "depth": depth}


def s3(**change: list[Any]) -> dict[str, Any]:
    """S3-T, the released configuration without the entries that it does not use."""
    per_stage = {"num_heads": (3, 6, 12, 24), "mlp_ratio": (4.0,) * 4, "window_size": (7, 7, 14, 7)}
    lists = {
        name: [[value] * count for value, count in zip(values, S3_DEPTH, strict=True)]
        for name, values in per_stage.items()
    }
    return {"embed_dim": [96, 192, 384, 768], "depth": list(S3_DEPTH), **lists, **change}


FOUND = {
    # name: space, architecture, millions of parameters with 1000 classes, billions of multiply-accumulates (None: unknown)
    "AutoFormer-T": ("autoformer-tiny", former(192, "3333333333433", "bbabaaccbcbcb"), 5.868, None),
    "AutoFormer-S": ("autoformer-small", former(384, "6657555667767", "ababccccccc" + "bc"), 22.891, None),
    "AutoFormer-B": ("autoformer-base", former(576, "99999a99a9a99a", "bbcbcbbaccacab"), 53.692, None),
    "TF-TAS-T": ("autoformer-tiny", former(192, "4333344333433", "bcbbcbbbccccb"), 6.201, 1.425),
    "TF-TAS-S": ("autoformer-small", former(384, "66667657555767", "cccacaabcbbcab"), 23.935, 5.128),
    "TF-TAS-B": ("autoformer-base", former(576, "9aaaaaa99a99999", "abccacaabaabcac"), 56.471, 11.846),
    "TF-TAS-PiT-T": ("pit-tiny", pit(40, 2, [2, 4, 8], [2, 4, 4]), 4.73, None),
    "TF-TAS-PiT-XS": ("pit-xs", pit(56, 2, [2, 8, 8], [1, 4, 2]), 10.64, None),
    "TF-TAS-PiT-S": ("pit-small", pit(36, 6, [3, 12, 12], [1, 4, 4]), 24.97, None),
    "PiT-XS": ("pit-xs", pit(48, 4, [2, 4, 8], [2, 6, 4]), 10.6, None),
    "PiT-S": ("pit-small", pit(48, 4, [3, 6, 12], [2, 6, 4]), 23.5, None),
    "S3-T": ("s3-tiny", s3(), 28, None),
}


@pytest.mark.parametrize(("space", "record", "millions", "billions"), FOUND.values(), ids=FOUND)
def test_published_architectures_have_their_published_size(
    space: str, record: dict[str, Any], millions: float, billions: float | None
) -> None:
    architecture = SPACES[space].parse(record)
    digits = len(str(millions).partition(".")[2])
    assert round(SPACES[space].params(architecture, 1000) / 1e6, digits) == millions
    if billions is not None:  # the released code estimates the products with relative positions
        assert SPACES[space].flops(architecture, 1000) / 1e9 == pytest.approx(billions, rel=0.005)


@pytest.mark.parametrize("name", ["autoformer-tiny", "autoformer-small", "autoformer-base", "pit-xs", "s3-tiny"])
def test_published_spaces_classify_imagenet_unless_told_otherwise(name: str) -> None:
    space = SPACES[name]
    assert space.params(space.smallest()) == space.params(space.smallest(), 1000)


def test_sizes() -> None:
    assert (TINY.size(), SMALL.size(), BASE.size()) == (
        3 * sum(4**depth for depth in (12, 13, 14)),
        3 * sum(9**depth for depth in (12, 13, 14)),
        3 * sum(6**depth for depth in (14, 15, 16)),
    )
    assert SPACES["pit-xs"].size() == SPACES["pit-small"].size() == 4 * 4 * 10 * 27
    early, third, last = (
        3 * sum((9 * windows) ** depth for depth in depths)
        for windows, depths in ((2, (1, 2, 3)), (2, (4, 6, 8)), (1, (1, 2, 3)))
    )
    assert S3_TINY.size() == early**2 * third * last


def test_values_beside_the_choices_are_read_but_never_drawn() -> None:
    assert isinstance(TINY, AutoFormerSpace)
    assert TINY.choices()["mlp_ratio"] == "3.5, 4.0 per block (3.0 is read too, but not drawn)"
    published = TINY.parse(FOUND["AutoFormer-T"][1])
    rng = np.random.default_rng(0)
    for _ in range(300):
        assert min(TINY.sample(rng).mlp_ratio) > 3
        mutant = TINY.mutate(published, rng)
        assert mutant.mlp_ratio.count(3.0) <= published.mlp_ratio.count(3.0)
    assert BASE.parse(former(576, "8" * 14, "c" * 14)).num_heads == (8,) * 14
    with pytest.raises(InputError, match=r"mlp_ratio\[0\] must be one of 3.0, 3.5, 4.0, found 2.5"):
        TINY.parse({**FOUND["AutoFormer-T"][1], "mlp_ratio": [2.5] * 13})


def test_heads_of_autoformer_count() -> None:
    """Head dimension 64: another head widens queries, keys, values and the projection by 64."""
    few, many = (TINY.parse(former(192, "3" * 11 + last, "c" * 12)) for last in "34")
    assert TINY.params(many) - TINY.params(few) == 64 * (3 * 193 + 192)
    assert TINY.flops(many) > TINY.flops(few)


# S3: stages within stages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embed_dim": [96, 192, 384]}, "embed_dim must be a list of 4 values, found 3 values"),
        ({"embed_dim": [96, 192, 384, 700]}, r"embed_dim\[3\] must be one of 640, 768, 896, found 700"),
        ({"depth": [2, 2, 5, 2]}, r"depth\[2\] must be one of 4, 6, 8, found 5"),
        ({"depth": [2, 2, 8, 2]}, r"num_heads\[2\] must be a list of 8 values, found 6 values"),
        ({"num_heads": [[3, 3], [6, 6]]}, "num_heads must be a list of 4 values, found 2 values"),
        ({"mlp_ratio": [4, 4, 4, 4]}, r"mlp_ratio\[0\] must be a list of 2 values, found 4"),
        ({"window_size": [[7, 7], [7, 7], [14] * 6, [14, 7]]}, r"window_size\[3\]\[0\] must be one of 7, found 14"),
    ],
)
def test_wrong_s3_records(change: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(InputError, match=f"s3-tiny architecture: {message}"):
        S3_TINY.parse(s3(**change))


@given(seed=st.integers(0, 2**32 - 1))
def test_s3_children_take_every_choice_from_a_parent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = S3_TINY.sample(rng), S3_TINY.sample(rng)
    child = S3_TINY.crossover(a, b, rng)
    for stage, parents in zip(child.stages, zip(a.stages, b.stages, strict=True), strict=True):
        assert stage.embed_dim in [parent.embed_dim for parent in parents]
        assert len(stage.blocks) in [len(parent.blocks) for parent in parents]
        for i, block in enumerate(stage.blocks):
            owners = [parent.blocks[i] for parent in parents if len(parent.blocks) > i]
            for field in ("num_heads", "mlp_ratio", "window_size"):
                assert getattr(block, field) in [getattr(owner, field) for owner in owners]


@given(seed=st.integers(0, 2**32 - 1))
def test_an_s3_mutant_differs_in_one_stage(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = S3_TINY.sample(rng)
    mutant = S3_TINY.mutate(parent, rng)
    changed = [(old, new) for old, new in zip(parent.stages, mutant.stages, strict=True) if old != new]
    assert len(changed) == 1
    (old, new) = changed[0]
    common = min(len(old.blocks), len(new.blocks))
    assert sum(x != y for x, y in zip(old.blocks[:common], new.blocks[:common], strict=True)) <= 1
    assert (old.embed_dim != new.embed_dim) + (len(old.blocks) != len(new.blocks)) + (
        old.blocks[:common] != new.blocks[:common]
    ) == 1


def test_s3_counts_the_window_that_the_map_allows() -> None:
    assert isinstance(S3_TINY, S3Space)
    small, large = (S3_TINY.parse(s3(window_size=[[7, 7], [7, 7], [w] * 6, [7, 7]])) for w in (7, 14))
    assert S3_TINY.params(large) - S3_TINY.params(small) == 6 * 12 * (27**2 - 13**2)
    assert S3_TINY.flops(large) - S3_TINY.flops(small) == 6 * 2 * 196 * (196 - 49) * 384
    assert S3_TINY.width(small) == (2 * 96 + 2 * 192 + 6 * 384 + 2 * 768) / 12
