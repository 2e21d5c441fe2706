"""Public benchmarks: installing them, finding what is there."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import benchdata
from benchdata import KNOWN, MissingTableError, PublicFile, TableError, add_benchmark, find_benchmarks, load_benchmark

NAME = "vit-bench-101"
FIRST, PIT, SECOND = "gt_autoformer.pth", "gt_pit.pth", "gt_autoformer_2.pth"


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lookups see this test's folders only."""
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    monkeypatch.setattr("benchdata._lookup._EMBEDDED", tmp_path / "embedded")


def records(arch: dict[str, Any], count: int, start: int = 0) -> list[dict[str, Any]]:
    """Records of the published format whose architectures differ in width."""
    grown = "base_dim" if "base_dim" in arch else "hidden_dim"
    names = ("c100_kd_acc", "flower_kd_acc", "chaoyang_kd_acc")
    return [
        {"arch": {**arch, grown: 16 + index}, **dict.fromkeys(names, 70.0 + index), "c100_base_acc": None}
        for index in range(start, start + count)
    ]


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all three files, pinned in the catalogue as if they were the published ones."""
    folder = tmp_path / "public"
    folder.mkdir()
    form = {"hidden_dim": 0, "depth": 1, "num_heads": [3], "mlp_ratio": [4.0]}
    pit = {"base_dim": 0, "depth": [2, 8, 4], "num_heads": [2, 4, 4], "mlp_ratio": 2}
    torch.save(records(form, 2), folder / FIRST)
    torch.save(records(form, 2, start=2), folder / SECOND)
    torch.save(records(pit, 2), folder / PIT)
    pin(folder, monkeypatch)
    return folder


def pin(folder: Path, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    files = []
    for file in KNOWN[NAME].files:
        data = (folder / file.name).read_bytes()
        files.append(PublicFile(file.name, len(data), hashlib.sha256(data).hexdigest(), file.main))
    monkeypatch.setitem(KNOWN, NAME, dataclasses.replace(KNOWN[NAME], files=tuple(files), **fields))


def test_adding_from_a_folder(public: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    folder = add_benchmark(NAME, public, progress=lambda done, total: seen.append((done, total)))
    assert folder == tmp_path / "home" / "benchmarks" / NAME
    assert load_benchmark(NAME) == load_benchmark(public)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) == 3
    (public / SECOND).unlink()
    (public / FIRST).unlink()
    assert add_benchmark(NAME, public, home=tmp_path / "other").parent.parent == tmp_path / "other"
    add_benchmark(NAME, public)
    assert load_benchmark(NAME).spaces == ("pit-tiny",)
    assert sorted(path.name for path in folder.iterdir()) == ["benchmark.json", "pit-tiny.csv"]


def test_adding_checks_the_published_checksums(public: Path, tmp_path: Path) -> None:
    folder = add_benchmark(NAME, public)
    before = load_benchmark(NAME)
    good = (public / PIT).read_bytes()
    for bad in (good[:-1], good + b"\x00", bytes([good[0] ^ 1]) + good[1:]):
        (public / PIT).write_bytes(bad)
        digest = hashlib.sha256(bad).hexdigest()
        with pytest.raises(TableError, match=rf"gt_pit\.pth: expected .*{len(good)} bytes.*found {len(bad)}.*{digest}"):
            add_benchmark(NAME, public)
    assert load_benchmark(NAME) == before
    assert [path.name for path in folder.parent.iterdir()] == [NAME]


def test_adding_refuses_wrong_requests(public: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"expected one of vit-bench-101, .*, found imagenet"):
        add_benchmark("imagenet", public)
    with pytest.raises(TableError, match="expected a folder with the files of vit-bench-101, found no folder"):
        add_benchmark(NAME, tmp_path / "nowhere")
    (public / FIRST).unlink()
    (public / PIT).unlink()
    with pytest.raises(TableError, match=r"gt_autoformer\.pth or gt_pit\.pth, found gt_autoformer_2\.pth"):
        add_benchmark(NAME, public)
    with pytest.raises(TableError, match=r"gt_autoformer\.pth or gt_pit\.pth, found gt_autoformer_2\.pth"):
        load_benchmark(public)
    assert not (tmp_path / "home").exists()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(public: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The public folder served over HTTP, as the catalogue's place to download from."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(_Quiet, directory=str(public.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        pin(public, monkeypatch, url=f"http://127.0.0.1:{server.server_port}/{{commit}}/{{file}}", commit="public")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield public
        server.shutdown()
        thread.join()


def test_adding_by_download(site: Path) -> None:
    seen: list[tuple[int, int]] = []
    add_benchmark(NAME, progress=lambda done, total: seen.append((done, total)))
    assert load_benchmark(NAME) == load_benchmark(site)
    assert seen[-1][0] == seen[-1][1] == sum(file.size for file in KNOWN[NAME].files)


def test_failed_downloads_install_nothing(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / SECOND).write_bytes((site / SECOND).read_bytes()[:-3])
    with pytest.raises(MissingTableError, match=r"download failed: .*gt_autoformer_2\.pth.*--from DIR"):
        add_benchmark(NAME)
    (site / SECOND).unlink()
    with pytest.raises(MissingTableError, match=r"gt_autoformer_2\.pth: the download failed .*404.*--from DIR"):
        add_benchmark(NAME)
    changed = dataclasses.replace(KNOWN[NAME], url="http://127.0.0.1:1/{commit}/{file}")
    monkeypatch.setitem(KNOWN, NAME, changed)
    with pytest.raises(MissingTableError, match=r"the download failed .*refused.*bench add vit-bench-101 --from DIR"):
        add_benchmark(NAME)
    assert not (tmp_path / "home").exists()


# ---- finding


def test_nothing_installed_says_how_to_get_it() -> None:
    assert find_benchmarks() == {}
    with pytest.raises(MissingTableError, match=r"autoprox bench add vit-bench-101.*--from DIR.*AUTOPROX_BENCHMARKS"):
        load_benchmark(NAME)
    with pytest.raises(TableError, match=r"unknown benchmark 'vit-bench'.*did you mean 'vit-bench-101'\?"):
        load_benchmark("vit-bench")
    with pytest.raises(TableError, match=r"no/such/place: expected .* found nothing"):
        load_benchmark("no/such/place")


def test_first_place_wins(public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = load_benchmark(public)
    stored = benchdata.write_benchmark(everything, tmp_path / "embedded" / NAME)
    own = benchdata.write_benchmark(dataclasses.replace(everything, name="own"), tmp_path / "some" / "folder")
    assert find_benchmarks()[NAME].where == "embedded"
    for value in (str(public), os.pathsep.join(["", str(own), str(public.parent)])):
        monkeypatch.setenv("AUTOPROX_BENCHMARKS", value)
        assert find_benchmarks()[NAME].path == public
    assert list(find_benchmarks()) == ["own", NAME]
    assert load_benchmark("own").name == "own"
    folder = add_benchmark(NAME, public)
    assert find_benchmarks()[NAME] == benchdata.BenchmarkLocation(NAME, folder, "installed", None)
    assert stored.exists()


def test_broken_benchmarks_are_listed_and_hide_no_other(
    public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "home" / "benchmarks"
    (installed / "broken").mkdir(parents=True)
    (installed / "broken" / "benchmark.json").write_text("{")
    (installed / "unrelated").mkdir()
    (installed / ".vit.123").mkdir()
    (installed / ".vit.123" / "benchmark.json").write_text("{")
    (tmp_path / "raw" / "x").mkdir(parents=True)
    (tmp_path / "raw" / "x" / PIT).write_bytes(b"garbage")
    gone = tmp_path / "gone"
    monkeypatch.setenv("AUTOPROX_BENCHMARKS", os.pathsep.join(map(str, [gone, public])))
    found = find_benchmarks()
    assert list(found) == sorted(["broken", NAME, str(gone)])
    assert found[NAME].problem is None
    assert "benchmark.json: expected a JSON object" in (found["broken"].problem or "")
    assert "is not a folder" in (found[str(gone)].problem or "")
    with pytest.raises(TableError, match="a JSON object"):
        load_benchmark("broken")
    with pytest.raises(TableError, match=r"unknown benchmark 'mine'.*passed over: AUTOPROX_BENCHMARKS names .*gone"):
        load_benchmark("mine")
    monkeypatch.setenv("AUTOPROX_BENCHMARKS", str(tmp_path / "raw"))
    assert "expected a file saved by torch" in (find_benchmarks()[NAME].problem or "")
    with pytest.raises(TableError, match=f"found a folder of the benchmarks {NAME}; give the path of one"):
        load_benchmark(tmp_path / "raw")
    with pytest.raises(TableError, match="another file"):
        load_benchmark(installed / "broken" / "benchmark.json")


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/autoprox/benchmarks"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "~/.local/share/autoprox/benchmarks"),
        ("linux", {}, "~/.local/share/autoprox/benchmarks"),
        ("darwin", {}, "~/Library/Application Support/autoprox/benchmarks"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/autoprox/benchmarks"),
        ("linux", {"AUTOPROX_HOME": "~/x"}, "~/x/benchmarks"),
    ],
)
def test_default_home(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    for name in ("XDG_DATA_HOME", "AUTOPROX_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert benchdata.benchmarks_home() == Path(os.path.expanduser(expected))
