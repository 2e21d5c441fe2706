"""Parts of some work that machines without anything in common do, and what they make together."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprox.building import stratified
from autoprox.cli import run
from autoprox.errors import InputError
from autoprox.measuring.merging import merge_home
from autoprox.measuring.shards import Shard
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Notice
from autoprox.spaces import get_space
from tests.commands import fails, prints

Captured = pytest.CaptureFixture[str]

ALL = ["--bench", "own.csv", "--workers", "1"]
DISCOVER = ["discover", *ALL, "--evaluations", "60", "--batch-size", "1"]
RANK = ["rank", "--proxy", "snip", *ALL]
BUILD = ["bench", "build", "--space", "pit-nano", "--dataset", "digits", "--architectures", "2", "--seeds", "2", "--epochs",
         "1", "--name", "small", "--workers", "1"]  # fmt: skip


@given(st.integers(0, 40), st.integers(1, 9))
def test_parts_are_the_whole_and_about_as_large(size: int, count: int) -> None:
    parts = [Shard.parse(f"{number}/{count}").of(range(size)) for number in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == list(range(size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1", "1/0", "-1/2", "1/2/3", "a/b"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no part of a whole; expected one like 2/4, from 1/4 to 4/4"):
        Shard.parse(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a small table, from which everything is done."""
    folder = tmp_path_factory.mktemp("shards")
    space, rng = get_space("pit-nano"), np.random.default_rng(0)
    chosen = stratified(space, 32, seed=3)
    with (folder / "own.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["space", "architecture", "digits.base"])
        for architecture in chosen:
            label = np.log(space.params(architecture)) * 5 + rng.normal()
            writer.writerow([space.name, space.key(architecture), round(float(label), 3)])
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def at_home(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("AUTOPROX_HOME", str(Path(name).absolute()))


def without_times(record: object) -> object:
    return json.loads(
        json.dumps(record), object_hook=lambda o: {k: v for k, v in o.items() if k not in ("seconds", "out", "run_dir")}
    )


def test_discovery_from_the_samples_of_two_homes(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    parts = []
    for number in (1, 2):
        at_home(monkeypatch, f"home-{number}")
        parts.append(prints(capsys, [*DISCOVER, "--shard", f"{number}/2"]))
    assert not (place / "best.json").exists()
    assert not (place / "runs").exists()
    assert sum(part["done"] for part in parts) == parts[0]["of"] == parts[1]["of"] > parts[0]["done"] > 0

    at_home(monkeypatch, "home")
    merged = prints(capsys, ["cache", "merge", "home-1", "home-2"])
    assert [home["samples"]["taken"] for home in merged["merged"]] == [part["done"] for part in parts]
    again = prints(capsys, ["cache", "merge", "home-1", "home-2"])
    assert [home["samples"]["known"] for home in again["merged"]] == [part["done"] for part in parts]

    with monkeypatch.context() as patch:  # nothing is sampled again
        patch.setattr("autoprox.measuring.screening.capture", lambda *_: pytest.fail("a network was sampled"))
        found = prints(capsys, [*DISCOVER, "--out", "sharded.json", "--run-dir", "sharded"])
    at_home(monkeypatch, "home-of-all")
    assert without_times(found) == without_times(
        prints(capsys, [*DISCOVER, "--out", "whole.json", "--run-dir", "whole"])
    )


def test_ranking_from_the_memos_of_three_homes(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    for number in (1, 2, 3):
        at_home(monkeypatch, f"memo-{number}")
        assert run([*RANK, "--shard", f"{number}/3"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert f"part {number}/3: {11 if number < 3 else 10} of 32 architectures are in" in told
        assert "autoprox cache merge HOME..." in told
    at_home(monkeypatch, "memo")
    prints(capsys, ["cache", "merge", "memo-1", "memo-2", "memo-3"])
    with monkeypatch.context() as patch:
        patch.setattr("autoprox.measuring.measure.block_features", lambda *_: pytest.fail("a network was measured"))
        found = prints(capsys, RANK)
    at_home(monkeypatch, "memo-of-all")
    assert found == prints(capsys, RANK)


def test_what_differs_or_is_damaged_elsewhere_stays_there(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("ours", "theirs")]
    for home, number in zip(homes, (1.0, 2.0), strict=True):
        (home / "cache").mkdir(parents=True)
        with FeatureStore(home / "cache" / "features.sqlite") as store:
            store.write("key", {"net": {"same": np.array([0.5]), "other": np.array([number])}})
            if home.name == "theirs":
                store.write("key", {"net": {"new": np.array([3.0])}})
    bad = homes[1] / "cache" / "samples" / "x" / "bad.safetensors"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"not what was written")
    with pytest.warns(Notice) as told:
        found = merge_home(*homes)
    assert (found.features.taken, found.features.known, found.features.conflicts) == (1, 1, 1)
    assert (found.samples.taken, found.samples.damaged) == (0, 1)
    texts = sorted(str(notice.message) for notice in told)
    assert texts[0].startswith("1 files of samples in")
    assert "1 numbers in" in texts[1]
    assert "differ from those of this home, which stay" in texts[1]
    with FeatureStore(homes[0] / "cache" / "features.sqlite") as store:
        kept = store.read("key", ["net"], ["same", "other", "new"])["net"]
    assert {name: list(values) for name, values in kept.items()} == {"same": [0.5], "other": [1.0], "new": [3.0]}


def test_a_build_from_two_folders(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    at_home(monkeypatch, "home-of-builds")
    for number in (1, 2):
        part = prints(capsys, [*BUILD, "--run-dir", f"part-{number}", "--shard", f"{number}/2"])
        assert (part["done"], part["of"]) == (2, 4)
    merged = prints(capsys, ["bench", "merge", "part-1", "part-2", "--run-dir", "both"])
    assert (merged["trainings"], merged["taken"], merged["conflicts"]) == (4, 4, 0)
    assert prints(capsys, ["bench", "merge", "part-1", "part-2", "--run-dir", "both"])["taken"] == 0
    with monkeypatch.context() as patch:
        patch.setattr(
            sys.modules["autoprox.building.build"], "train", lambda *_, **__: pytest.fail("a network was trained")
        )
        prints(capsys, ["bench", "build", "--resume", "--run-dir", "both", "--out", "table-of-parts", "--workers", "1"])
    prints(capsys, [*BUILD, "--run-dir", "whole-build", "--out", "table-of-all"])
    assert table("table-of-parts") == table("table-of-all")

    prints(capsys, [*BUILD, "--epochs", "2", "--run-dir", "otherwise", "--shard", "1/2"])
    code, told = fails(capsys, ["bench", "merge", "part-1", "otherwise", "--run-dir", "never"])
    assert code == 2
    assert "has changes.epochs = 2, now 1 is asked for" in told


def table(name: str) -> tuple[object, bytes]:
    return without_times(json.loads(Path(name, "benchmark.json").read_text())), Path(name, "pit-nano.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["discover", "--shard", "3/2"], "'3/2' is no part of a whole"),
        (["discover", "--shard", "1/2", "--run-dir", "x"], "has no run folder; leave --resume and --run-dir out"),
        (["cache", "merge", "nowhere"], "nothing is measured in nowhere"),
        (["cache", "--clear", "merge", "nowhere"], "give options after merge"),
        (["bench", "merge", "nowhere", "--run-dir", "x"], "nowhere"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    code, told = fails(capsys, arguments)
    assert code in (2, 3)
    assert message in told
    assert list(tmp_path.rglob("*.json")) == []
