"""The names of statistics: what exists, which shapes they share, what they need."""

from collections import Counter

import pytest

from primitives.statistics import ARCHITECTURE_NUMBERS, GROUPS, STATISTICS, SUBMODULES, Statistic

LINEAR = {"qkv", "proj", "fc1", "fc2"}
MODULES = {"attn", "mlp", "block", "gelu", "norm1", "norm2"}


def test_every_site_has_its_kinds_in_both_passes_and_nothing_else():
    expected = {f"{site}.{kind}" for site in LINEAR | set(GROUPS) for kind in ("weight", "grad")}
    expected |= {
        f"{site}.{kind}" for site in LINEAR | set(GROUPS) | MODULES for kind in ("input", "output", "output_grad")
    }
    expected.add("attn.map")
    assert set(STATISTICS) == expected | {f"ones.{name}" for name in expected}


def test_counts_by_kind_and_pass():
    kinds = Counter((s.pass_, s.kind) for s in STATISTICS.values())
    for pass_ in ("data", "ones"):
        assert [kinds[pass_, k] for k in ("weight", "grad", "input", "output", "output_grad", "map")] == [
            7,
            7,
            13,
            13,
            13,
            1,
        ]
    assert len(STATISTICS) == 108


def test_names_are_keys_and_name_one_thing():
    assert all(name == statistic.name for name, statistic in STATISTICS.items())
    assert len(set(STATISTICS.values())) == len(STATISTICS)
    assert not set(STATISTICS) & set(ARCHITECTURE_NUMBERS)


def test_groups_are_made_of_linear_sites_and_paths_cover_all_single_sites():
    assert GROUPS == {"msa": ("qkv", "proj"), "ffn": ("fc1", "fc2"), "linear": ("qkv", "proj", "fc1", "fc2")}
    assert set(SUBMODULES) == LINEAR | MODULES
    assert STATISTICS["ones.ffn.grad"].members == ("fc1", "fc2")
    assert STATISTICS["attn.map"].members == ("attn",)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("qkv.weight", "qkv.grad", True),
        ("qkv.weight", "ones.qkv.grad", True),
        ("linear.weight", "ones.linear.weight", True),
        ("fc1.output", "fc1.output_grad", True),
        ("fc1.output", "ones.fc1.output", False),  # another batch
        ("fc1.output", "fc1.input", False),
        ("qkv.weight", "proj.weight", False),
        ("msa.weight", "qkv.weight", False),
        ("attn.map", "attn.output", False),
        ("attn.map", "ones.attn.map", False),
    ],
)
def test_shape_classes(left, right, same):
    assert (STATISTICS[left].shape_class == STATISTICS[right].shape_class) is same


def test_what_has_to_be_run():
    for statistic in STATISTICS.values():
        assert statistic.needs_forward is (statistic.kind != "weight")
        assert statistic.needs_backward is (statistic.kind in ("grad", "output_grad"))


def test_meaning_names_members_of_groups():
    assert Statistic("data", "ffn", "grad").meaning.startswith("ffn (fc1, fc2): gradient of the loss")
    assert all(statistic.meaning for statistic in STATISTICS.values())
