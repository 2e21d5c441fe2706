"""Whatever is typed or lies in a file, a command ends well or with one sentence, soon, and leaves no file half written.

`make fuzz` runs the same properties with thousands of cases instead of some hundreds.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from autoprox.cli import run
from autoprox.language.text import to_text
from autoprox.spaces import get_space
from tests.image_files import write_classes
from tests.strategies import proxies

ROOT = Path(__file__).parent.parent
CASES = settings.default.max_examples // 5  # of a property; `make fuzz` has a profile with more
FUZZED = settings(max_examples=CASES, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
PATIENCE = 120  # seconds after which a command of these counts as hanging; the slowest takes a few
TARGET = "what was there before\n"
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # it would hide what has failed
_UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")
_LINE = re.compile(r"autoprox: .*|.+: \d+ of \d+, elapsed .+")  # a sentence, or progress
_EXCEPTION = re.compile(r"Traceback|\b[A-Za-z]+(?:Error|Exception)\b")

# Cases


class Hangs(BaseException):
    """Not an Exception: no command may catch it."""


@contextlib.contextmanager
def case() -> Iterator[Path]:
    """A working folder with a home of its own, and an end to patience."""

    def hang(*_: object) -> None:
        raise Hangs

    kept, before = os.getcwd(), {name: os.environ.get(name) for name in ("AUTOPROX_HOME", "AUTOPROX_BENCHMARKS")}
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        os.environ["AUTOPROX_HOME"] = f"{name}/home"
        os.environ.pop("AUTOPROX_BENCHMARKS", None)
        Path("target").write_text(TARGET)
        usual = signal.signal(signal.SIGALRM, hang)
        signal.alarm(PATIENCE)
        try:
            yield Path()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, usual)
            os.chdir(kept)
            for variable, value in before.items():
                os.environ.pop(variable, None)
                if value is not None:
                    os.environ[variable] = value


def command(arguments: Sequence[str], run_folder: str = "runs") -> int:
    """Run a command; only in its run folder may it change what was there, unless it ends well and the file is its target."""
    before = files(run_folder)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = run(arguments)
    check(arguments, code, out.getvalue(), err.getvalue())
    after = files(run_folder)
    if code:
        assert after == before, sorted({*after} ^ {*before})
    assert {path: text for path, text in after.items() if path != "target"}.items() >= (
        {path: text for path, text in before.items() if path != "target"}.items()
    )
    assert not [path for path in Path().rglob(".*") if _UNFINISHED.fullmatch(path.name)]
    return code


def check(arguments: Sequence[str], code: int, out: str, err: str) -> None:
    assert code in (0, 2, 3, 130)
    assert not _EXCEPTION.search(err), err
    assert all(_LINE.fullmatch(line) for line in err.splitlines()), err
    assert len(err) < 2000
    if code:
        assert out == ""
        assert err
    elif any(b == "--json" and not a.startswith("-") for a, b in itertools.pairwise(arguments)):  # and no value itself
        json.loads(out, parse_constant=pytest.fail)


def files(run_folder: str) -> dict[str, bytes]:
    """What is in the working folder and below, but for run folders and what is kept to save time."""
    return {
        str(path): path.read_bytes()
        for path in Path().rglob("*")
        if path.is_file() and path.parts[0] not in ("home", "runs", run_folder)
    }


def run_folder() -> dict[str, bytes]:
    """The files of a search that is done."""
    with case():
        assert run([*SEARCH, "--run-dir", "own", "--json"]) == 0
        return {path.name: path.read_bytes() for path in Path("own").iterdir()}


SEARCH = ["search", "--proxy", "params", "--space", "pit-tiny", "--evaluations", "8", "--workers", "1"]
with contextlib.redirect_stdout(io.StringIO()):
    SEARCHED = run_folder()
ARCHITECTURE = SEARCHED["arch.json"]


# Damage

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ODD = st.sampled_from([
    None, True, False, 0, -1, 1, 2**63, -(2**63) - 1, 10**400, 0.5, float("nan"), float("inf"), -float("inf"), 1e308, "", " ",
    "nan", "1", "a,b", "../..", "/", "\x00", "τ", "x" * 100_000, "[[",
    [], {}, [[]], [None], {"": None}, [1] * 1000, "\ud800",
])  # fmt: skip
VALUES = st.recursive(
    ODD | st.integers() | st.floats() | TEXT, lambda v: st.lists(v) | st.dictionaries(TEXT, v), max_leaves=5
)


@st.composite
def damaged_json(draw: st.DrawFn, record: Any) -> bytes:
    """The record with values removed, changed, added or nested, or its text damaged."""
    value = json.loads(json.dumps(record))
    for _ in range(draw(st.integers(0, 2))):
        value = _changed(draw, value)
    text = json.dumps(value).encode("utf-8", "surrogatepass")
    return draw(damaged_bytes(text)) if draw(st.integers(0, 3)) == 0 else text


def _changed(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict | list) and value and draw(st.integers(0, 4)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key, value = draw(st.sampled_from(keys)), value.copy()  # what was drawn is shared with other cases
        if draw(st.integers(0, 4)) == 0:
            del value[key]
        else:
            value[key] = _changed(draw, value[key])
        return value
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(TEXT): draw(VALUES)}
    if draw(st.integers(0, 9)) == 0:
        for _ in range(draw(st.sampled_from([1, 50, 900]))):  # json itself writes no deeper ones
            value = [value]
        return value
    return draw(VALUES)


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """The content cut off, with other bytes in it, deeply nested, or in another encoding."""
    kind = draw(st.integers(0, 5))
    where = draw(st.integers(0, len(content)))
    if kind == 0:
        return content[:where]
    if kind == 1:
        return content[:where] + draw(st.binary(max_size=8)) + content[where + draw(st.integers(0, 8)) :]
    if kind == 2:
        return content.decode("utf-8", "replace").encode(
            draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7"]))
        )
    if kind == 3:
        return draw(st.sampled_from([b"[", b'{"a":', b"(", b"-", b"\x00", b"9"])) * draw(
            st.sampled_from([1, 900, 200_000])
        )
    if kind == 4:
        return content * draw(st.integers(0, 3))
    return draw(st.binary(max_size=64))


# Expressions

WORDS = ["params", "depth", "sum(", "abs(", "qkv.weight", ")", "(", "-", "+", " * ", ",", "/", "**", "rank(",
    "snip", "1e999",
         "9" * 5000, "0x1", "nan", "lambda: 0", "__import__('os')", "\x00", "τ", "\u202e", "\n", "#", "'", "[0]",
         "=", "if"]  # fmt: skip


@st.composite
def expression_texts(draw: st.DrawFn) -> str:
    """Valid ones, damaged ones, deep ones, long ones, and no expressions at all."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return "".join(draw(st.lists(st.sampled_from(WORDS), max_size=12)))
    if kind == 1:
        open_, close = draw(
            st.sampled_from([("(", ")"), ("-", ""), ("abs(", ")"), ("params+(", "params)"), ("not ", ""), ("[", "]")])
        )
        times = draw(st.sampled_from([5, 30, 200, 5000, 100_000]))
        return open_ * times + "params" + close * times
    if kind == 2:
        return draw(st.text(max_size=30))
    text = to_text(draw(proxies(height=4)))
    if kind == 3:
        return text
    where, length = draw(st.integers(0, len(text))), draw(st.integers(0, 6))
    return text[:where] + draw(st.sampled_from(WORDS) | TEXT) + text[where + length :]


FORMATS = st.sampled_from(["python", "expression", "latex", "dot", "json"])


@settings(parent=FUZZED, max_examples=6 * CASES)
@given(text=expression_texts(), form=FORMATS)
def test_expressions(text: str, form: str) -> None:
    with case():
        if command(["export", "--format", form, "--out", "target", "--", text]) != 0:
            assert command(["rank", f"--proxy={text}", "--bench", "absent"]) == 2


# Files

PROXY = {
    "format": "autoprox-proxy",
    "version": 1,
    "expression": "params / depth",
    "metrics": {"kendall": 0.5},
    "provenance": {"spaces": ["pit-tiny"], "seconds": 1.0},
}


@settings(parent=FUZZED)
@given(content=damaged_json(PROXY))
def test_proxy_files(content: bytes) -> None:
    with case():
        Path("best.json").write_bytes(content)
        command(["export", "best.json", "--format", "json", "--out", "target"])
        command(["rank", "--proxy", "best.json", "--bench", "absent", "--json"])
        command(["search", "--proxy", "best.json", "--evaluations", "2", "--workers", "1", "--out", "target", "--json"])


@settings(parent=FUZZED)
@given(content=damaged_json(json.loads(ARCHITECTURE)))
def test_architecture_files(content: bytes) -> None:
    with case():
        Path("arch.json").write_bytes(content)
        command(["score", "--proxy", "params", "--model", "arch.json", "--json"])
        command(["train", "arch.json", "--dataset", "absent", "--json"])


def rows(count: int = 8) -> list[list[str]]:
    rng, space = np.random.default_rng(0), get_space("pit-tiny")
    keys = list(dict.fromkeys(space.key(space.sample(rng)) for _ in range(2 * count)))[:count]
    return [["space", "architecture", "cifar100.kd"], *(["pit-tiny", key, str(50 + i)] for i, key in enumerate(keys))]


def write_table(path: str, table: Sequence[Sequence[str]] = ()) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file).writerows(table or rows())


CELLS = st.sampled_from(["", "nan", "inf", "-1", "101", "1e400", "9" * 5000, "[" * 3000, "{}", "null", "pit",
    "cifar100.kd", ".", "a.b.c",
                         "\x00", "x" * 200_000, '{"base_dim": NaN}', "space", "acc.", "50,5",
                         "τ"]) | st.text(max_size=8)  # fmt: skip


@st.composite
def damaged_tables(draw: st.DrawFn) -> bytes:
    table = rows()
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.sampled_from(table))
        change = draw(st.integers(0, 3))
        if change == 0 or not row:
            row.append(draw(CELLS))
        elif change == 1:
            row.pop(draw(st.integers(0, len(row) - 1)))
        elif change == 2:
            row[draw(st.integers(0, len(row) - 1))] = draw(CELLS)
        else:
            table.remove(row)
    text = io.StringIO()
    csv.writer(text, escapechar="\\").writerows(table)
    content = text.getvalue().encode("utf-8", "surrogatepass")
    return draw(damaged_bytes(content)) if draw(st.integers(0, 3)) == 0 else content


@settings(parent=FUZZED)
@given(content=damaged_tables())
def test_tables(content: bytes) -> None:
    with case():
        Path("own.csv").write_bytes(content)
        command(["bench", "show", "own.csv", "--json"])
        command(["rank", "--proxy", "params", "--bench", "own.csv", "--workers", "1", "--json"])
        command(["discover", "--bench", "own.csv", "--evaluations", "1", "--workers", "1", "--out", "target"])


def stored_table() -> dict[str, bytes]:
    """The files of a benchmark folder as the program writes them."""
    from benchdata import load_benchmark, write_benchmark

    with tempfile.TemporaryDirectory() as name:
        write_table(f"{name}/own.csv")
        place = write_benchmark(load_benchmark(f"{name}/own.csv"), Path(name) / "table")
        return {path.name: path.read_bytes() for path in place.iterdir()}


@settings(parent=FUZZED)
@given(data=st.data())
def test_benchmark_folders(data: st.DataObject) -> None:
    content = STORED
    name = data.draw(st.sampled_from(sorted(content)))
    damage = damaged_json(json.loads(content[name])) if name.endswith(".json") else damaged_bytes(content[name])
    with case():
        Path("tables/own").mkdir(parents=True)
        for other, text in content.items():
            Path("tables/own", other).write_bytes(data.draw(damage) if other == name else text)
        command(["bench", "show", "tables/own", "--json"])
        os.environ["AUTOPROX_BENCHMARKS"] = "tables"
        command(["bench", "list", "--json"])
        command(["rank", "--proxy", "params", "--bench", "own", "--workers", "1", "--json"])


STORED = stored_table()

BERT_LAYER = {"operation_type": "SA", "operation_parameter": "WMA",
    "num_operation_heads": 4, "feed_forward_dimension": 1024,
              "num_feed_forward": 3}  # fmt: skip
BERT = [{
    "id": 0, "completed": True, "scores": dict.fromkeys(("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst",
    "sts", "glue"), 60.0),
    "hparams": {"model_hparam_overrides": {"hidden_size": 128, "nas_config": {"encoder_layers": [BERT_LAYER] * 2}}},
}]  # fmt: skip


@settings(parent=FUZZED)
@given(content=damaged_json(BERT))
def test_published_json(content: bytes) -> None:
    with case():
        Path("tables/nas-bench-bert").mkdir(parents=True)
        Path("tables/nas-bench-bert/BERT_benchmark.json").write_bytes(content)
        command(["bench", "add", "nas-bench-bert", "--from", "tables/nas-bench-bert", "--json"])
        os.environ["AUTOPROX_BENCHMARKS"] = "tables"
        command(["bench", "show", "nas-bench-bert", "--json"])


class Planted:
    """What a file must never run."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("pwned",)


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


SAVED = saved([
    {"arch": {"base_dim": 16, "mlp_ratio": r, "depth": [2, 6, 4], "num_heads": [2, 4, 4]},
     **{f"{name}_{kind}_acc": 70.0 for name in ("c100", "flower", "chaoyang") for kind in ("kd", "base")}}
    for r in (2, 4)
])  # fmt: skip


@settings(parent=FUZZED)
@given(content=damaged_bytes(SAVED) | VALUES.map(saved) | damaged_bytes(pickle.dumps([Planted()])))
@example(content=saved([Planted()]))
@example(content=pickle.dumps(Planted()))
def test_published_pth(content: bytes) -> None:
    with case():
        folder = Path("tables/vit-bench-101")
        folder.mkdir(parents=True)
        for name in ("gt_autoformer.pth", "gt_pit.pth"):
            (folder / name).write_bytes(content)
        command(["bench", "add", "vit-bench-101", "--from", str(folder), "--json"])
        os.environ["AUTOPROX_BENCHMARKS"] = "tables"
        command(["bench", "show", "vit-bench-101", "--json"])
        assert not list(Path().rglob("pwned"))


STUDY = b"""evaluations = 20
seeds = [0, 1]
methods = ["pareto", "auto-prox linear", "params", "depth * width", "dss"]

[truth.absent]

[[design]]
kind = "split"
"""
TOML = st.sampled_from([b"[[design]]", b"seeds = -1", b"1e400", b'"pareto"', b"kind", b"[", b"]", b"= {}", b"nan",
    b"99999999999999999999",
                        b"1979-05-27T07:32:00Z", b'"""', b"\n", b"[truth.nano]\nspaces = 3\n"])  # fmt: skip


@st.composite
def damaged_toml(draw: st.DrawFn) -> bytes:
    content = STUDY
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.integers(0, len(content)))
        content = content[:where] + draw(TOML) + content[where + draw(st.integers(0, 20)) :]
    return draw(damaged_bytes(content)) if draw(st.integers(0, 3)) == 0 else content


@settings(parent=FUZZED)
@given(content=damaged_toml())
def test_study_files(content: bytes) -> None:
    with case():
        Path("study.toml").write_bytes(content.replace(b"nano", b"nan0"))  # nothing may be found: a study takes minutes
        assert command(["study", "study.toml", "--workers", "1", "--run-dir", "runs/s", "--out", "target", "--json"])


@settings(parent=FUZZED)
@given(data=st.data())
def test_run_folders(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SEARCHED)))
    content = SEARCHED[name]
    damage = damaged_json(json.loads(content)) if name.endswith(".json") else damaged_bytes(content)
    with case():
        Path("own").mkdir()
        for other, text in SEARCHED.items():
            Path("own", other).write_bytes(data.draw(damage) if other == name else text)
        if data.draw(st.integers(0, 9)) == 0:  # drawing takes seconds
            command(["report", "own", "--out", "target", "--workers", "1", "--json"], "own")
        command(["search", "--resume", "--run-dir", "own", "--out", "target", "--json"], "own")


# Images and texts

with tempfile.TemporaryDirectory() as _name:
    IMAGE = (write_classes(Path(_name), {"a": 1}) / "a" / "0.png").read_bytes()


@settings(parent=FUZZED)
@given(
    content=damaged_bytes(IMAGE), suffix=st.sampled_from([".png", ".jpg", ".gif", ".tiff", ".webp", ".bmp"]), name=TEXT
)
def test_image_folders(content: bytes, suffix: str, name: str) -> None:
    with case():
        write_classes(Path("images"), {"a": 3, "b": 3})
        Path("images/a", f"0{suffix}").write_bytes(content)
        with contextlib.suppress(OSError, ValueError):  # no name of a folder
            Path("images", name).mkdir()
        Path("arch.json").write_bytes(ARCHITECTURE)
        command(
            [
                "score",
                "--proxy",
                "params",
                "--model",
                "arch.json",
                "--dataset",
                "./images",
                "--batch-size",
                "2",
                "--json",
            ]
        )
        command([*SEARCH, "--dataset", "./images", "--batch-size", "6", "--out", "target", "--json"])
        command(["train", "arch.json", "--dataset", "./images", "--learning-rate", "nan", "--out", "runs/t", "--json"])


# Command lines

LINES = [
    ["rank", "--proxy", "params", "--bench", "own.csv", "--spaces", "pit-tiny", "--datasets", "cifar100",
     "--labels", "kd", "--split",
     "all", "--batch-size", "1", "--seed", "0", "--text", "text", "--device", "cpu", "--shard", "1/1"],
    ["score", "--proxy", "params", "--model", "arch.json", "--batch-size", "1", "--seed", "0", "--device", "cpu",
     "--dataset", "./images"],
    ["search", "--proxy", "params", "--space", "pit-tiny", "--algorithm", "random", "--max-params", "9M",
     "--max-flops", "2G",
     "--evaluations", "2", "--seed", "0", "--batch-size", "1", "--device", "cpu", "--run-dir", "runs/x", "--out",
     "target"],
    ["discover", "--bench", "own.csv", "--preset", "pareto", "--fitness", "mean", "--evaluations", "2", "--seed",
     "0", "--vocabulary",
     "core", "--batch-size", "1", "--device", "cpu", "--run-dir", "runs/x", "--out", "target"],
    ["export", "params", "--format", "latex", "--out", "target"],
    ["bench", "show", "own.csv"],
    ["bench", "add", "vit-bench-101", "--from", "data"],
    ["bench", "merge", "own.csv", "data"],
    ["bench", "build", "--space", "absent", "--dataset", "digits", "--architectures", "1", "--seeds", "1",
     "--name", "x", "--epochs", "1",
     "--batch-size", "8", "--learning-rate", "0.1", "--device", "cpu", "--out", "runs/b", "--run-dir", "runs/x"],
    ["train", "arch.json", "--dataset", "absent", "--epochs", "1", "--batch-size", "8", "--learning-rate", "0.1",
     "--out", "runs/t"],
    ["report", "runs/x", "--out", "target", "--figures", "data"],
    ["explain", "params", "--format", "latex"],
    ["study", "own.csv", "--out", "target", "--run-dir", "runs/x"],
    ["cache", "--limit", "2G"],
    ["cache", "merge", "data"],
    ["proxies"], ["primitives"], ["spaces"], ["bench", "list"],
]  # fmt: skip
ARGUMENTS = st.sampled_from([
    "", " ", "-", "--", "nan", "inf", "-inf", "-1", "0", "1e999", "9" * 400, str(2**63), str(2**64), "0.5", "20K",
    "20Q", "1e3", "-5M", ".",
    "..", "/", "/dev/null", "/dev/full", "data", "own.csv", "absent", "absent/x", "arch.json", "text", "target",
    "a,b", ",", "1/0", "0/1",
    "3/2", "1/2", "--json", "--help", "--nope", "--resume", "--seed", "τ", "\n", "\x00", "\ud800",
    "x" * 300, "x" * 100_000, "~", "~nobody",
    "cuda:99", "meta", "None", "pit-tiny", "autoformer-sub,pit-tiny", "hf:", "hf:/", "timm:x", "*", "%s", "{}", "$HOME",
]) | TEXT  # fmt: skip


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with arguments changed, put in or left out."""
    words = list(draw(st.sampled_from(LINES)))
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.integers(0, len(words)))
        value = draw(ARGUMENTS)
        if draw(st.integers(0, 3)):
            words[where : where + 1] = [value] if draw(st.integers(0, 5)) else []
        else:
            words.insert(where, value)
    return words


def too_much(words: Sequence[str]) -> bool:
    """What would take long because it was asked for, or reach out of the folder."""
    numbers = [b for a, b in itertools.pairwise(words) if a == "--evaluations"]
    numbers += [word.partition("=")[2] for word in words if word.startswith("--evaluations=")]
    return (
        any(n.isdigit() and int(n[:9]) > 8 for n in numbers)
        or (words[0] in ("discover", "search") and "--evaluations" not in words)
        or (words[:2] == ["bench", "add"] and "--from" not in words)
        or "--download" in words
    )


def prepare() -> None:
    write_table("own.csv")
    Path("data").mkdir()
    write_classes(Path("images"), {"a": 3, "b": 3})
    Path("text").write_text("a text " * 20, encoding="utf-8")
    Path("arch.json").write_bytes(ARCHITECTURE)


@settings(parent=FUZZED, max_examples=4 * CASES)
@given(words=command_lines().filter(lambda words: bool(words) and not too_much(words)))
def test_command_lines(words: list[str]) -> None:
    with case():
        prepare()
        before = files("runs")
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = run(words)
        asked = "--help" in words or "-h" in words
        check([] if asked else words, code, out.getvalue(), err.getvalue())
        if code:
            assert {path: text for path, text in files("runs").items() if path in before} == before
        assert not [path for path in Path().rglob(".*") if _UNFINISHED.fullmatch(path.name)]


@settings(parent=FUZZED, max_examples=max(2, CASES // 10))
@given(
    words=command_lines().filter(
        lambda w: bool(w) and not too_much(w) and "\x00" not in "".join(w) and "\ud800" not in "".join(w)
    )
)
def test_processes(words: list[str]) -> None:
    with case():
        prepare()
        done = subprocess.run(
            [sys.executable, "-m", "autoprox", *words], capture_output=True, text=True, check=False, timeout=PATIENCE,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, encoding="utf-8",
        )  # fmt: skip
        check([] if "--help" in words else words, done.returncode, done.stdout, done.stderr)
