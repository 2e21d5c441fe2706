"""`autoprox cache`: what is kept to save time, and how it is made smaller."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from autoprox.cli import run
from autoprox.measuring.screening import SAMPLES
from autoprox.measuring.store import DAMAGED, MEMO, FeatureStore
from tests.commands import fails, prints, shows

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "home"


@pytest.fixture
def kept(home: Path) -> Path:
    """A memo of 100 networks (about 500 kB) and ten samples of 100,000 bytes, the higher numbers used later."""
    with FeatureStore(home / MEMO) as store:
        store.write("s", {f"n{i}": {"f": np.arange(600.0), "g": np.ones(3)} for i in range(100)})
    for i in range(10):
        path = home / SAMPLES / f"folder-{i % 3}" / f"{i}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100_000))
        os.utime(path, (1e9 + i, 1e9))
    return home


def samples(home: Path) -> list[int]:
    return sorted(int(path.stem) for path in (home / SAMPLES).rglob("*.safetensors"))


def test_nothing_is_kept_and_nothing_is_made(home: Path, capsys: Captured) -> None:
    assert prints(capsys, ["cache"])["total"] == 0
    assert "0 networks" in shows(capsys, ["cache"])
    assert prints(capsys, ["cache", "--clear"])["removed"] == 0
    assert not home.exists()


def test_sizes_are_those_of_the_files(kept: Path, capsys: Captured) -> None:
    record = prints(capsys, ["cache"])
    assert record["folder"] == str(kept / "cache")
    assert (record["networks"], record["numbers"], record["files"], record["samples"]) == (100, 200, 10, 1_000_000)
    assert record["features"] == (kept / MEMO).stat().st_size > 480_000
    assert record["total"] == sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    assert "10 files" in shows(capsys, ["cache"])


def test_the_least_recently_used_samples_go_first(kept: Path, capsys: Captured) -> None:
    before = prints(capsys, ["cache"])["total"]
    (kept / MEMO).with_name(DAMAGED).write_bytes(bytes(50_000))
    assert prints(capsys, ["cache", "--limit", str(before)])["removed"] == 50_000
    assert len(samples(kept)) == 10
    record = prints(capsys, ["cache", "--limit", str(before - 300_000)])
    assert (record["removed"], record["total"], record["networks"]) == (300_000, before - 300_000, 100)
    assert samples(kept) == list(range(3, 10))
    record = prints(capsys, ["cache", "--limit", "250k"])
    assert samples(kept) == []
    assert record["total"] == record["features"] <= 250_000
    assert 40 < record["networks"] < 60
    assert "removed" in shows(capsys, ["cache", "--limit", "1"])
    assert prints(capsys, ["cache"])["networks"] == 0


def test_everything_goes_at_once(kept: Path, capsys: Captured) -> None:
    (kept / "benchmarks").mkdir()
    (kept / MEMO).with_name(DAMAGED).write_bytes(b"old")
    unfinished = kept / SAMPLES / "folder-1" / ".1.safetensors.abcdefgh"
    unfinished.write_bytes(bytes(10))
    os.utime(unfinished, (1e9, 1e9))
    before = sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    record = prints(capsys, ["cache", "--clear"])
    assert (record["removed"], record["total"], record["files"]) == (before, 0, 0)
    assert (kept / "benchmarks").is_dir()
    assert [path.name for path in kept.rglob("*") if path.is_file()] == [".features.sqlite.lock"]


def test_a_file_that_is_being_written_is_left(kept: Path, capsys: Captured) -> None:
    unfinished = kept / SAMPLES / "folder-1" / ".1.safetensors.abcdefgh"
    unfinished.write_bytes(bytes(10))
    prints(capsys, ["cache", "--clear"])
    assert unfinished.exists()


def test_a_memo_of_a_newer_or_a_broken_format_can_be_cleared(kept: Path, capsys: Captured) -> None:
    content = bytearray((kept / MEMO).read_bytes())
    content[60:64] = (9).to_bytes(4, "big")
    (kept / MEMO).write_bytes(content)
    code, text = fails(capsys, ["cache"])
    assert (code, "has format 9" in text) == (3, True)
    assert prints(capsys, ["cache", "--clear"])["total"] == 0
    (kept / MEMO).write_bytes(b"rubbish" * 100)
    assert run(["cache"]) == 0
    assert "features.sqlite is damaged (file is not a database); it is set aside" in capsys.readouterr().err
    assert "damaged memo" in shows(capsys, ["cache"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "much"], "'much' is not a size"),
        (["--limit", "0"], "'0' is not a size"),
        (["--limit", "1G", "--clear"], "give one of them"),
    ],
)
def test_mistakes(arguments: list[str], message: str, kept: Path, capsys: Captured) -> None:
    code, text = fails(capsys, ["cache", *arguments])
    assert (code, message in text) == (2, True)
    assert len(samples(kept)) == 10
