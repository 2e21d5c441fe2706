"""Importing OoD-ViT-NAS, whose files only the user can supply: the tests write them in the published format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchdata import TableError, add_benchmark, find_benchmarks, load_benchmark

NAME = "ood-vit-nas"
TINY = "1k_Vit_Architecture_from_AutoFM_tiny.json"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)


def record(index: int = 0, width: int = 192, **changes: Any) -> dict[str, Any]:
    setting = {"layer_num": 2, "mlp_ratio": [4, 3.5], "num_heads": [3, 3 + index], "embed_dim": [width, width]}
    performance = {"Imagenet": {"clean": 75.0 + index, "corruption": {"Gaussian Noise": {"1": 65.7}}}}
    return {"net_setting": setting, "performance": performance, "params": 6.8, "flops": 1573.1, **changes}


def setting(**changes: Any) -> dict[str, Any]:
    return record(net_setting={**record()["net_setting"], **changes})


def save(path: Path, records: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records))
    return path


def test_files_of_the_three_spaces_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x" / TINY, {"0": record(0), "1": record(1)})
    save(tmp_path / "x" / "small.json", {"a": record(width=320)})
    save(tmp_path / "x" / "OoD-BASE.json", {"b": record(width=528)})
    save(tmp_path / "x" / "notes.json", {})
    read = load_benchmark(add_benchmark(NAME, tmp_path / "x"))
    assert sorted(read.spaces) == ["autoformer-base", "autoformer-small", "autoformer-tiny"]
    assert read.select("autoformer-tiny")[0].architecture == {
        "embed_dim": 192,
        "depth": 2,
        "num_heads": [3, 3],
        "mlp_ratio": [4.0, 3.5],
    }
    assert (read.default_label, read.default_datasets) == ("clean", ("imagenet",))
    np.testing.assert_array_equal(read.accuracies("autoformer-tiny", "imagenet", "clean"), [75, 76])
    assert read.labels("autoformer-tiny", "imagenet") == ("clean", "corruption-gaussian-noise-1")
    assert read.select("autoformer-tiny")[1].origin == f"{TINY} 1"
    assert load_benchmark(NAME) == read
    monkeypatch.setenv("AUTOPROX_BENCHMARKS", str(tmp_path))
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "other"))
    assert find_benchmarks()[NAME].problem is None
    assert load_benchmark(NAME).content_hash == read.content_hash


def test_every_performance_entry_gets_a_valid_name(tmp_path: Path) -> None:
    performance = {
        "Imagenet": {"clean": 75.0},
        "ImageNet-A": {"top-1 (%)": 10.0, "AUPR": None, "top5": float("nan")},
        "Stylized ImageNet": 12.5,
    }
    read = load_benchmark(save(tmp_path / TINY, {"0": record(performance=performance)}))
    assert read.rows[0].accuracy == {
        ("imagenet", "clean"): 75.0,
        ("imagenet-a", "top-1"): 10.0,
        ("stylized-imagenet", "accuracy"): 12.5,
    }


def test_one_width_for_all_layers_may_be_a_number(tmp_path: Path) -> None:
    read = load_benchmark(save(tmp_path / TINY, {"0": setting(embed_dim=216)}))
    assert read.rows[0].architecture["embed_dim"] == 216


def test_an_architecture_told_twice_is_one_row(tmp_path: Path) -> None:
    read = load_benchmark(save(tmp_path / TINY, {"0": record(), "1": record(1), "2": record()}))
    assert [row.origin for row in read.rows] == [f"{TINY} 0, {TINY} 2", f"{TINY} 1"]
    assert read.rows[0].accuracy["imagenet", "clean"] == 75


def performed(performance: object) -> dict[str, Any]:
    return {"7": record(performance=performance)}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([record()], "an object of records, found a list of 1 values"),
        ({}, "an object of records, found an empty one"),
        ({"7": 1}, "record 7: expected a record with 'net_setting' and 'performance', found 1"),
        ({"7": record(latency=1)}, "record 7: expected no other fields than .*, found latency"),
        ({"7\n8": {"params": 1}}, "record 7.n8: expected the fields net_setting, performance"),
        ({"7": setting(qk_dim=1)}, "net_setting: expected no other fields than .*, found qk_dim"),
        ({"7": setting(layer_num=3)}, "embed_dim: expected a list of 3 values, found a list of 2 values"),
        ({"7": setting(embed_dim=[192, 216])}, "embed_dim: expected one width for all layers, found 192, 216"),
        ({"7": setting(embed_dim=[320, 320])}, "one of 192, 216, 240, the widths of autoformer-tiny, found 320"),
        ({"7": setting(num_heads=[3, 0])}, r"num_heads\[1\]: expected a positive whole number, found 0"),
        ({"7": setting(mlp_ratio=[4])}, "mlp_ratio: expected a list of 2 values, found a list of 1"),
        (performed({}), "performance: expected an object of data sets, found an empty one"),
        (performed({"Imagenet": {"clean": 175}}), "performance.Imagenet.clean: .*from 0 to 100, found 175"),
        (performed({"Imagenet": {"clean": [75]}}), "Imagenet.clean: .*found a list of 1 values"),
        (performed({"***": {"clean": 75}}), r"expected names with letters or digits, found \*\*\*"),
        (
            performed({"A": {"x y": 1, "x-y": 2}}),
            r"A.x-y: expected one entry that is called a.x-y, found A.x y as well",
        ),
        (performed({"Imagenet": {"other": 75}}), "default_label among other, found clean"),
    ],
)
def test_foreign_content_is_refused(tmp_path: Path, records: object, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        load_benchmark(save(tmp_path / TINY, records))
    assert "\n" not in str(caught.value)


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    nested: object = 1.0
    for _ in range(20):
        nested = {"x": nested}
    with pytest.raises(TableError, match="at most 8 objects inside one another"):
        load_benchmark(save(tmp_path / TINY, performed({"A": nested})))


def test_adding_needs_the_users_files(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no published checksums.*vovantuan1999a.*bench add ood-vit-nas --from DIR"):
        add_benchmark(NAME)
    save(tmp_path / "x" / "notes.json", {})
    with pytest.raises(
        TableError, match=r"expected a file for each space, such as .*found none of the benchmark's files"
    ):
        add_benchmark(NAME, tmp_path / "x")
    assert not (tmp_path / "home").exists()
