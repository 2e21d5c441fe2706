"""Reports of runs: every kind of run renders, in a real browser too, and nothing in a run folder becomes code there."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autoprox.cli import run
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression
from autoprox.report import pages
from autoprox.report.pages.graph import lane, layout
from autoprox.report.pages.markup import Cell, document, table, tag
from autoprox.report.pages.records import flat, numbers, reasons
from autoprox.report.pages.runs import newest_run, read_run
from autoprox.spaces import get_space
from tests.browser import CHROMIUM, Browser
from tests.commands import Captured, fails, prints, shows
from tests.strategies import proxies

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
FIGURES = ("convergence", "front", "proxy-graph", "score-accuracy", "score-params", "shrinkage")


def write_table(path: Path, count: int = 34) -> None:
    """Small networks whose accuracies follow size on one data set and depth on the other, with noise."""
    space, rng = get_space("pit-nano"), np.random.default_rng(0)
    found = {}
    while len(found) < count:
        architecture = space.sample(rng)
        found[space.key(architecture)] = architecture
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["space", "architecture", "digits.mean", "shapes.mean"])
        for key, architecture in found.items():
            size, depth = np.log(space.params(architecture)), space.depth(architecture)
            writer.writerow(["pit-nano", key, 40 + 3 * size + rng.normal(), 10 + 3 * depth + size + 2 * rng.normal()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the module's real runs are: runs/discover-1, and after it runs/search-1 with its proxy."""
    path = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("AUTOPROX_HOME", str(path / "home"))
        patch.delenv("AUTOPROX_BENCHMARKS", raising=False)
        patch.setenv("COLUMNS", "80")
        write_table(path / "own.csv")
        discover = ["discover", "--bench", "own.csv", "--evaluations", "150", "--batch-size", "1", "--workers", "1"]
        assert run(discover) == 0
        assert (
            run(["search", "--proxy", "best.json", "--evaluations", "30", "--max-params", "60K", "--workers", "1"]) == 0
        )
        yield path


@pytest.fixture(scope="module")
def written(folder: Path) -> dict[str, Path]:
    """Pages of the finished runs, each with a folder of figures."""
    found = {name: folder / f"{name}.html" for name in ("discover-1", "search-1")}
    for name, page in found.items():
        assert run(["report", str(folder / "runs" / name), "--out", str(page), "--workers", "1"]) == 0
    return found


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies of the finished runs, to be damaged."""
    return lambda name: Path(shutil.copytree(folder / "runs" / name, tmp_path / name))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this computer")
    with Browser() as found:
        yield found


def report(capsys: Captured, run_dir: Path, out: Path) -> tuple[dict[str, Any], str]:
    """What the command prints, and the page that it writes."""
    record = prints(capsys, ["report", str(run_dir), "--out", str(out), "--workers", "1"])
    assert record["out"] == str(out)
    return record, out.read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Checks that elements are closed in order, and collects names, links and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src", "action") if name in given]
        self.links += [f"#{name}" for value in given.values() for name in re.findall(r"url\(#([^)]*)\)", value)]
        self.links += [f"#{name}" for name in given.get("aria-labelledby", "").split()]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag


def checked(text: str) -> Outline:
    """The page is well-formed, has each name once, and links to itself alone."""
    outline = Outline(text)
    assert outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    for link in outline.links:
        assert link.startswith("#")
        assert link[1:] in outline.ids
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text
    return outline


def test_a_finished_discovery(folder: Path, written: dict[str, Path], capsys: Captured) -> None:
    record, text = report(capsys, folder / "runs" / "discover-1", folder / "finished.html")
    assert (record["kind"], record["finished"], record["missing"]) == ("discover", True, [])
    names = {Path(path).name for path in record["figures"]}
    assert names == {f"{name}.{suffix}" for name in FIGURES for suffix in ("svg", "png", "pdf")}
    outline = checked(text)
    assert set(FIGURES) <= set(outline.ids)
    best = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    mean = best["metrics"]["joint"]["mean"]
    for shown in (best["expression"], f"{mean['kendall']:.3f}".lstrip("0"), *best["provenance"]["versions"].values()):
        assert shown in text
    assert f"n = {mean['n']} test architectures" in text
    assert text == written["discover-1"].read_text(encoding="utf-8")  # the same run gives the same page, and figures
    for path in map(Path, record["figures"]):
        assert path.read_bytes() == (folder / "discover-1-figures" / path.name).read_bytes()
    for setting in ("evaluations", "capture.batch_size", "benchmarks.hash", "split"):
        assert f"<dt>{setting}</dt>" in text
    assert best["provenance"]["benchmarks"][0]["hash"] in text
    assert "autoprox discover --bench own.csv" in text


def test_hover_titles_name_every_architecture(folder: Path, written: dict[str, Path]) -> None:
    text = written["discover-1"].read_text(encoding="utf-8")
    titles = re.findall(r"<title>(base_dim [^<]*)</title>", text)
    rows = list(csv.DictReader((folder / "own.csv").read_text(encoding="utf-8").splitlines()))
    assert len(titles) == 3 * len(rows)  # score against accuracy on two data sets, and score against size
    accuracies = [f"accuracy on digits {float(row['digits.mean']):.2f} %" for row in rows]
    assert all(any(accuracy in title for title in titles) for accuracy in accuracies)
    parts = [title.rsplit(", ", 1)[1] for title in titles if "accuracy on shapes" in title]
    assert {part: parts.count(part) for part in set(parts)} == {"discovery": 14, "selection": 6, "test": 14}


def test_files_for_papers(written: dict[str, Path]) -> None:
    for path in written["discover-1"].with_name("discover-1-figures").iterdir():
        content = path.read_bytes()
        if path.suffix == ".svg":
            root = ElementTree.fromstring(content)
            assert root.tag.endswith("svg")
            assert "<text" not in content.decode()  # letters are drawn: the same on every computer
        assert content.startswith({".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[path.suffix])


def test_a_search(folder: Path, written: dict[str, Path]) -> None:
    text = written["search-1"].read_text(encoding="utf-8")
    outline = checked(text)
    assert "finished, 30 of 30 architectures scored" in text
    assert {"score-size", "convergence", "proxy-graph"} <= set(outline.ids)
    winner = json.loads((folder / "arch.json").read_text(encoding="utf-8"))
    assert f"{winner['params']:,}" in text
    assert f"{winner['provenance']['random']['score_max']:.6g}" in text
    assert "How well it ranks test architectures of this space" in text  # from the proxy file it was started with
    titles = re.findall(r"<title>(base_dim [^<]*)</title>", text)
    assert len(titles) == 2 * 30


def test_random_picks_are_drawn_where_they_are_recorded(copied: Callable[[str], Path], capsys: Captured) -> None:
    path = copied("search-1")
    winner = json.loads((path / "arch.json").read_text(encoding="utf-8"))
    winner["provenance"]["random"]["picks"] = [{"score": 1.5, "params": 30_000, "flops": 200_000}, {"score": EVIL}]
    (path / "arch.json").write_text(json.dumps(winner), encoding="utf-8")
    _, text = report(capsys, path, path / "picks.html")
    assert text.count("random pick\nscore 1.5, ") == 2
    assert "random picks beside the winner" in text


def unfinished(path: Path, lines: int) -> Path:
    """As a kill leaves a run: a journal with more than its state counts, the last line in part."""
    for name in ("best.json", "finalists.json", "arch.json", "scores.jsonl"):
        (path / name).unlink(missing_ok=True)
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    (path / "state.json").write_text(json.dumps({**state, "lines": lines}), encoding="utf-8")
    with (path / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"key": "mea')
    return path


def test_a_killed_discovery_shows_how_far_it_was_and_no_result(copied: Callable[[str], Path], capsys: Captured) -> None:
    path = unfinished(copied("discover-1"), 100)
    record, text = report(capsys, path, path / "killed.html")
    assert (record["finished"], record["missing"]) == (False, [])
    checked(text)
    assert "100 of 150 candidates judged" in text
    assert f"autoprox discover --resume --run-dir {path}" in text
    assert "is no result" in text
    assert "test architectures" not in text


def test_a_killed_search(copied: Callable[[str], Path], capsys: Captured) -> None:
    path = unfinished(copied("search-1"), 16)
    record, text = report(capsys, path, path / "killed.html")
    assert not record["finished"]
    checked(text)
    assert "16 of 30 architectures scored" in text
    assert "no winner yet" in text


def test_a_run_that_has_just_begun(copied: Callable[[str], Path], capsys: Captured) -> None:
    for name in ("discover-1", "search-1"):
        path = copied(name)
        for file in path.iterdir():
            if file.name not in ("settings.json", "options.json"):
                file.unlink()
        record, text = report(capsys, path, path / "begun.html")
        assert not record["finished"]
        checked(text)
        assert "nothing to see yet" in text


def test_invalid_candidates_only(copied: Callable[[str], Path], capsys: Captured) -> None:
    path = unfinished(copied("discover-1"), 3)
    why = ("pit-nano: not finite on 3 of 14 networks", "pit-nano: not finite on 1 of 14 networks", "pit-nano: odd")
    steps = [{"key": "params", "expression": "params", "value": None, "taus": [], "reason": text} for text in why]
    (path / "journal.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps), encoding="utf-8")
    record, text = report(capsys, path, path / "invalid.html")
    assert not record["finished"]
    assert record["figures"] == []
    checked(text)
    assert "No candidate has a usable score (3 judged)" in text
    assert re.search(r'not finite on some networks</th><td data-value="2"', text)


def test_a_search_without_usable_scores(copied: Callable[[str], Path], capsys: Captured) -> None:
    path = unfinished(copied("search-1"), 8)
    lines = (path / "journal.jsonl").read_text(encoding="utf-8").splitlines()[:8]
    steps = [{k: v for k, v in json.loads(line).items() if k != "score"} | {"reason": "not finite"} for line in lines]
    (path / "journal.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps), encoding="utf-8")
    _, text = report(capsys, path, path / "invalid.html")
    checked(text)
    assert "No architecture has a usable score (8 scored)" in text


def test_ground_truth_that_is_gone_or_another(folder: Path, copied: Callable[[str], Path], capsys: Captured) -> None:
    path = copied("discover-1")
    options = json.loads((path / "options.json").read_text(encoding="utf-8"))
    for bench, why in (("gone.csv", "gone.csv"), ("own.csv", "are not those of the run")):
        (path / "options.json").write_text(json.dumps({**options, "bench": [bench]}), encoding="utf-8")
        if bench == "own.csv":
            settings = json.loads((path / "settings.json").read_text(encoding="utf-8"))
            settings["settings"]["benchmarks"][0]["hash"] = "0" * 64
            (path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        record, text = report(capsys, path, path / "without.html")
        assert record["finished"]
        assert len(record["missing"]) == 1
        assert why in record["missing"][0]
        outline = checked(text)
        assert "Not in this report:" in text
        assert "score-accuracy" not in outline.ids
        assert {"convergence", "front", "proxy-graph"} <= set(outline.ids)  # what the folder has
        assert "The proxy on the test architectures" in text
    assert run(["report", str(path), "--out", str(path / "without.html")]) == 0
    output = capsys.readouterr()
    assert "not in the report: what needs the ground truth" in output.err
    assert "written to" in output.out


def test_a_null_run_says_so_and_shows_shuffled_labels(folder: Path, capsys: Captured) -> None:
    arguments = [
        "discover",
        "--bench",
        "own.csv",
        "--evaluations",
        "40",
        "--batch-size",
        "1",
        "--null",
        "--run-dir",
        "null",
    ]
    assert run([*arguments, "--workers", "1"]) == 0
    record, text = report(capsys, folder / "null", folder / "null.html")
    assert record["missing"] == []
    assert "Null run: " in text
    best = json.loads((folder / "null" / "best.json").read_text(encoding="utf-8"))
    assert f"{best['metrics']['joint']['mean']['kendall']:.3f}".replace("0.", ".") in text


def test_recomputed_figures_that_differ_are_said(copied: Callable[[str], Path], capsys: Captured) -> None:
    path = copied("discover-1")
    best = json.loads((path / "best.json").read_text(encoding="utf-8"))
    best["metrics"]["joint"]["mean"]["kendall"] = 0.123
    (path / "best.json").write_text(json.dumps(best), encoding="utf-8")
    record, _ = report(capsys, path, path / "other.html")
    assert "its file says" in record["missing"][0] or "the proxy file says 0.123" in record["missing"][0]


def poisoned(value: Any) -> Any:
    """Every text of a record that no check reads, replaced."""
    if isinstance(value, dict):
        return {name: poisoned(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    return EVIL if isinstance(value, str) else value


def test_nothing_in_a_folder_becomes_code(copied: Callable[[str], Path], capsys: Captured, browser: Browser) -> None:
    path = copied("discover-1")
    best = json.loads((path / "best.json").read_text(encoding="utf-8"))
    rows = {
        EVIL: dict.fromkeys((EVIL, "b"), best["metrics"]["pit-nano"]["digits"]),
        "broken": {EVIL: {"n": 3, "invalid": EVIL}},
    }
    best["metrics"] = {**rows, **best["metrics"]}
    best["provenance"] = {"front": [], "versions": {EVIL: EVIL}, "likeness": {EVIL: 0.5}, "seconds": EVIL}
    (path / "best.json").write_text(json.dumps(best), encoding="utf-8")
    for name in ("settings.json", "options.json"):
        record = json.loads((path / name).read_text(encoding="utf-8"))
        record = {**record, "settings": poisoned(record["settings"])} if name == "settings.json" else poisoned(record)
        (path / name).write_text(json.dumps({**record, EVIL: EVIL}), encoding="utf-8")
    lines = [json.loads(line) for line in (path / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    lines[0] = {**lines[0], "value": None, "reason": EVIL}
    (path / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    record, text = report(capsys, path, path / "evil.html")
    outline = checked(text)
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags
    assert "&lt;script&gt;alert(1)" in text
    browser.open(path / "evil.html", 1200)
    assert browser.complaints() == []
    assert len(browser.requests()) == 1


def test_a_search_with_hostile_texts(copied: Callable[[str], Path], capsys: Captured) -> None:
    path = unfinished(copied("search-1"), 8)
    steps = [json.loads(line) for line in (path / "journal.jsonl").read_text(encoding="utf-8").splitlines()[:8]]
    steps[0] = {**steps[0], "architecture": {EVIL: EVIL}}
    steps[1] = {"batch": EVIL, "architecture": {}, "params": 3, "flops": 4, "reason": EVIL}
    (path / "journal.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps), encoding="utf-8")
    _, text = report(capsys, path, path / "evil.html")
    outline = checked(text)
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("settings.json", "{", "damaged or not JSON"),
        ("settings.json", '{"format": "autoprox-odd-run"}', "expected the format autoprox-discover-run"),
        ("settings.json", '{"format": "autoprox-build-run"}', "autoprox bench show NAME"),
        ("settings.json", '{"format": "autoprox-train-run"}', "training.json"),
        ("state.json", "{}", "does not say how far"),
        ("journal.jsonl", "{}\n", "expected 150 lines with an object each, found 1"),
        ("journal.jsonl", "[]\n" * 150, "expected 150 lines"),
        ("best.json", "{}", "not a proxy file"),
    ],
)
def test_damaged_folders_are_one_sentence(
    file: str, content: str, message: str, copied: Callable[[str], Path], capsys: Captured
) -> None:
    path = copied("discover-1")
    (path / file).write_text(content, encoding="utf-8")
    code, text = fails(capsys, ["report", str(path), "--out", str(path / "no.html")])
    assert code == 2
    assert message in text
    assert not (path / "no.html").exists()


def test_odd_lines_of_a_journal(copied: Callable[[str], Path], capsys: Captured) -> None:
    path = unfinished(copied("discover-1"), 1)
    (path / "journal.jsonl").write_text('{"value": 0.5}\n', encoding="utf-8")
    assert "no verdict on a candidate" in fails(capsys, ["report", str(path), "--out", str(path / "no.html")])[1]
    path = unfinished(copied("search-1"), 1)
    (path / "journal.jsonl").write_text('{"score": 0.5}\n', encoding="utf-8")
    assert "no scored architecture" in fails(capsys, ["report", str(path), "--out", str(path / "no.html")])[1]


def test_which_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert newest_run() == Path("runs/search-1")  # which was started after the discovery
    text = shows(capsys, ["report"])
    assert "written to report.html; 9 figures in report-figures" in text
    assert (folder / "report.html").exists()
    monkeypatch.chdir(tmp_path)
    assert "no run in runs/ to report" in fails(capsys, ["report"])[1]
    assert "there is no run folder absent" in fails(capsys, ["report", "absent"])[1]
    assert "it has no settings.json" in fails(capsys, ["report", str(tmp_path)])[1]
    code, text = fails(capsys, ["report", str(folder / "runs" / "search-1"), "--out", "absent/report.html"])
    assert (code, "no folder absent" in text) == (3, True)


def test_a_report_changes_nothing_in_the_run_folder(
    copied: Callable[[str], Path], tmp_path: Path, capsys: Captured
) -> None:
    path = unfinished(copied("discover-1"), 100)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    report(capsys, path, tmp_path / "beside.html")
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_without_matplotlib(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, text = fails(capsys, ["report", str(folder / "runs" / "search-1"), "--out", str(folder / "no.html")])
    assert code == 3
    assert "pip install 'autoprox-vit[plot]'" in text


@given(proxies(height=7))
def test_boxes_of_a_graph_stand_apart_and_edges_go_down(proxy: Expression) -> None:
    nodes = layout(canonical(proxy))
    places = {node.expression: node for node in nodes}
    assert len(places) == len(nodes)
    for node in nodes:
        assert node.x - node.width / 2 > -1e-9
        for arg in node.expression.args:
            assert places[arg].row < node.row
            x = lane(places[arg], node, node.x, nodes)
            passed = [other for other in nodes if places[arg].row < other.row < node.row]
            assert all(abs(x - other.x) > other.width / 2 for other in passed)
    for row in {node.row for node in nodes}:
        members = sorted((node for node in nodes if node.row == row), key=lambda node: node.x)
        assert len({node.level for node in members}) == 1
        for left, right in pairwise(members):
            assert left.x + left.width / 2 < right.x - right.width / 2


@given(st.text(), st.text())
def test_texts_stay_texts(name: str, value: str) -> None:
    page = document(
        name, tag("p", value, title=value), table(name, (name, "b"), [(value, Cell(value, None)), (name, 3)])
    )
    assert Outline(page).tags.count("script") == 1
    assert Outline(page).open == []


def test_records() -> None:
    record = {
        "kendall": 0.5,
        "kendall_ci": [0.1, 0.9],
        "odd_ci": [1],
        "p": float("nan"),
        "n": True,
        "in": {"x": "y"},
        "l": [1],
    }
    assert numbers(record) == {
        "kendall": 0.5, "kendall_ci": (0.1, 0.9), "odd_ci": None, "p": None, "n": None, "in": {"x": "y"}, "l": None
    }  # fmt: skip
    assert list(flat({"a": {"b": 0, "c": False}, "d": [{"e": 1}], "f": [{"e": 1}, {"e": None}], "g": [1, 2], "h": {}})) == [
        ("a.b", "0"), ("a.c", "no"), ("d.e", "1"), ("f.1.e", "1"), ("f.2.e", "none"), ("g", "1, 2"), ("h", "none")
    ]  # fmt: skip
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"a": deep}
    assert len(list(flat(deep))) == 1
    assert numbers(deep)
    texts = ["s: the branch sum(x) is constant over the networks", "s: the branch y is constant over the networks", ""]
    assert reasons({"reason": text} for text in texts) == [("a branch is constant over the networks", 2)]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_can_be_read_on_light_and_dark() -> None:
    style = (Path(pages.__file__).parent / "page.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block)) for block in style.split("@media screen", 1))
    for colours in (light, dark):
        for name, ground, least in (
            *((name, ground, 4.5) for name in ("ink", "muted", "good", "bad") for ground in ("paper", "wash")),
            *((name, "paper", 4.5) for name in ("proxy", "size")),
            ("ink", "band", 4.5),
        ):
            high, low = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, (name, ground)


@pytest.mark.parametrize("name", ["discover-1", "search-1"])
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, False), (390, True)])
def test_a_browser_shows_it_without_complaint(
    name: str, width: int, dark: bool, written: dict[str, Path], browser: Browser, tmp_path: Path
) -> None:
    browser.open(written[name], width, dark=dark)
    assert browser.complaints() == []
    assert browser.requests() == [written[name].resolve().as_uri()]
    assert (
        browser.value("document.documentElement.scrollWidth") <= width
    )  # only tables and the graph scroll, on their own
    assert browser.value("[...document.querySelectorAll('svg')].every((s) => s.getBoundingClientRect().width > 200)")
    assert (
        browser.value("document.querySelectorAll('figure svg[role=img]').length")
        == {"discover-1": 8, "search-1": 4}[name]
    )
    browser.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as shot:
        assert shot.width == width
        assert len(shot.convert("RGB").getcolors(1 << 24) or ()) > 50  # drawn, not blank
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    letters = browser.value("getComputedStyle(document.querySelector('svg text')).fill")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == dark
    assert (sum(map(int, re.findall(r"\d+", letters))) > 400) == dark  # figures follow


def test_tables_sort(written: dict[str, Path], browser: Browser) -> None:
    browser.open(written["discover-1"], 1200)
    tables = "[...document.querySelectorAll('table')]"
    shown = f"{tables}.find((t) => t.caption.textContent.includes('architectures') && t.closest('details'))"
    column = f"[...{shown}.tBodies[0].rows].map((r) => Number(r.cells[2].dataset.value))"
    before = browser.value(column)
    press = f"{shown}.tHead.rows[0].cells[2].querySelector('button').click()"
    browser.value(press)
    assert browser.value(column) == sorted(before, reverse=True)
    browser.value(press)
    assert browser.value(column) == sorted(before)
    assert browser.value(f"{shown}.tHead.rows[0].cells[2].getAttribute('aria-sort')") == "ascending"
    browser.value(f"{shown}.tHead.rows[0].cells[1].querySelector('button').click()")
    parts = browser.value(f"[...{shown}.tBodies[0].rows].map((r) => r.cells[1].textContent)")
    assert parts == sorted(parts)
    assert browser.complaints() == []


def test_it_prints(written: dict[str, Path], browser: Browser) -> None:
    browser.open(written["discover-1"], 1200, dark=True)
    assert browser.printed().startswith(b"%PDF")
    browser.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_folder_that_is_read_while_the_run_is_at_work(copied: Callable[[str], Path]) -> None:
    path = copied("discover-1")
    lines = len((path / "journal.jsonl").read_text(encoding="utf-8").splitlines())
    with (path / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"key": "half')
    assert len(read_run(path).steps) == lines


def test_a_proxy_in_words_and_latex(folder: Path, written: dict[str, Path]) -> None:
    for page in written.values():
        text = page.read_text(encoding="utf-8")
        assert "<h3>In words</h3>" in text
        assert "The score is " in text
        assert "As LaTeX" in text


def test_the_verdict_of_the_page_is_that_of_the_file(folder: Path, written: dict[str, Path]) -> None:
    text = html.unescape(written["discover-1"].read_text(encoding="utf-8"))
    findings = json.loads((folder / "best.json").read_text(encoding="utf-8"))["verdict"]
    assert findings
    for finding in findings:
        assert f"{finding['text'][:1].upper()}{finding['text'][1:]}." in text
