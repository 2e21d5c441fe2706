"""Explanations: words for everything, parts left out as algebra has it, figures that an independent computation gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import kendalltau

from autoprox.cli import run
from autoprox.explaining.parts import aligned, block_terms, droppable, without
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, check_proxy, subexpressions
from autoprox.language.text import parse, parse_proxy, to_text
from autoprox.language.words import to_words
from autoprox.proxies.evaluation import Invalid, Population
from autoprox.proxies.known import KNOWN_PROXIES
from primitives.statistics import STATISTICS
from tests.commands import Captured, fails, prints, shows
from tests.strategies import proxies
from tests.test_report import write_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "own.csv"
    write_table(path, 40)
    return path


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path_factory.getbasetemp() / "explaining-home"))
    monkeypatch.setenv("COLUMNS", "80")


def test_words_of_plain_expressions() -> None:
    assert to_words(parse("sum(sum(abs(linear.weight * linear.grad)))")) == [
        "the sum over all blocks of the sum over all elements of the absolute value of (the weight matrix of linear times the "
        "gradient of the loss with respect to the weight of linear)"
    ]
    assert to_words(parse("mean(l2(qkv.weight) + l2(ones.fc1.output))")) == [
        "the mean over all blocks of ([1] plus [2])",
        "[1] is the L2 norm over all elements of the weight matrix of qkv",
        "[2] is the L2 norm over all elements of what leaves fc1 (with absolute weights and one image of ones)",
    ]
    assert to_words(parse("params - depth * width")) == [
        "the number of parameters minus (the number of transformer blocks times the embedding dimension)"
    ]


@given(proxies(height=7))
def test_words_name_every_statistic_and_every_number_once(proxy: Expression) -> None:
    whole, *lines = to_words(proxy)
    text = " ".join([whole, *lines])
    for e in subexpressions(proxy):
        if e.head in STATISTICS:
            assert STATISTICS[e.head].phrase in text
    names = [line.partition(" is ")[0] for line in lines]
    assert names == [f"[{i}]" for i in range(1, len(lines) + 1)]
    assert set(re.findall(r"\[\d+\]", text)) == set(names)
    assert "{" not in text


def test_words_of_every_known_proxy_and_every_statistic() -> None:
    for known in KNOWN_PROXIES.values():
        assert to_words(known.expression)[0].startswith(("the ", "minus ", "[", "("))
    phrases = [statistic.phrase for statistic in STATISTICS.values()]
    assert len(set(phrases)) == len(phrases)


@pytest.mark.parametrize(
    ("whole", "dropped", "rest"),
    [
        ("sum(l2(qkv.weight)) - mean(l2(fc1.grad))", "sum(l2(qkv.weight))", "-mean(l2(fc1.grad))"),
        ("sum(l2(qkv.weight)) / mean(l2(fc1.grad))", "fc1.grad", "sum(l2(qkv.weight))"),
        ("sum(l2(qkv.weight)) / mean(l2(fc1.grad))", "qkv.weight", "inverse(mean(l2(fc1.grad)))"),
        ("sum(l1(qkv.weight * qkv.grad))", "qkv.grad", "sum(l1(qkv.weight))"),
        ("sum(l2(qkv.weight) + l2(fc1.grad)) * depth", "depth", "sum(l2(qkv.weight) + l2(fc1.grad))"),
        ("sum(l2(qkv.weight))", "qkv.weight", None),
        ("sum(logdet(qkv.weight @ qkv.grad))", "qkv.grad", "sum(logdet(qkv.weight))"),
    ],
)
def test_what_is_left(whole: str, dropped: str, rest: str | None) -> None:
    found = without(canonical(parse_proxy(whole)), parse(dropped))
    assert found == (None if rest is None else canonical(parse_proxy(rest)))


@given(proxies(height=6))
def test_what_is_left_is_a_proxy_without_the_part(proxy: Expression) -> None:
    whole = canonical(proxy)
    for part in droppable(whole):
        rest = without(whole, part)
        if rest is not None:
            check_proxy(rest)
            if part.head in STATISTICS:
                assert part not in subexpressions(rest)


@given(proxies(height=6))
def test_block_terms_are_all_that_is_said_about_blocks(proxy: Expression) -> None:
    for term in block_terms(canonical(proxy)):
        assert to_text(parse(to_text(term))) == to_text(term)


def test_places_begin_and_end_with_the_network() -> None:
    for depth in range(3, 20):
        for places in range(2, min(depth, 5) + 1):
            blocks = aligned(depth, places)
            assert (blocks[0], blocks[-1]) == (0, depth - 1)
            assert len(set(blocks)) == places


def test_a_population_without_blocks() -> None:
    rng = np.random.default_rng(0)
    depths = [3, 5, 3, 4]
    feature = parse("l2(qkv.weight)")
    rows = [rng.normal(size=depth) for depth in depths]
    numbers = {"depth": depths, "params": [1.0, 2, 3, 4], "flops": [1.0] * 4, "width": [1.0] * 4}
    population = Population(numbers, [{feature: row} for row in rows])
    blocks = population.blocks(feature)
    assert not isinstance(blocks, Invalid)
    assert all(map(np.array_equal, blocks, rows))
    left = population.less([0, 4, 1, 2]).score(parse("sum(l2(qkv.weight))"))
    expected = [np.delete(row, at).sum() for row, at in zip(rows, [0, 4, 1, 2], strict=True)]
    assert np.allclose(np.asarray(left), expected)
    taken = population.take([3, 1]).score(parse("sum(l2(qkv.weight)) + params"))
    assert np.allclose(np.asarray(taken), [rows[3].sum() + 4, rows[1].sum() + 2])
    assert isinstance(population.blocks(parse("l2(qkv.weight)")), list)


EXPRESSION = "sum(l2(qkv.weight) + mean(fc1.weight)) - depth"


def test_the_command(table: Path, capsys: Captured) -> None:
    asked = ["explain", EXPRESSION, "--bench", str(table), "--batch-size", "2", "--workers", "1"]
    record = prints(capsys, asked)
    assert (record["split"], record["unseen"], record["n"]) == ("test", True, 16)
    assert record["expression"] == EXPRESSION
    low, high = record["kendall_ci"]
    assert low <= record["kendall"] <= high
    dropped = {a["dropped"]: a for a in record["ablations"]}
    assert {"qkv.weight", "fc1.weight", "depth"} <= set(dropped)
    whole = prints(
        capsys, ["rank", "--proxy", EXPRESSION, "--proxy", dropped["depth"]["rest"], *asked[2:], "--split", "test"]
    )
    means = {
        proxy: np.mean([row["kendall"] for row in whole["rows"] if row["proxy"] == proxy])
        for proxy in (EXPRESSION, dropped["depth"]["rest"])
    }
    assert record["kendall"] == pytest.approx(means[EXPRESSION])
    sign = -1 if dropped["depth"]["turned"] else 1
    assert dropped["depth"]["kendall"] == pytest.approx(sign * means[dropped["depth"]["rest"]])
    for found in dropped.values():
        if found["kind"] != "block":  # which are of the networks that have blocks to lose
            assert found["change"] == pytest.approx(found["kendall"] - record["kendall"])
        assert found["change_ci"][0] <= found["change"] <= found["change_ci"][1]
        assert found["likeness"] >= 0
    blocks = [a for a in record["ablations"] if a["kind"] == "block"]
    assert 3 <= len(blocks) <= 5
    assert len({a["n"] for a in blocks}) == 1
    (profile,) = record["blocks"]
    assert len(profile["means"]) == len(blocks)
    known = {k["name"]: k for k in record["known"]}
    assert set(KNOWN_PROXIES) | {"depth * width"} == set(known)
    usable = [k for k in known.values() if "invalid" not in k]
    assert all(k["kendall_ci"][0] <= k["kendall"] <= k["kendall_ci"][1] and k["n"] == 16 for k in usable)


def test_likeness_is_scipys(table: Path, capsys: Captured) -> None:
    record = prints(
        capsys, ["explain", "params", "--bench", str(table), "--split", "all", "--batch-size", "2", "--workers", "1"]
    )
    assert (record["unseen"], record["n"], record["blocks"], record["ablations"]) == (False, 40, [], [])
    from autoprox.ranking.problem import gather
    from benchdata import load_benchmark

    (group,) = gather([load_benchmark(table)])
    found = next(k for k in record["known"] if k["name"] == "flops")
    assert found["kendall"] == pytest.approx(kendalltau(group.numbers["params"], group.numbers["flops"]).statistic)
    assert "params" not in {k["name"] for k in record["known"]}


def test_every_format(table: Path, capsys: Captured) -> None:
    asked = ["explain", EXPRESSION, "--bench", str(table), "--batch-size", "2", "--workers", "1"]
    text = shows(capsys, asked)
    assert "The score is [1] minus the number of transformer blocks." in text
    assert "█" in text
    markdown = shows_wide(capsys, [*asked, "--format", "markdown"])
    assert "| `qkv.weight` |" in markdown
    latex = shows_wide(capsys, [*asked, "--format", "latex"])
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == markdown.count("## ")
    assert latex.isascii() or not set(latex) & set("τρ−█")


def shows_wide(capsys: Captured, arguments: list[str]) -> str:
    capsys.readouterr()
    assert run(arguments) == 0
    return capsys.readouterr().out


def test_what_cannot_be_explained(table: Path, tmp_path: Path, capsys: Captured) -> None:
    bench = ["--bench", str(table), "--workers", "1"]
    code = run(["explain", "depth - depth", *bench])
    text = capsys.readouterr().err.splitlines()[-1]  # below the progress of the captures
    assert (code, "no usable scores on pit-nano: constant" in text) == (2, True)
    code, text = fails(capsys, ["explain", "snyp", *bench])
    assert (code, "did you mean" in text) == (2, True)
    (tmp_path / "bad.json").write_text(json.dumps({"format": "odd"}), encoding="utf-8")
    assert fails(capsys, ["explain", str(tmp_path / "bad.json"), *bench])[0] == 2


def test_the_test_part_is_that_of_the_discovery(table: Path, tmp_path: Path, capsys: Captured) -> None:
    known = {"format": "autoprox-proxy", "version": 1, "expression": "params", "metrics": {}}
    found = {}
    for name, provenance in (("plain", {}), ("salted", {"salt": {"pit-nano": "other"}})):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**known, "provenance": provenance}), encoding="utf-8")
        found[name] = prints(
            capsys, ["explain", str(path), "--bench", str(table), "--batch-size", "2", "--workers", "1"]
        )
    assert found["plain"]["n"] == found["salted"]["n"] == 16
    assert found["plain"]["kendall"] != found["salted"]["kendall"]  # other architectures
