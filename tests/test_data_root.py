"""``--data-root`` end to end: each data set has its own images and classes, and what they are counts, not where."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoprox.cli import run
from autoprox.measuring.capture import _batch
from autoprox.spaces import get_space
from tests.image_files import write_chaoyang, write_cifar100, write_classes, write_flowers

Captured = pytest.CaptureFixture[str]
PROJECT = Path(__file__).parent.parent
SNIP = "sum(sum(abs(linear.weight*linear.grad)))"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    write_cifar100(folder)
    write_flowers(folder)
    return folder


def write_table(path: Path, count: int, datasets: tuple[str, ...] = ("cifar100", "flowers")) -> str:
    """Cheap networks, whose accuracies follow depth and size, with noise."""
    rng = np.random.default_rng(1)
    space = get_space("pit-tiny")
    choices = product((4, 6), (2, 4), (2, 4), ((2, 2), (2, 4), (4, 4), (2, 8)))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["space", "architecture", *(f"{dataset}.kd" for dataset in datasets)])
        for second, third, ratio, heads in list(choices)[:count]:
            record = {"base_dim": 16, "mlp_ratio": ratio, "num_heads": [2, *heads], "depth": [1, second, third]}
            size = space.params(space.parse(record)) / 1e6
            labels = [50 + 10 * size + i * (second + third) + rng.normal() for i, _ in enumerate(datasets)]
            writer.writerow([space.name, json.dumps(record), *labels])
    return str(path)


def command(arguments: list[str], folder: Path, home: str = "home") -> dict[str, Any]:
    """What a process prints: one JSON object."""
    environment = {name: value for name, value in os.environ.items() if name != "AUTOPROX_BENCHMARKS"}
    done = subprocess.run(
        [sys.executable, "-m", "autoprox", *arguments, "--json"], capture_output=True, text=True, check=False,
        cwd=folder, timeout=300, env={**environment, "AUTOPROX_HOME": str(folder / home), "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def remembered(home: Path) -> tuple[set[tuple[Any, ...]], int]:
    """(data set, classes, batch size, batch key) of the settings in the memo, and how many numbers there are."""
    with sqlite3.connect(home / "cache" / "features.sqlite") as memo:
        names = [name.split("|")[1] for (name,) in memo.execute("SELECT name FROM networks")]
        (numbers,) = memo.execute("SELECT COUNT(*) FROM numbers").fetchone()
    records = map(json.loads, names)
    return {(r["dataset"], r["classes"], r["batch_size"], r["batch"]) for r in records}, numbers


def test_rank_measures_each_data_set_on_its_own_images(root: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "small.csv", 5)
    asked = ["rank", "--proxy", SNIP, "--bench", table, "--batch-size", "2"]
    one = command([*asked, "--data-root", "images", "--workers", "1"], tmp_path)
    rows = {row["dataset"]: row for row in one["rows"] if row["proxy"] == SNIP}
    assert set(rows) == {"cifar100", "flowers"}
    assert rows["cifar100"]["n"] == rows["flowers"]["n"] == 5
    settings, numbers = remembered(tmp_path / "home")
    assert {(dataset, classes, size) for dataset, classes, size, _ in settings} == {
        ("cifar100", 100, 2),
        ("flowers", 102, 2),
    }
    assert len({batch for *_, batch in settings}) == 2
    assert numbers == 10

    assert command([*asked, "--data-root", "images", "--workers", "2"], tmp_path, home="other") == one

    root.rename(tmp_path / "elsewhere")
    assert command([*asked, "--data-root", str(tmp_path / "elsewhere")], tmp_path) == one
    assert remembered(tmp_path / "home") == (settings, numbers)


def test_discovery_runs_on_images_and_finds_its_memo_after_a_move(root: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "small.csv", 26)
    asked = ["discover", "--bench", table, "--batch-size", "1", "--evaluations", "150"]
    one = command([*asked, "--data-root", "images", "--workers", "2"], tmp_path)
    assert set(one["metrics"]["pit-tiny"]) == {"cifar100", "flowers"}
    assert all(-1 <= row["kendall"] <= 1 for row in one["metrics"]["pit-tiny"].values())
    assert one["provenance"]["settings"]["capture"]["dataset"] == "each its own"
    assert str(tmp_path) not in json.dumps(one["provenance"]["settings"])

    samples = {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("*.safetensors")}
    assert len({path.parent for path in samples}) == 2  # one set of samples a data set
    known = remembered(tmp_path / "home")
    root.rename(tmp_path / "elsewhere")
    two = command([*asked, "--data-root", "elsewhere", "--workers", "1"], tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("*.safetensors")} == samples
    assert remembered(tmp_path / "home") == known
    for name in ("expression", "metrics"):
        assert two[name] == one[name]


# -- in this process


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rank(capsys: Captured, table: str, text: str = SNIP, root: str = "images") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    asked = ["rank", "--proxy", text, "--bench", table, "--data-root", root, "--workers", "1", "--batch-size", "1"]
    code = run([*asked, "--json"])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_changed_images_are_measured_anew(root: Path, here: Path, capsys: Captured) -> None:
    table = write_table(here / "small.csv", 4, ("flowers", "chaoyang"))
    folder = write_chaoyang(root)
    assert rank(capsys, table)[0] == 0
    settings, numbers = remembered(here / "home")
    for image in (folder / "train").iterdir():
        Image.new("RGB", (32, 32), (99, 0, 99)).save(image)
    _batch.cache_clear()  # as in another process
    assert rank(capsys, table)[0] == 0
    now, more = remembered(here / "home")
    assert {dataset for dataset, *_ in now - settings} == {"chaoyang"}
    assert settings < now
    assert more == numbers + 4  # those of the other data set stay


def test_a_search_goes_on_with_the_images_it_began_with(here: Path, capsys: Captured) -> None:
    write_classes(here / "own", {"a": 4, "b": 4})
    asked = [
        "search",
        "--proxy",
        "params",
        "--evaluations",
        "20",
        "--dataset",
        "./own",
        "--batch-size",
        "4",
        "--run-dir",
        "run",
    ]
    assert run([*asked, "--space", "pit-tiny"]) == 0
    assert run(["search", "--resume", "--run-dir", "run"]) == 0
    capsys.readouterr()
    for image in (here / "own").rglob("*.png"):
        Image.new("RGB", (32, 32), (99, 0, 99)).save(image)
    _batch.cache_clear()
    assert run(["search", "--resume", "--run-dir", "run"]) == 2
    assert "has images = " in capsys.readouterr().err


def test_weights_are_measured_once_for_all_data_sets(root: Path, here: Path, capsys: Captured) -> None:
    table = write_table(here / "small.csv", 4)
    assert rank(capsys, table, "sum(l2(qkv.weight))")[0] == 0
    assert remembered(here / "home")[1] == 4


def test_a_data_set_without_images_is_named_before_any_work(root: Path, here: Path, capsys: Captured) -> None:
    table = write_table(here / "small.csv", 12, ("cifar100", "chaoyang"))
    code, out, errors = rank(capsys, table)
    assert (code, out) == (2, "")
    assert "images is not a folder of chaoyang: expected train.json in it or in its chaoyang/; put them there" in errors
    code, out, errors = rank(capsys, table, root="nowhere")
    assert (code, out) == (3, "")
    assert f"there is no folder {here / 'nowhere'}; expected one with images" in errors
    assert run(["discover", "--bench", table, "--data-root", "images"]) == 2
    assert "not a folder of chaoyang" in capsys.readouterr().err
    assert not (here / "home").exists()
    assert not (here / "runs").exists()

    unknown = write_table(here / "unknown.csv", 4, ("cifar100", "stamps"))
    code, _, errors = rank(capsys, unknown)
    assert code == 2
    assert (
        "there is no data set 'stamps' (did you mean 'shapes'?); expected one of digits, shapes, textures, cifar100"
        in errors
    )


def test_without_pillow_the_extra_is_named(
    root: Path, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    table = write_table(here / "small.csv", 4)
    code, out, errors = rank(capsys, table)
    assert (code, out) == (3, "")
    assert errors.count("\n") == 1
    assert "needs Pillow, which is not installed: pip install 'autoprox-vit[vision]'" in errors
    assert not (here / "home").exists()
    assert rank(capsys, write_table(here / "cifar.csv", 4, ("cifar100",)))[0] == 0
