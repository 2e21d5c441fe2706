"""Groups and their split: fixed by the architectures alone; tables that do not fit together are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprox.errors import InputError
from autoprox.ranking.problem import Group, gather, numbers_of, split_hash, split_of
from autoprox.spaces import get_space
from benchdata import Benchmark, Row

PIT, FORMER = get_space("pit-tiny"), get_space("autoformer-sub")


def architectures(space, count, seed=0):
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        architecture = space.sample(rng)
        found[space.key(architecture)] = space.to_json(architecture)
    return list(found.values())


def table(rows, name="mine", default_label="kd", default_datasets=("cifar100",)):
    return Benchmark(name, "Mine", "here", "CC0", default_label, default_datasets, (), tuple(rows))


def make_rows(space, count, seed=0, **labels):
    """Rows with the given labels: data set_kind=first accuracy; every third lacks the second label."""
    pairs = [(tuple(name.split("_")), start) for name, start in labels.items()]
    return [
        Row(
            space.name,
            record,
            {pair: start + i / 10 for j, (pair, start) in enumerate(pairs) if j != 1 or i % 3},
            "test",
        )
        for i, record in enumerate(architectures(space, count, seed))
    ]


networks = st.sets(st.integers(0, 10**6), min_size=1, max_size=120).map(
    lambda s: [("space", f"a{i}") for i in sorted(s)]
)


@given(networks, st.randoms(use_true_random=False))
def test_split_depends_on_the_architectures_alone(nets, rng):
    parts, shuffled = split_of(nets), list(nets)
    rng.shuffle(shuffled)
    assert split_of(shuffled) == parts
    counts = {name: list(parts.values()).count(name) for name in ("discovery", "selection", "test")}
    assert sum(counts.values()) == len(nets)
    assert abs(counts["test"] - 0.4 * len(nets)) <= 0.5
    assert abs(counts["selection"] - 0.18 * len(nets)) <= 0.5


def test_split_of_one_hundred():
    parts = list(split_of([("space", str(i)) for i in range(100)]).values())
    assert [parts.count(name) for name in ("test", "selection", "discovery")] == [40, 18, 42]


def test_split_is_the_same_in_every_version():
    """The test architectures of a published run must stay test architectures."""
    nets = [("pit-tiny", str(i)) for i in range(10)]
    assert "".join(split_of(nets)[network][0] for network in nets) == "dsttdttdds"


def test_parts_are_disjoint_and_keep_the_order_of_the_table():
    (group,) = gather([table(make_rows(PIT, 100, cifar100_kd=50))])
    parts = [group.part(name).networks for name in ("discovery", "selection", "test")]
    assert [len(part) for part in parts] == [42, 18, 40]
    assert set().union(*parts) == set(group.networks)
    assert group.part("discovery", "selection").networks == tuple(n for n in group.networks if n not in parts[2])
    test = group.part("test")
    for i, network in enumerate(test.networks):
        row = group.networks.index(network)
        assert test.labels["cifar100"][i] == group.labels["cifar100"][row]
        assert all(test.numbers[name][i] == group.numbers[name][row] for name in group.numbers)


def test_split_hash_tells_splits_apart_and_not_orders():
    rows = make_rows(PIT, 30, cifar100_kd=50)
    forth, back, fewer = (split_hash(gather([table(r)])) for r in (rows, rows[::-1], rows[1:]))
    assert forth == back != fewer
    other = [Row(r.space, r.architecture, {("cifar100", "kd"): 1.0 + i}, r.origin) for i, r in enumerate(rows)]
    assert split_hash(gather([table(other)])) == forth


def test_numbers_are_those_of_the_space():
    (group,) = gather([table(make_rows(PIT, 5, cifar100_kd=50))])
    for i, (name, key) in enumerate(group.networks):
        architecture = get_space(name).parse(json.loads(key))
        assert group.numbers["params"][i] == sum(p.numel() for p in PIT.skeleton(architecture, 100).parameters())
        assert group.numbers["depth"][i] == PIT.depth(architecture)
        assert group.numbers["width"][i] == pytest.approx(PIT.width(architecture))
        assert group.numbers["flops"][i] == PIT.flops(architecture, 100)
    assert group.population().size == 5
    assert numbers_of(group.networks) == group.numbers


def test_missing_labels_are_nan_and_rows_stay():
    rows = make_rows(PIT, 12, cifar100_kd=50, flowers_kd=30, chaoyang_base=40)
    (group,) = gather([table(rows, default_datasets=("cifar100", "flowers"))])
    assert list(group.labels) == ["cifar100", "flowers"]
    assert group.labels["cifar100"].tolist() == pytest.approx([50 + i / 10 for i in range(12)])
    assert np.isnan(group.labels["flowers"]).tolist() == [i % 3 == 0 for i in range(12)]
    assert len(group.networks) == 12


def test_labels_are_chosen_by_name_else_by_default_else_the_only_one():
    rows = make_rows(PIT, 9, cifar100_kd=50, cifar100_base=30, chaoyang_base=40)
    t = table(rows)
    assert gather([t])[0].label_kinds == {"cifar100": "kd"}
    (base,) = gather([t], label="base")
    assert base.label_kinds == {"cifar100": "base"}
    assert base.labels["cifar100"][1] == pytest.approx(30.1)
    (only,) = gather([t], datasets=["chaoyang", "cifar100"])
    assert only.label_kinds == {"chaoyang": "base", "cifar100": "kd"}
    assert list(only.labels) == ["chaoyang", "cifar100"]


def test_tables_of_different_spaces_give_a_group_each_with_their_own_labels():
    one = table(make_rows(PIT, 6, cifar100_kd=50))
    two = table(make_rows(FORMER, 7, cifar100_base=40, flowers_base=1), "other", "base", ("cifar100", "flowers"))
    former, pit = gather([one, two])
    assert (former.space, len(former.networks)) == ("autoformer-sub", 7)
    assert (pit.space, len(pit.networks)) == ("pit-tiny", 6)
    assert pit.label_kinds == {"cifar100": "kd"}
    assert former.label_kinds == {"cifar100": "base", "flowers": "base"}
    assert [g.space for g in gather([one, two], ["pit-tiny"])] == ["pit-tiny"]


def test_tables_of_one_space_are_joined():
    rows = make_rows(PIT, 10, cifar100_kd=50)
    (group,) = gather([table(rows[:4]), table(rows[4:], "other")])
    assert len(group.networks) == 10
    assert group.labels["cifar100"].tolist() == pytest.approx([50 + i / 10 for i in range(10)])


def test_labels_of_several_kinds_are_not_joined_and_each_table_counts_for_what_it_has():
    rows = make_rows(PIT, 10, cifar100_kd=50)
    others = [replace(row, accuracy={("cifar100", "base"): 40.0 + i}) for i, row in enumerate(rows[5:])]
    with pytest.raises(InputError, match="pit-tiny on cifar100 are of several kinds in the given tables, base and kd"):
        gather([table(rows[:5]), table(others, "other", "base")])
    elsewhere = [replace(row, accuracy={("flowers", "base"): 40.0 + i}) for i, row in enumerate(rows[5:])]
    (group,) = gather([table(rows[:5]), table(elsewhere, "other", "base", ("flowers",))])
    assert group.label_kinds == {"cifar100": "kd", "flowers": "base"}


def test_an_architecture_in_two_tables_is_refused():
    rows = make_rows(PIT, 10, cifar100_kd=50)
    with pytest.raises(InputError, match=r"architecture \{.*\} of pit-tiny is in the given tables twice"):
        gather([table(rows[:6]), table(rows[5:], "other")])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"spaces": ["pit-tiny", "pit-huge"]}, "there is no space 'pit-huge' in the ground truth; it has pit-tiny"),
        ({"datasets": ["cifar10"]}, "there is no data set 'cifar10' in the ground truth; it has cifar100, flowers"),
        ({"label": "best"}, "no architecture of pit-tiny has a label 'best'"),
        ({"datasets": ["cifar100"], "label": "best"}, "on cifar100 0 of 10 pit-tiny architectures have a label 'best'"),
        ({"least": 11}, "on cifar100 10 of 10 pit-tiny architectures have a label 'kd'; at least 11 are needed"),
    ],
)
def test_requests_that_the_tables_cannot_meet(request_, message):
    with pytest.raises(InputError, match=message):
        gather([table(make_rows(PIT, 10, cifar100_kd=50, flowers_kd=3))], **request_)


def test_architectures_that_the_space_does_not_have_are_refused():
    row = Row("pit-tiny", {"base_dim": 17}, {("cifar100", "kd"): 1.0}, "test")
    with pytest.raises(InputError, match="pit-tiny architecture: expected the fields"):
        gather([table([row])])
    with pytest.raises(InputError, match=r"there is no space 'pit-tin'.*did you mean 'pit-tiny'"):
        gather([table([Row("pit-tin", {"base_dim": 16}, {("cifar100", "kd"): 1.0}, "test")])])


def test_shuffling_deals_labels_out_anew_and_keeps_them_together():
    rows = make_rows(PIT, 20, cifar100_kd=50, flowers_kd=30)
    (group,) = gather([table(rows, default_datasets=("cifar100", "flowers"))])
    one, two = (group.shuffled(np.random.default_rng(s)) for s in (0, 1))
    assert isinstance(one, Group)
    assert one.networks == group.networks
    assert one.numbers == group.numbers

    def pairs(g):
        return [(float(a), float(b)) for a, b in zip(*map(np.nan_to_num, g.labels.values()), strict=True)]

    assert sorted(pairs(one)) == sorted(pairs(group))
    assert pairs(one) != pairs(group)
    assert pairs(one) != pairs(two)
    assert pairs(one) == pairs(group.shuffled(np.random.default_rng(0)))
