"""Commands in this process: what they print, what they write, and the exit code of everything that can go wrong."""

from __future__ import annotations

import ast
import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from autoprox.cli import run
from autoprox.cli.application import spread
from autoprox.cli.interruption import stopping
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.ranking.fitness import FITNESS
from autoprox.search import ALGORITHMS
from autoprox.spaces import SPACES, get_space
from primitives.operators import OPERATORS
from primitives.statistics import STATISTICS
from tests.commands import fails, prints, shows

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home, no tables, 80 columns, and a working folder of its own."""
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    monkeypatch.setattr("benchdata._lookup._EMBEDDED", tmp_path / "embedded")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Twelve small networks whose accuracies follow their size on one data set and their depth on the other."""
    rng = np.random.default_rng(0)
    space = get_space("pit-tiny")
    found = {space.key(a): a for a in (space.sample(rng) for _ in range(60))}
    smallest = sorted(found.items(), key=lambda item: space.params(item[1]))[:12]
    path = tmp_path / "own.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["space", "architecture", "cifar100.kd", "flowers.kd", "flowers.base"])
        for key, architecture in smallest:
            size, depth = space.params(architecture) / 1e6, space.depth(architecture)
            writer.writerow(["pit-tiny", key, 40 + size, 50 + depth + size / 100, 60 - size])
    return str(path)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("sum(", "not an expression"),
        ("sum(sum(qkv.weight)", "not an expression"),
        ("(" * 100 + "params" + ")" * 100, "too deep"),
        ("-" * 60 + "(params)", "too large"),
        ("sum(qkv.weight)", "ends in one number per network"),
        ("sum(sum(qkv.weight + fc1.weight))", "tensors of one shape"),
        ("sum(params + sum(qkv.weight))", "joins equal levels"),
        ("summ(sum(qkv.weight))", "did you mean sum"),
        ("sum(sum(qkv.weigth))", "did you mean"),
        ("__import__('os').system('touch pwned')", "not part of the proxy language"),
        ("(lambda: params)()", "not part of the proxy language"),
        ("[params for x in y][0]", "not part of the proxy language"),
        ("params.__class__.__mro__", "there is no statistic"),
        ("params if params else depth", "not part of the proxy language"),
        ("sum(sum(qkv.weight), key=1)", "not part of the proxy language"),
        ("1 + params", "not part of the proxy language"),
        ("snipp", "did you mean snip"),
        ("absent.json", "there is no proxy file absent.json"),
    ],
)
def test_a_wrong_proxy_is_named(expression: str, message: str, table: str, tmp_path: Path, capsys: Captured) -> None:
    code, text = fails(capsys, ["rank", "--proxy", expression, "--bench", table])
    assert code == 2
    assert message in text
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nope"], 2, "No such command 'nope'"),
        (["x" * 100_000], 2, f"No such command '{'x' * 199}…{'x' * 78}'; see 'autoprox --help'"),
        (["rank"], 2, "Missing option '--proxy'"),
        (["rank", "--proxy", "params", "--nope"], 2, "No such option"),
        (["rank", "--proxy", "params", "--split", "half"], 2, "'half' is not one of 'all', 'test'"),
        (["rank", "--proxy", "params", "--workers", "0"], 2, "--workers"),
        (["rank", "--proxy", "params", "--bench", "own.csv", "--spaces", "pit-tny"], 2, "there is no space 'pit-tny'"),
        (["rank", "--proxy", "params", "--bench", "own.csv", "--datasets", "cifar"], 2, "no data set 'cifar'"),
        (["rank", "--proxy", "params", "--bench", "own.csv", "--datasets", "a,,b"], 2, "without empty names"),
        (["rank", "--proxy", "params", "--bench", "own.csv", "--labels", "x"], 2, "a label 'x'"),
        (["rank", "--proxy", "params", "--bench", "absent.csv"], 2, "found nothing"),
        (["rank", "--proxy", "params", "--bench", "nope"], 2, "unknown benchmark 'nope'"),
        (["rank", "--proxy", "params", "--bench", "vit-bench-101"], 3, "autoprox bench add vit-bench-101"),
        (["rank", "--proxy", "params"], 3, "autoprox bench add vit-bench-101"),
        (["rank", "--proxy", "params", "--datasets", "cifar100"], 3, "there is no ground truth on this computer"),
        (["discover", "--bench", "own.csv"], 2, "discovery needs at least"),
        (["discover", "--bench", "own.csv", "--structure", "graph"], 2, "the structure graph belongs to the preset auto-prox"),
        (["rank", "--proxy", "params", "--bench", "own.csv", "--data-root", "absent"], 3, "there is no folder"),
        (["discover", "--bench", "own.csv", "--fitness", "best"], 2, "'best' is not one of"),
        (["discover", "--bench", "own.csv", "--out", "absent/best.json"], 3, "there is no folder absent"),
        (["discover", "--bench", "own.csv", "--resume"], 2, "to resume"),
        (["search", "--space", "pit-tiny"], 2, "search needs a proxy"),
        (["search", "--proxy", "params", "--space", "pit"], 2, "there is no space 'pit'"),
        (["search", "--proxy", "params", "--space", "pit-tiny", "--max-params", "many"], 2, "many"),
        (["search", "--proxy", "params", "--space", "pit-tiny", "--max-params", "1k"], 2, "1"),
        (["search", "--proxy", "params", "--out", "."], 3, "cannot write ."),
        (["score", "--proxy", "params", "--model", "absent.json"], 2, "no architecture file absent.json"),
        (["score", "--proxy", "params", "--model", "/dev/zero"], 2, "it has more than 256 MiB"),
        (["train", "/dev/zero", "--dataset", "digits"], 2, "it has more than 256 MiB"),
        (["study", "/dev/zero"], 2, "it has more than 256 MiB"),
        (["score", "--proxy", "params", "--model", "timm:"], 2, "'timm:' names no model"),
        (["export", "snip", "--format", "word"], 2, "'word' is not one of"),
        (["export", "snip", "--out", "absent/snip.py"], 3, "cannot write absent/snip.py"),
        (["bench", "show", "nope"], 2, "unknown benchmark 'nope'"),
        (["bench", "add", "nope"], 2, "found nope"),
        (["bench", "add", "vit-bench-101", "--from", "absent"], 2, "found no folder"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("table")
def test_a_wrong_request_is_one_sentence(arguments: list[str], code: int, message: str, capsys: Captured) -> None:
    found, text = fails(capsys, arguments)
    assert message in text
    assert found == code


def test_choices_are_those_of_the_library() -> None:
    from autoprox.cli.architectures import Algorithm
    from autoprox.cli.discovering import Fitness, Preset, Structure
    from autoprox.cli.listings import Format
    from autoprox.cli.ranking import Split
    from autoprox.discovery.genotypes import STRUCTURES
    from autoprox.discovery.settings import PRESETS
    from autoprox.export import FORMATS
    from autoprox.ranking.comparison import SPLITS

    for choices, known in (
        (Algorithm, ALGORITHMS), (Fitness, FITNESS), (Preset, PRESETS), (Structure, STRUCTURES), (Format, FORMATS),
        (Split, SPLITS),
    ):  # fmt: skip
        assert sorted(choices) == sorted(known)


def test_rank_takes_several_proxies_either_way(table: str, capsys: Captured) -> None:
    one = prints(capsys, ["rank", "--proxy", "params", "width", "-depth / params", "--bench", table, "--json"])
    other = prints(
        capsys, ["rank", "--proxy=params", "--proxy", "width", "--proxy", "-depth / params", "--bench", table, "--json"]
    )
    assert one == other
    assert list(dict.fromkeys(row["proxy"] for row in one["rows"])) == [
        "params",
        "width",
        "-depth / params",
        "flops",
        "depth",
    ]
    assert {(row["space"], row["dataset"], row["label"]) for row in one["rows"]} == {
        ("pit-tiny", "cifar100", "kd"),
        ("pit-tiny", "flowers", "kd"),
    }


def test_values_that_look_like_options_stay_values() -> None:
    assert spread(["rank", "--proxy", "-sum(x)", "--model"]) == ["rank", "--proxy", "-sum(x)", "--model"]
    assert spread(["rank", "--proxy=a", "b", "--json", "c"]) == ["rank", "--proxy=a", "--proxy", "b", "--json", "c"]
    assert spread(["score", "--proxy", "a", "b", "--model", "c", "d"]) == [
        "score", "--proxy", "a", "--proxy", "b", "--model", "c", "--model", "d"
    ]  # fmt: skip


def test_rank_by_weights_alone_as_a_table(table: str, capsys: Captured) -> None:
    arguments = ["rank", "--proxy", "l2_norm", "--bench", table, "--datasets", "cifar100", "--workers", "1"]
    text = shows(capsys, arguments)
    assert "l2_norm" in text
    assert "1.000" in text  # params rank the labels of this table perfectly
    rows = prints(capsys, [*arguments, "--json"])["rows"]
    assert rows[0]["n"] == 12
    assert 0.5 < rows[0]["kendall"] <= 1


def test_labels_and_split_choose(table: str, capsys: Captured) -> None:
    arguments = ["rank", "--proxy", "params", "--bench", table, "--datasets", "flowers", "--labels", "base", "--json"]
    rows = prints(capsys, arguments)["rows"]
    assert rows[0]["kendall"] == pytest.approx(-1)
    assert prints(capsys, [*arguments, "--split", "test"])["rows"][0]["n"] == 5


def test_listings(capsys: Captured) -> None:
    assert {p["name"] for p in prints(capsys, ["proxies", "--json"])["proxies"]} == set(KNOWN_PROXIES)
    record = prints(capsys, ["primitives", "--json"])
    assert [o["name"] for o in record["operators"]] == list(OPERATORS)
    assert [s["name"] for s in record["statistics"]] == list(STATISTICS)
    assert {s["name"]: s["size"] for s in prints(capsys, ["spaces", "--json"])["spaces"]} == {
        name: space.size() for name, space in SPACES.items()
    }
    for command in ("proxies", "primitives", "spaces"):
        assert len(shows(capsys, [command]).splitlines()) > 5


@pytest.mark.parametrize(
    ("format", "part"),
    [
        ("python", "def score"),
        ("expression", "sum(sum(abs"),
        ("latex", r"\sum"),
        ("dot", "digraph"),
        ("json", "linear.grad"),
    ],
)
def test_export(format: str, part: str, tmp_path: Path, capsys: Captured) -> None:
    assert run(["export", "snip", "--format", format]) == 0
    text = capsys.readouterr().out
    assert part in text
    assert run(["export", "snip", "--format", format, "--out", "out.txt"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == text
    if format == "python":
        ast.parse(text)
    if format == "json":
        json.loads(text)


SEARCH = ["search", "--proxy", "params", "--space", "pit-tiny", "--max-params", "5M", "--evaluations", "12"]


def test_search_writes_what_it_prints_and_score_reads_it(tmp_path: Path, capsys: Captured) -> None:
    record = prints(capsys, [*SEARCH, "--json"])
    written = json.loads((tmp_path / "arch.json").read_text(encoding="utf-8"))
    assert {key: record[key] for key in written} == written
    assert record["run_dir"] == "runs/search-1"
    assert record["params"] == record["score"] <= 5_000_000
    assert run([*SEARCH, "--seed", "1", "--out", "other.json"]) == 0
    text = capsys.readouterr().out
    assert "random picks" in text
    assert "written to other.json" in text
    assert (tmp_path / "runs" / "search-2").is_dir()
    scores = prints(capsys, ["score", "--proxy", "params", "--model", "arch.json", "other.json", "--json"])["scores"]
    assert [s["model"] for s in scores] == ["arch.json", "other.json"]
    assert scores[0]["score"] == record["score"]
    assert "arch.json" in shows(capsys, ["score", "--proxy", "params", "--model", "arch.json"])


def test_resume_remembers_what_was_asked_for(tmp_path: Path, capsys: Captured) -> None:
    first = prints(capsys, [*SEARCH, "--out", "first.json", "--json"])
    again = prints(capsys, ["search", "--resume", "--json"])  # the newest run, its proxy, its budget, its file
    for key in ("architecture", "score", "params", "out", "run_dir"):
        assert again[key] == first[key]
    code, text = fails(capsys, ["search", "--resume", "--run-dir", "runs/search-1", "--seed", "5"])
    assert code == 2
    assert "has seed = 0, now 5 is asked for" in text
    code, text = fails(capsys, [*SEARCH, "--run-dir", "runs/search-1"])
    assert code == 2
    assert "already holds a run" in text


def test_the_space_comes_from_the_proxy_file(tmp_path: Path, capsys: Captured) -> None:
    record = {"format": "autoprox-proxy", "version": 1, "expression": "params", "metrics": {}}
    (tmp_path / "best.json").write_text(
        json.dumps({**record, "provenance": {"spaces": ["pit-tiny"]}}), encoding="utf-8"
    )
    assert prints(capsys, ["search", "--proxy", "best.json", "--evaluations", "8", "--json"])["space"] == "pit-tiny"


def write_pth(folder: Path) -> None:
    """Public files of ViT-Bench-101's format, with other content than the published."""
    folder.mkdir(parents=True)
    accuracies = {f"{name}_{kind}_acc": 70.0 for name in ("c100", "flower", "chaoyang") for kind in ("kd", "base")}
    depths = {"hidden_dim": 192, "mlp_ratio": [4.0] * 12, "depth": 12}
    first = [
        {
            "arch": {**depths, "num_heads": [3] * i + [4] * (12 - i)},
            **accuracies,
            "c100_kd_acc": 70.0 + i,
            "imagenet_super_acc": 74,
        }
        for i in range(4)
    ]
    pit = [
        {"arch": {"base_dim": 16, "mlp_ratio": r, "depth": [2, 6, 4], "num_heads": [2, 4, 4]}, **accuracies}
        for r in (2, 4)
    ]
    torch.save(first, folder / "gt_autoformer.pth")
    torch.save(pit, folder / "gt_pit.pth")


def test_benchmarks_are_listed_shown_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    write_pth(tmp_path / "tables" / "vit-bench-101")
    broken = tmp_path / "tables" / "broken"
    broken.mkdir()
    (broken / "benchmark.json").write_text("{", encoding="utf-8")
    record = prints(capsys, ["bench", "list", "--json"])
    assert {(b["name"], b["where"]) for b in record["benchmarks"]} == {
        (name, "not installed") for name in ("vit-bench-101", "nas-bench-bert", "ood-vit-nas")
    }
    monkeypatch.setenv("AUTOPROX_BENCHMARKS", str(tmp_path / "tables"))
    found = {b["name"]: b for b in prints(capsys, ["bench", "list", "--json"])["benchmarks"]}
    assert found["vit-bench-101"]["rows"] == 6
    assert found["vit-bench-101"]["spaces"] == ["autoformer-sub", "pit-tiny"]
    assert found["broken"]["problem"]
    assert "vit-bench-101" in shows(capsys, ["bench", "list"])

    shown = prints(capsys, ["bench", "show", "vit-bench-101", "--json"])
    labels = {(r["space"], r["dataset"], r["label"]): r for r in shown["labels"]}
    row = labels["autoformer-sub", "cifar100", "kd"]
    assert (row["n"], row["min"], row["max"]) == (4, 70.0, 73.0)
    assert row["sd"] == pytest.approx(np.std([70, 71, 72, 73], ddof=1))
    assert row["kendall"]["depth"] is None
    assert "autoformer-sub" in shows(capsys, ["bench", "show", "vit-bench-101"])

    code, text = fails(capsys, ["bench", "add", "vit-bench-101", "--from", str(tmp_path / "tables" / "vit-bench-101")])
    assert code == 2
    assert "sha" in text.lower() or "published" in text
    assert run(["rank", "--proxy", "params", "--datasets", "imagenet", "--json"]) == 0
    output = capsys.readouterr()
    assert "passing over the benchmark broken" in output.err
    assert {row["space"] for row in json.loads(output.out)["rows"]} == {"autoformer-sub"}
    code = run(["rank", "--proxy", "params", "--datasets", "mnist"])
    assert code == 2
    assert (
        "no installed benchmark has the data set 'mnist': vit-bench-101 has chaoyang, cifar100"
        in capsys.readouterr().err
    )


def test_interruption_asks_first_and_insists_on_the_second(tmp_path: Path) -> None:
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with stopping(said.append, tmp_path) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert len(said) == 1
    assert f"--resume --run-dir {tmp_path}" in said[0]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_narrow_terminal_loses_no_column(table: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = shows(capsys, ["rank", "--proxy", "params", "--bench", table]).splitlines()
    monkeypatch.setenv("COLUMNS", "50")
    narrow = shows(capsys, ["rank", "--proxy", "params", "--bench", table]).splitlines()
    assert "size τ" in narrow[0]
    assert [line for line in narrow if "flowers" in line] == [line for line in wide if "flowers" in line]


def test_a_run_of_another_command_is_named(capsys: Captured) -> None:
    assert run(["search", "--proxy", "params", "--space", "pit-tiny", "--evaluations", "3", "--run-dir", "here"]) == 0
    capsys.readouterr()
    code, text = fails(capsys, ["discover", "--resume", "--run-dir", "here"])
    assert code == 2
    assert "here is the folder of a search run; expected one of a discover run" in text


def test_resuming_without_a_folder_says_with_which_it_goes_on(capsys: Captured) -> None:
    for name in ("runs/first", "runs/second"):
        assert run(["search", "--proxy", "params", "--space", "pit-tiny", "--evaluations", "3", "--run-dir", name]) == 0
    capsys.readouterr()
    assert run(["search", "--resume", "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == "autoprox: going on with runs/second\n"
    assert json.loads(output.out)["run_dir"] == "runs/second"


def test_a_search_that_random_picks_beat_says_so(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["search", "--proxy", "depth", "--space", "autoformer-sub", "--run-dir"]
    assert "a random pick scores higher" in shows(capsys, [*asked, "few", "--evaluations", "1"])
    assert "a random pick scores higher" not in shows(capsys, [*asked, "many", "--evaluations", "200"])
