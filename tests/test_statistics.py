"""The names of statistics: what exists, which shapes they share, what they need."""

from collections import Counter

import pytest

from primitives.statistics import ARCHITECTURE_NUMBERS, GROUPS, STATISTICS, SUBMODULES, Statistic

LINEAR = {"qkv", "proj", "fc1", "fc2"}
MODULES = {"attn", "mlp", "block", "gelu", "norm1", "norm2"}


BACKWARD = {"grad", "output_grad", "input_grad", "gate_grad", "head_grad", "hvp", "grads", "jacobian"}


def test_every_site_has_its_kinds_and_nothing_else():
    linear = LINEAR | set(GROUPS)
    forward = {f"{site}.{kind}" for site in linear | MODULES for kind in ("input", "output")}
    forward |= {f"{site}.response" for site in LINEAR | MODULES} | {"attn.map", "net.output", "attn_res.output"}
    backward = {f"{site}.{kind}" for site in linear for kind in ("grad", "hvp")} | {"attn.head_grad", "net.input_grad"}
    backward |= {f"{site}.{kind}" for site in linear | MODULES for kind in ("input_grad", "output_grad", "gate_grad")}
    weights = {f"{site}.weight" for site in linear}
    single = {f"{site}.grads" for site in linear}  # of single images
    jacobians = {"attn_res.jacobian", "mlp_res.jacobian", "block.jacobian"}
    expected = forward | backward | weights | single | jacobians
    expected |= {f"ones.{name}" for name in forward | backward | weights | jacobians}
    expected |= {f"signed.{name}" for name in forward | backward | jacobians}  # its weights are the weights
    expected |= {f"logits.{name}" for name in backward | single}  # what needs no loss is that of the data pass
    assert set(STATISTICS) == expected


def test_counts_by_kind_and_pass():
    kinds = Counter((s.pass_, s.kind) for s in STATISTICS.values())
    for pass_ in ("data", "ones"):
        counts = [kinds[pass_, k] for k in ("weight", "grad", "input", "output", "output_grad", "map")]
        assert counts == [7, 7, 13, 15, 13, 1]
    assert len(STATISTICS) == 374


def test_names_are_keys_and_name_one_thing():
    assert all(name == statistic.name for name, statistic in STATISTICS.items())
    assert len(set(STATISTICS.values())) == len(STATISTICS)
    assert not set(STATISTICS) & set(ARCHITECTURE_NUMBERS)


def test_groups_are_made_of_linear_sites_and_paths_cover_all_single_sites():
    assert GROUPS == {"msa": ("qkv", "proj"), "ffn": ("fc1", "fc2"), "linear": ("qkv", "proj", "fc1", "fc2")}
    assert set(SUBMODULES) == LINEAR | MODULES | {"attn_res", "mlp_res"}
    assert SUBMODULES["attn_res"] == SUBMODULES["mlp_res"] == SUBMODULES["norm2"]
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
        ("qkv.weight", "logits.qkv.hvp", True),
        ("fc1.output", "logits.fc1.output_grad", True),  # the same batch
        ("ones.fc1.output", "signed.fc1.output", True),
        ("fc1.input", "fc1.input_grad", True),
        ("qkv.grads", "qkv.grad", False),
        ("gelu.response", "gelu.output", False),
        ("gelu.gate_grad", "gelu.response", False),
        ("net.input_grad", "logits.net.input_grad", True),
    ],
)
def test_shape_classes(left, right, same):
    assert (STATISTICS[left].shape_class == STATISTICS[right].shape_class) is same


def test_what_has_to_be_run():
    for statistic in STATISTICS.values():
        assert statistic.needs_forward is (statistic.kind != "weight")
        assert statistic.needs_backward is (statistic.kind in BACKWARD)
        assert statistic.runs_batch is (statistic.pass_ in ("data", "logits"))
        assert statistic.of_network is (statistic.site == "net")


def test_meaning_names_members_of_groups():
    assert Statistic("data", "ffn", "grad").meaning.startswith("ffn (fc1, fc2): gradient of the loss")
    assert Statistic("logits", "net", "input_grad").meaning.startswith(
        "net (one tensor per network): gradient of the loss"
    )
    assert all(statistic.meaning for statistic in STATISTICS.values())
