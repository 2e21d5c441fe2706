"""BERT encoders on the command line: measured on a text, and proxies that some of them cannot have."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from autoprox.cli import run
from autoprox.spaces import get_space
from tests.commands import fails, prints

Captured = pytest.CaptureFixture[str]

ONE = ["--batch-size", "1", "--workers", "1"]
SEARCH = ["search", "--proxy", "snip", "--space", "flexibert", "--evaluations", "2", "--run-dir", "own", *ONE]
DATA = "sum(l2(qkv.grad))"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home, a text that is long enough for two sequences, and a working folder of its own."""
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    monkeypatch.chdir(tmp_path)
    write_text("text.txt", 260)


def write_text(path: str, words: int, step: int = 7) -> None:
    Path(path).write_text(" ".join(f"w{index * step % 97}" for index in range(words)), encoding="utf-8")


def encoder(operation: tuple[str, str | int], dimension: int = 512) -> dict[str, Any]:
    """Two layers, the first of them with the operation."""
    layers = [
        {
            "operation_type": kind,
            "operation_parameter": parameter,
            "num_operation_heads": 2,
            "feed_forward_dimension": dimension,
            "num_feed_forward": 1,
        }
        for kind, parameter in (operation, ("SA", "SDP"))
    ]
    return {"hidden_size": 128, "encoder_layers": layers}


def write_table(path: str, operations: list[tuple[str, str | int]], images: bool = False) -> str:
    """A table of encoders, and with `images` of as many networks that read images."""
    rows = [["flexibert", encoder(operation, 512 + 512 * (i % 2))] for i, operation in enumerate(operations)]
    space = get_space("pit-nano")
    smallest = space.to_json(space.smallest())
    rows += [["pit-nano", smallest | {"mlp_ratio": ratio}] for ratio in (1, 2, 4)] if images else []
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["space", "architecture", "own.score"])
        writer.writerows([name, json.dumps(record), 50 + i] for i, (name, record) in enumerate(rows))
    return path


def write_model(record: dict[str, Any], space: str = "flexibert") -> str:
    head = {"format": "autoprox-architecture", "version": 1, "space": space, "params": 1, "flops": 1, "score": 0.0}
    Path(f"{space}.json").write_text(json.dumps(head | {"architecture": record, "provenance": {}}))
    return f"{space}.json"


def figures(rows: list[dict[str, Any]], proxy: str, space: str) -> dict[str, Any]:
    (row,) = [row for row in rows if (row["proxy"], row["space"]) == (proxy, space)]
    return row


@pytest.mark.parametrize(
    ("text", "space", "code", "message"),
    [
        ("absent.txt", "flexibert", 3, "absent.txt: cannot be read (No such file or directory); check the path"),
        ("text.txt", "pit-nano", 2, "the networks of pit-nano read images, so the text"),
        ("text.txt", "pit-nano", 2, "choose a space whose networks read text: flexibert"),
        ("short.txt", "flexibert", 2, "short.txt has 100 words, 0 sequences of 126; 1 were asked for"),
        ("latin.txt", "flexibert", 2, "latin.txt: expected a text in UTF-8, found other bytes at 3"),
    ],
)
def test_a_text_that_cannot_be_used_is_named_before_any_work(
    text: str, space: str, code: int, message: str, capsys: Captured, tmp_path: Path
) -> None:
    write_text("short.txt", 100)
    Path("latin.txt").write_bytes(b"caf\xe9 noir")
    table = write_table("own.csv", [("SA", "SDP"), ("LT", "DFT"), ("DSC", 5)], images=True)
    record = encoder(("SA", "SDP")) if space == "flexibert" else get_space(space).to_json(get_space(space).smallest())
    for command in (
        ["rank", "--proxy", "params", "--bench", table, "--spaces", space],
        ["score", "--proxy", "params", "--model", write_model(record, space)],
        ["search", "--proxy", "params", "--space", space, "--evaluations", "2", "--run-dir", "own"],
    ):
        found, sentence = fails(capsys, [*command, "--text", text, *ONE])
        assert found == code
        assert message in sentence
    assert not Path("own").exists()
    assert not (tmp_path / "home").exists()


def test_rank_measures_encoders_on_the_text_and_others_as_ever(capsys: Captured) -> None:
    table = write_table("own.csv", [("SA", "SDP"), ("LT", "DFT"), ("DSC", 5)], images=True)
    rank = ["rank", "--proxy", DATA, "--bench", table, *ONE]
    plain = prints(capsys, rank)["rows"]
    written = prints(capsys, [*rank, "--text", "text.txt"])["rows"]
    for space in ("pit-nano", "flexibert"):
        assert figures(written, "params", space) == figures(plain, "params", space)
    assert figures(written, DATA, "pit-nano") == figures(plain, DATA, "pit-nano")
    assert figures(written, DATA, "flexibert")["pearson"] != figures(plain, DATA, "flexibert")["pearson"]


def test_scores_follow_the_content_of_the_text(capsys: Captured) -> None:
    score = ["score", "--proxy", "snip", "--model", write_model(encoder(("SA", "WMA"))), *ONE]
    write_text("same.txt", 260)
    write_text("other.txt", 260, step=5)
    texts: list[list[str]] = [[], *(["--text", name] for name in ("text.txt", "same.txt", "other.txt"))]
    plain, one, two, other = (prints(capsys, [*score, *text])["scores"][0]["score"] for text in texts)
    assert one == two
    assert len({plain, one, other}) == 3


def test_a_search_remembers_its_text(capsys: Captured) -> None:
    found = prints(capsys, [*SEARCH, "--text", "text.txt"])
    digest = found["provenance"]["capture"]["text"]
    assert digest.startswith("sha256:")
    assert str(Path.cwd()) not in Path("own/settings.json").read_text()
    resume = ["search", "--resume", "--run-dir", "own", "--workers", "1"]
    assert prints(capsys, resume)["score"] == found["score"]
    Path("text.txt").rename("moved.txt")
    code, sentence = fails(capsys, resume)
    assert code == 3
    assert "text.txt: cannot be read" in sentence
    assert prints(capsys, [*resume, "--text", "moved.txt"])["score"] == found["score"]
    write_text("text.txt", 261)
    code, sentence = fails(capsys, resume)
    assert code == 2
    assert f'the run in own has capture text = "{digest}", now "sha256:' in sentence
    assert "resume with the same settings" in sentence


def test_a_proxy_that_a_space_cannot_have_does_not_end_a_ranking(capsys: Captured) -> None:
    table = write_table("own.csv", [("SA", "SDP"), ("LT", "DFT"), ("DSC", 5), ("SA", "WMA")])
    rank = ["rank", "--proxy", "attention-entropy", "head-importance", "az-nas", DATA, "--bench", table, *ONE]
    rows = prints(capsys, rank)["rows"]
    for proxy in ("attention-entropy", "head-importance"):
        row = figures(rows, proxy, "flexibert")
        assert row["kendall"] is None
        assert "is lacking on 1 of 4 networks: EncoderBlock has no 'attn.attn_drop'" in row["invalid"]
        assert row["invalid"].endswith("its LinearTransform forms no attention map")
    assert (
        "is lacking on 4 of 4 networks: EncoderBlock runs 'mlp' before 'norm2'"
        in figures(rows, "az-nas", "flexibert")["invalid"]
    )
    assert figures(rows, DATA, "flexibert")["kendall"] is not None
    assert prints(capsys, rank)["rows"] == rows


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("attention-confidence", "mean(rowmax(attn.map)) cannot be measured on an architecture of flexibert: "),
        ("az-nas-trainability", "_res.jacobian) cannot be measured on an architecture of flexibert: EncoderBlock runs"),
    ],
)
def test_a_proxy_that_an_encoder_cannot_have_is_named(proxy: str, message: str, capsys: Captured) -> None:
    capsys.readouterr()
    command = ["search", "--proxy", proxy, "--space", "flexibert", "--evaluations", "9", "--run-dir", "own"]
    assert run([*command, *ONE]) == 2
    sentence = capsys.readouterr().err
    assert message in sentence
    assert sentence.endswith("choose another proxy\n")
    model = write_model(encoder(("LT", "DCT")))
    (record,) = prints(capsys, ["score", "--proxy", proxy, "--model", model, *ONE])["scores"]
    assert record["score"] is None
    assert record["invalid"].startswith("EncoderBlock ")
    assert not Path("own").exists()
