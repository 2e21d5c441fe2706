"""Comparison of proxies on ground truth, against scipy and the closed forms of the spaces."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from autoprox.errors import InputError
from autoprox.measuring.capture import CaptureSettings, architecture_digest
from autoprox.measuring.workers import Notice, Workers
from autoprox.proxies.known import BASELINES
from autoprox.proxies.proxy import Proxy, resolve_proxy
from autoprox.ranking.comparison import compare, part_of
from autoprox.ranking.problem import Group, gather, numbers_of
from autoprox.spaces import get_space
from benchdata import Benchmark, Row, load_benchmark

SETTINGS = CaptureSettings(batch_size=1)
KEYS = {
    "proxy", "space", "dataset", "label", "n", "kendall", "kendall_ci", "spearman", "pearson", "partial_kendall",
    "partial_kendall_ci",
    "kendall_params",
}  # fmt: skip
REAL = next(
    (
        folder
        for entry in os.environ.get("AUTOPROX_BENCHMARKS", "").split(os.pathsep)
        for folder in (Path(entry), Path(entry) / "vit-bench-101")
        if entry and (folder / "gt_pit.pth").is_file()
    ),
    None,
)


def group(count: int = 12, missing: int = 0, space: str = "pit-tiny") -> Group:
    """Random architectures with labels that follow their size and their depth, with noise."""
    rng = np.random.default_rng(3)
    family = get_space(space)
    keys = list(dict.fromkeys(family.key(family.sample(rng)) for _ in range(4 * count)))[:count]
    networks = tuple((space, key) for key in keys)
    numbers = numbers_of(networks)
    sizes = np.array(numbers["params"]) / 1e6
    labels = {"small": 40 + sizes + rng.normal(size=count), "deep": np.array(numbers["depth"]) + rng.normal(size=count)}
    labels["small"][:missing] = np.nan
    return Group(space, networks, labels, {"small": "kd", "deep": "base"}, numbers)


def table(groups: list[Group], proxies: list[str], memo: Path, **options: Any) -> list[dict[str, Any]]:
    with Workers(1) as workers:
        asked = [resolve_proxy(text) for text in proxies]
        return compare(groups, asked, SETTINGS, memo, workers, resamples=50, **options).rows


def test_rows_have_the_keys_of_the_contract_and_baselines_come_once(tmp_path: Path) -> None:
    rows = table([group()], ["flops", "width", "flops"], tmp_path / "memo")
    assert all(set(row) == KEYS for row in rows)
    assert list(dict.fromkeys(row["proxy"] for row in rows)) == ["flops", "width", "params", "depth"]
    assert [row["dataset"] for row in rows[:2]] == ["small", "deep"]
    assert [row["label"] for row in rows[:2]] == ["kd", "base"]
    assert set(BASELINES) <= {row["proxy"] for row in rows}


def test_values_are_those_of_scipy(tmp_path: Path) -> None:
    ground = group(30)
    rows = {(row["proxy"], row["dataset"]): row for row in table([ground], [], tmp_path / "memo")}
    for (proxy, dataset), row in rows.items():
        scores = ground.numbers[proxy]
        assert row["kendall"] == pytest.approx(kendalltau(scores, ground.labels[dataset]).statistic)
        assert row["kendall_params"] == pytest.approx(kendalltau(scores, ground.numbers["params"]).statistic)
        low, high = row["kendall_ci"]
        assert low <= row["kendall"] <= high


def test_a_proxy_without_networks_opens_no_memo(tmp_path: Path) -> None:
    table([group()], ["params / depth"], tmp_path / "memo")
    assert not (tmp_path / "memo").exists()


def test_weights_are_captured_once_and_remembered(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    ground = group(4)
    text = "sum(l2(qkv.weight))"
    first = table([ground], [text], tmp_path / "memo", progress=lambda *step: told.append(step))
    assert told[-1] == ("capture pit-tiny", 4, 4)
    told.clear()
    assert table([ground], [text], tmp_path / "memo", progress=lambda *step: told.append(step)) == first
    assert told == []


def test_a_missing_label_counts_for_its_data_set_alone(tmp_path: Path) -> None:
    rows = table([group(12, missing=3)], ["params"], tmp_path / "memo")
    assert [row["n"] for row in rows[:2]] == [9, 12]


def test_test_split_is_the_test_part(tmp_path: Path) -> None:
    ground = group(20)
    rows = table([ground], ["params"], tmp_path / "memo", split="test")
    test = ground.part("test")
    assert rows[0]["n"] == len(test.networks) == 8
    assert rows[0]["kendall"] == pytest.approx(kendalltau(test.numbers["params"], test.labels["small"]).statistic)


def test_what_a_proxy_was_found_on_is_no_test_for_any(tmp_path: Path) -> None:
    """As where a table has grown, so that another part of it is test now."""
    grown = group(20)
    seen = [*grown.part("discovery").networks, *grown.part("test").networks[:3]]
    found = Proxy(
        resolve_proxy("width").expression, "best.json", {}, {"seen": {"pit-tiny": [*map(architecture_digest, seen)]}}
    )
    expected = "3 of the 8 test architectures of pit-tiny are left out, since best.json was found on them"
    with Workers(1) as workers, pytest.warns(Notice, match=expected):
        rows = compare([grown], [found], SETTINGS, tmp_path / "memo", workers, split="test", resamples=20).rows
    assert {row["n"] for row in rows} == {5}
    with Workers(1) as workers:
        rows = compare([grown], [found], SETTINGS, tmp_path / "memo", workers, resamples=20).rows
    assert rows[0]["n"] == 20
    with pytest.warns(Notice, match=expected):
        assert len(part_of(grown, "test", [found]).networks) == 5


@pytest.mark.parametrize("seen", [None, 3, {"pit-tiny": 3}, {"pit-tiny": [3, None]}])
def test_a_record_of_what_was_seen_that_is_damaged_is_none(seen: object) -> None:
    assert Proxy(resolve_proxy("width").expression, provenance={"seen": seen}).seen("pit-tiny") == frozenset()


def test_proxies_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = (resolve_proxy(text).expression for text in ("params / depth", "flops / depth"))
    given = [
        Proxy(one, "best.json"),
        Proxy(two, "best.json"),
        Proxy(two, "best.json"),
        Proxy(one),
        Proxy(two, "params"),
    ]
    with Workers(1) as workers:
        rows = compare([group()], given, SETTINGS, tmp_path / "memo", workers, resamples=20).rows
    assert list(dict.fromkeys(row["proxy"] for row in rows)) == [
        "best.json", "best.json: flops / depth", "params / depth", "params", "params: params", "flops", "depth"
    ]  # fmt: skip


def test_an_unusable_score_is_a_row_with_its_reason(tmp_path: Path) -> None:
    rows = table([group()], ["params - params"], tmp_path / "memo")
    assert rows[0]["kendall"] is None
    assert rows[0]["kendall_ci"] is None
    assert "constant" in rows[0]["invalid"]
    assert set(rows[0]) == KEYS | {"invalid"}
    assert rows[-1]["kendall"] is not None


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split is 'validation'; expected one of all, test"):
        table([group()], ["params"], tmp_path / "memo", split="validation")
    with pytest.raises(InputError, match=r"2 architectures of pit-tiny \(test\) have a label on small; at least 3"):
        table([group(4)], ["params"], tmp_path / "memo", split="test")


def test_with_a_data_root_each_data_set_has_its_own_batch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    record = rng.integers(0, 100, (12, 3074)).astype(np.uint8)
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(record.tobytes())
    ground = group(3)
    ground.labels["cifar100"] = ground.labels.pop("small")
    ground.labels.pop("deep")
    ground.label_kinds["cifar100"] = "kd"
    text = [resolve_proxy("sum(mean(abs(fc1.output)))")]
    with Workers(1) as workers:
        noise = compare([ground], text, SETTINGS, tmp_path / "memo", workers, resamples=20).rows
        images = CaptureSettings(batch_size=1, data_root=str(tmp_path))
        told: list[str] = []
        rows = compare(
            [ground],
            text,
            images,
            tmp_path / "memo",
            workers,
            resamples=20,
            progress=lambda stage, *_: told.append(stage),
        ).rows
    assert told  # other images, so the memo of the noise does not serve
    assert {row["dataset"] for row in rows} == {"cifar100"}
    assert rows[0]["n"] == noise[0]["n"] == 3


@pytest.mark.skipif(REAL is None, reason="AUTOPROX_BENCHMARKS names no folder with ViT-Bench-101's files")
def test_parameter_count_on_the_public_benchmark(tmp_path: Path) -> None:
    assert REAL is not None
    rows = table(gather([load_benchmark(REAL)]), ["params"], tmp_path / "memo")
    found = {(row["space"], row["dataset"]): row["kendall"] for row in rows if row["proxy"] == "params"}
    expected = {
        ("pit-tiny", "cifar100"): 0.817,
        ("pit-tiny", "flowers"): 0.865,
        ("pit-tiny", "chaoyang"): 0.564,
        ("autoformer-sub", "cifar100"): 0.548,
        ("autoformer-sub", "flowers"): 0.700,
        ("autoformer-sub", "chaoyang"): 0.315,
    }
    assert found == {pair: pytest.approx(value, abs=1e-3) for pair, value in expected.items()}


def test_tables_and_groups_agree(tmp_path: Path) -> None:
    ground = group(5)
    rows = tuple(
        Row(space, get_space(space).to_json(get_space(space).parse(json.loads(key))), {("own", "kd"): 50.0 + i}, "run")
        for i, (space, key) in enumerate(ground.networks)
    )
    bench = Benchmark("own", "Own", "tests", "none", "kd", ("own",), (), rows)
    found = table(gather([bench]), ["depth"], tmp_path / "memo")
    assert found[0]["kendall"] == pytest.approx(kendalltau(ground.numbers["depth"], range(5)).statistic)
