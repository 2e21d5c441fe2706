"""Importing ViT-Bench-101's files: written by the tests in the published format, and the real ones."""

from __future__ import annotations

import io
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchdata import KNOWN, TableError, add_benchmark, find_benchmarks, load_benchmark

NAME = "vit-bench-101"
FIRST, PIT, SECOND = "gt_autoformer.pth", "gt_pit.pth", "gt_autoformer_2.pth"
REAL = next(
    (
        folder
        for entry in os.environ.get("AUTOPROX_BENCHMARKS", "").split(os.pathsep)
        for folder in (Path(entry), Path(entry) / NAME)
        if entry and (folder / FIRST).is_file() and (folder / PIT).is_file()
    ),
    None,
)
needs_real = pytest.mark.skipif(REAL is None, reason=f"AUTOPROX_BENCHMARKS names no folder with {FIRST} and {PIT}")


def record(index: int = 0, base: float | None = 60.0, **changes: Any) -> dict[str, Any]:
    arch = {"hidden_dim": 192, "mlp_ratio": [3.5, 4.0], "depth": 2, "num_heads": [3, 3 + index]}
    fields = {f"{name}_kd_acc": 70.0 + index for name in ("c100", "flower", "chaoyang")}
    missing = {f"{name}_base_acc": base for name in ("c100", "flower", "chaoyang")}
    return {"arch": arch, **fields, **missing, "imagenet_super_acc": 74.5, **changes}


def pit_record(index: int = 0, **changes: Any) -> dict[str, Any]:
    arch = {"base_dim": 16, "mlp_ratio": 2 + index, "depth": [2, 8, 4], "num_heads": [2, 4, 4]}
    made = record(index, **{"arch": arch, **changes})
    del made["imagenet_super_acc"]
    return made


def save(path: Path, records: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(records, path)
    return path


def test_fields_become_the_projects_names(tmp_path: Path) -> None:
    save(tmp_path / FIRST, [record(0), record(1)])
    save(tmp_path / PIT, [pit_record(0)])
    save(tmp_path / SECOND, [record(2, base=None), record(3, base=None)])
    read = load_benchmark(tmp_path)
    assert read.spaces == ("autoformer-sub", "pit-tiny")
    assert read.default_datasets == ("cifar100", "flowers", "chaoyang")
    rows = read.select("autoformer-sub")
    assert rows[0].architecture == {"embed_dim": 192, "depth": 2, "num_heads": [3, 3], "mlp_ratio": [3.5, 4.0]}
    assert read.select("pit-tiny")[0].architecture == {
        "base_dim": 16,
        "mlp_ratio": 2,
        "depth": [2, 8, 4],
        "num_heads": [2, 4, 4],
    }
    assert [item.origin for item in rows] == [FIRST, FIRST, SECOND, SECOND]
    assert rows[0].accuracy[("imagenet", "supernet")] == 74.5
    assert set(rows[0].accuracy) - set(rows[2].accuracy) == {(name, "base") for name in read.default_datasets}
    np.testing.assert_array_equal(read.accuracies("autoformer-sub", "flowers", "kd"), [70, 71, 72, 73])
    np.testing.assert_array_equal(read.accuracies("autoformer-sub", "flowers", "base"), [60, 60, np.nan, np.nan])
    assert read.datasets("pit-tiny") == read.default_datasets
    assert read.defects[:-3] == KNOWN[NAME].defects


def test_nan_and_absent_labels_are_missing(tmp_path: Path) -> None:
    first = record(0, c100_kd_acc=float("nan"))
    del first["flower_kd_acc"]
    read = load_benchmark(save(tmp_path / FIRST, [first, record(1)]))
    assert ("cifar100", "kd") not in read.rows[0].accuracy
    assert ("flowers", "kd") not in read.rows[0].accuracy


def test_one_row_of_an_unpublished_file_is_read_and_said_to_be_unpublished(tmp_path: Path) -> None:
    save(tmp_path / "x" / PIT, [pit_record()])
    read = load_benchmark(tmp_path / "x")
    assert len(read.rows) == 1
    assert read.defects[-1] == f"{PIT} is not the published file: its SHA-256 differs."


ARCH = record()["arch"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "a list of records, found an empty list"),
        ({"state": 1}, "a list of records, found dict"),
        (torch.zeros(3), "a list of records, found Tensor"),
        ([record(), 5], "row 1: expected a record with 'arch' and accuracies, found 5"),
        ([record(extra=1)], "row 0: expected no other fields than .*, found extra"),
        ([{"c100_kd_acc": 1.0}], "row 0: expected the fields arch"),
        ([record(arch=[1])], "row 0, arch: expected a dict of choices, found a list of 1 values"),
        ([record(arch={**ARCH, "window": 7})], "arch: expected no other fields than depth.*found window"),
        ([record(arch={"depth": 2})], "arch: expected the fields hidden_dim, mlp_ratio, num_heads"),
        ([record(arch={**ARCH, "depth": 3})], "arch.mlp_ratio: expected a list of 3 values, found a list of 2"),
        ([record(arch={**ARCH, "depth": True})], "arch.depth: expected a positive whole number, found True"),
        ([record(arch={**ARCH, "num_heads": [3, 3.5]})], r"arch.num_heads\[1\]: .*found 3.5"),
        ([record(arch={**ARCH, "mlp_ratio": [4.0, "4"]})], r"arch.mlp_ratio\[1\]: expected a positive number, found 4"),
        ([record(arch={**ARCH, "mlp_ratio": [4.0, 10**400]})], r"arch.mlp_ratio\[1\]: .*found a huge number"),
        ([pit_record(arch={"base_dim": 16, "depth": [2, 8]})], "arch: expected the fields mlp_ratio, num_heads"),
        ([record(c100_kd_acc=100.2)], "row 0, c100_kd_acc: .*0 to 100, found 100.2"),
        ([record(c100_kd_acc="70")], "c100_kd_acc: .*found 70"),
        ([record(c100_kd_acc=torch.tensor(70.0))], "c100_kd_acc: .*found a value of type Tensor"),
        ([record(), record(1), record()], r"row 2: .*found the one of .*gt_autoformer\.pth, row 0 again"),
        ([record(c100_kd_acc=None, flower_kd_acc=None, chaoyang_kd_acc=None)], "default_label among base, supernet"),
    ],
)
def test_foreign_content_is_refused(tmp_path: Path, records: object, message: str) -> None:
    path = save(tmp_path / FIRST, records)
    with pytest.raises(TableError, match=message) as caught:
        load_benchmark(path)
    assert "\n" not in str(caught.value)


def test_an_architecture_in_both_files_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "x" / FIRST, [record(0)])
    save(tmp_path / "x" / SECOND, [record(0, base=None)])
    with pytest.raises(TableError, match=r"gt_autoformer_2\.pth, row 0: .*gt_autoformer\.pth, row 0 again"):
        load_benchmark(tmp_path / "x")


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_never_run(tmp_path: Path, legacy: bool) -> None:
    trace, path = tmp_path / "trace", tmp_path / PIT
    torch.save([Malicious(trace)], path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(TableError, match=r"plain values only, .*code inside"):
        load_benchmark(path)
    path.write_bytes(pickle.dumps([Malicious(trace)]))
    with pytest.raises(TableError, match=r"plain values only"):
        load_benchmark(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())  # the trap itself works
    assert trace.exists()


@pytest.mark.parametrize("data", [b"", b"\x00", b"not torch", b"PK\x03\x04" + b"\x00" * 99, b"<html></html>"])
def test_garbage_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / PIT).write_bytes(data)
    with pytest.raises(TableError, match=r"gt_pit\.pth: expected a file saved by torch"):
        load_benchmark(tmp_path / PIT)


def test_oversized_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / PIT).write_bytes(b"\x00" * (16 * 2**20 + 1))
    with pytest.raises(TableError, match="at most 16777216 bytes, found 16777217 bytes"):
        load_benchmark(tmp_path / PIT)


def published_bytes() -> bytes:
    out = io.BytesIO()
    torch.save([pit_record(index) for index in range(5)], out)
    return out.getvalue()


WHOLE = published_bytes()


@settings(max_examples=80)
@given(cut=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255), truncate=st.booleans())
def test_damaged_files_are_read_or_refused_in_one_sentence(cut: int, flip: int, truncate: bool) -> None:
    data = WHOLE[:cut] if truncate else WHOLE[:cut] + bytes([WHOLE[cut] ^ flip]) + WHOLE[cut + 1 :]
    refusal = None
    try:
        KNOWN[NAME].table({Path(PIT): data})
    except TableError as error:
        refusal = str(error)
    assert re.fullmatch(rf"[^\n]*({PIT}|{NAME})[^\n]*", refusal or (PIT if not truncate else ""))


@needs_real
def test_real_files_have_the_published_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert REAL is not None
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path))
    read = load_benchmark(add_benchmark(NAME, REAL))
    forms, pits = read.select("autoformer-sub"), read.select("pit-tiny")
    assert len(forms) in (100, 200)
    assert len(pits) == 100
    assert forms[0].architecture == {
        "embed_dim": 192,
        "depth": 12,
        "mlp_ratio": [3.5, 4, 3.5, 4, 3.5, 3.5, 4, 3.5, 4, 4, 4, 3.5],
        "num_heads": [4, 4, 3, 4, 3, 3, 4, 4, 3, 3, 3, 4],
    }
    assert pits[0].architecture == {"base_dim": 16, "depth": [2, 8, 4], "num_heads": [2, 4, 4], "mlp_ratio": 6}
    raw = torch.load(REAL / PIT, weights_only=True)
    np.testing.assert_array_equal(
        read.accuracies("pit-tiny", "chaoyang", "base"), [item["chaoyang_base_acc"] for item in raw]
    )
    assert find_benchmarks()[NAME].problem is None


@needs_real
def test_stated_defects_are_those_of_the_real_files() -> None:
    assert REAL is not None
    read = load_benchmark(REAL / FIRST)
    flowers = read.accuracies("autoformer-sub", "flowers", "kd")
    assert [round(value, 2) for value in np.sort(flowers)[:2]] == [48.56, 65.70]
    assert np.argmin(flowers) == 9
    assert round(read.accuracies("autoformer-sub", "flowers", "base")[9], 2) == 52.85
    wide = np.array([item.architecture["embed_dim"] == 240 for item in read.rows])
    imagenet = read.accuracies("autoformer-sub", "imagenet", "supernet")
    assert [round(f(imagenet[wide]), 2) for f in (np.min, np.max)] == [70.75, 71.74]
    assert [round(f(imagenet[~wide]), 1) for f in (np.min, np.max)] == [74.6, 75.5]
    chaoyang = read.accuracies("autoformer-sub", "chaoyang", "kd")
    assert round(np.std(chaoyang), 2) == 0.42
    mean = chaoyang.mean() / 100
    assert round(100 * np.sqrt(mean * (1 - mean) / 2139), 2) == 0.77
