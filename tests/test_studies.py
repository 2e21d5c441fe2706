"""Studies: mistakes in the file, what designs hold out, and one table whatever interrupts them."""

from __future__ import annotations

import csv
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from autoprox.discovery.fields import Laboratory, fields_of
from autoprox.errors import InputError
from autoprox.language.text import parse
from autoprox.measuring.screening import Screen
from autoprox.measuring.workers import Workers, silent
from autoprox.ranking.problem import Group, gather
from autoprox.spaces import get_space
from autoprox.studies.plan import Design, read_plan
from autoprox.studies.study import Ground, study
from autoprox.studies.trials import trials_of
from benchdata import load_benchmark
from tests.commands import Captured, fails, prints, shows

SMALL = """
evaluations = 30
seeds = [0, 1]
batch_sizes = [1]
methods = ["pareto", "random", "params", "l2_norm"]
[truth.own]
bench = ["own.csv"]
[[design]]
kind = "split"
[[design]]
kind = "leave-one-dataset-out"
seeds = [0]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a table of small networks whose accuracies follow size and depth, with noise."""
    path = tmp_path_factory.mktemp("studied")
    space, rng = get_space("pit-nano"), np.random.default_rng(0)
    found = {}
    while len(found) < 34:
        architecture = space.sample(rng)
        found[space.key(architecture)] = architecture
    with (path / "own.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["space", "architecture", "digits.mean", "shapes.mean"])
        for key, architecture in found.items():
            size, depth = np.log(space.params(architecture)), space.depth(architecture)
            writer.writerow(["pit-nano", key, 40 + 3 * size + rng.normal(), 10 + 3 * depth + size + 2 * rng.normal()])
    (path / "study.toml").write_text(SMALL, encoding="utf-8")
    return path


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AUTOPROX_HOME", str(folder / "home"))
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return folder


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("evaluations =", "evaluation =", "no key 'evaluation'; allowed are methods, truth"),
        ("evaluations = 30", "evaluations = 0", "evaluations is 0; expected a whole number from 1 on"),
        ("evaluations = 30", "evaluations = true", "evaluations is True; expected a whole number"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds has 0 twice"),
        ("seeds = [0, 1]", 'seeds = "all"', "seeds is 'all'; expected a list of whole numbers"),
        ("seeds = [0, 1]", "seeds = [", "is no TOML file"),
        ('"random"', '"randon"', "there is no proxy 'randon'"),
        ('kind = "split"', 'kind = "splits"', "kind is 'splits'; expected one of split, null"),
        ('kind = "split"', 'kind = "split"\ntruth = ["mine"]', "there is no ground truth 'mine'; the file has own"),
        ('kind = "split"', 'kind = "split"\nto = ["own"]', "'to' belongs to the kind transfer"),
        ('kind = "split"', 'kind = "transfer"', "transfer needs two different tables"),
        ('kind = "split"', 'kind = "leave-one-space-out"', "at least two spaces, and the ground truth own has 1"),
        ('bench = ["own.csv"]', 'bench = ["own.csv"]\nspace = "x"', "truth.own: there is no key 'space'"),
        ("[truth.own]", "[truth.'o n']", "'o n' is no name of ground truth"),
        ("evaluations = 30", 'evaluations = 30\nfitness = "max"', "there is no fitness 'max'"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(
    inside: Path, tmp_path: Path, capsys: Captured, before: str, after: str, told: str
) -> None:
    (tmp_path / "wrong.toml").write_text(SMALL.replace(before, after, 1), encoding="utf-8")
    code, text = fails(capsys, ["study", str(tmp_path / "wrong.toml"), "--run-dir", str(tmp_path / "run")])
    assert code == 2
    assert told in text
    assert not (tmp_path / "run").exists()


def test_a_file_without_designs_or_truth(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="names no ground truth"):
        read_plan(path)
    path.write_text("[truth.nano]", encoding="utf-8")
    with pytest.raises(InputError, match="has no design"):
        read_plan(path)
    with pytest.raises(InputError, match="there is no study"):
        read_plan(tmp_path / "absent.toml")


def _group(space: str, networks: int, datasets: list[str], first: int = 0) -> Group:
    keys = tuple((space, str(first + i)) for i in range(networks))
    labels = {name: np.arange(networks, dtype=float) for name in datasets}
    return Group(space, keys, labels, dict.fromkeys(datasets, "mean"), {"params": [1.0] * networks})


@given(
    sizes=st.lists(st.integers(20, 60), min_size=2, max_size=3),
    datasets=st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=2, max_size=4, unique=True),
    splits=st.integers(1, 3),
    shared=st.integers(0, 20),
    kind=st.sampled_from(["split", "null", "leave-one-dataset-out", "leave-one-space-out", "transfer"]),
)
def test_designs_hold_out_what_they_say(
    sizes: list[int], datasets: list[str], splits: int, shared: int, kind: str
) -> None:
    one = [_group(f"space-{i}", n, datasets) for i, n in enumerate(sizes)]
    other = [_group(g.space, 25, ["e"], len(g.networks) - min(shared, len(g.networks))) for g in one]
    to = ("other",) if kind == "transfer" else ()
    trials = trials_of(Design(kind, ("one",), to, splits, (0, 1), 10), {"one": one, "other": other})
    assert len({(trial.design, trial.name) for trial in trials}) == len(trials)
    for trial in trials:
        seen = {n for g in trial.groups for n in g.part("discovery", "selection").networks}
        parts = trial.parts()
        tested = {n for g in parts["test"] for n in g.networks}
        assert tested
        assert not tested & seen
        if kind == "leave-one-dataset-out":
            held = {d for g in parts["test"] for d in g.labels}
            assert len(held) == 1
            assert not held & {d for g in trial.groups for d in g.labels}
        if kind == "leave-one-space-out":
            assert not {g.space for g in parts["test"]} & {g.space for g in trial.groups}
    held_out = {d for trial in trials for g in trial.parts()["test"] for d in g.labels}
    assert held_out == ({"e"} if kind == "transfer" else set(datasets))
    tests = [frozenset(n for g in t.parts()["test"] for n in g.networks) for t in trials]
    if kind == "split":
        assert len(set(tests)) == splits


def test_killed_and_resumed_with_another_number_of_workers_it_gives_the_same_table(
    inside: Path, capsys: Captured
) -> None:
    command = ["study", "study.toml", "--run-dir", "killed", "--out", "killed.csv"]
    process = subprocess.Popen(
        [sys.executable, "-m", "autoprox", *command, "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "AUTOPROX_HOME": str(inside / "home")},
    )
    deadline = time.monotonic() + 300
    while not list((inside / "killed").rglob("best.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (inside / "killed.csv").exists()
    first = next((inside / "killed").rglob("best.json"))
    kept = first.read_bytes()
    resumed = prints(capsys, ["study", "--resume", "--run-dir", "killed", "--workers", "2"])
    assert first.read_bytes() == kept
    whole = prints(capsys, ["study", "study.toml", "--run-dir", "whole", "--out", "whole.csv", "--workers", "1"])
    assert resumed["rows"] == whole["rows"]
    assert (inside / "killed.csv").read_bytes() == (inside / "whole.csv").read_bytes()
    assert json.loads((inside / "whole.json").read_text(encoding="utf-8"))["rows"] == whole["rows"]

    rows = {(row["design"], row["method"]): row for row in whole["rows"]}
    assert len(rows) == 8
    for (design, method), row in rows.items():
        assert row["unseen"] is (None if method == "l2_norm" else True)
        assert row["n"] == 14
        assert [row["parts"][part]["n"] for part in ("discovery", "selection", "test")] == [14, 6, 14]
        assert row["proxies"] == (2 if design == "own split" and method in ("pareto", "random") else 1)
        assert row["kendall_ci"][0] <= row["kendall"] <= row["kendall_ci"][1]
        taus = [one["kendall"] for one in row["repetitions"]]
        assert row["kendall"] == pytest.approx(np.mean(taus))
        assert row["kendall"] - row["params"] == pytest.approx(row["difference"])
        assert row["verdict"]
    pareto = rows["own split", "pareto"]
    gap = pareto["kendall"] - rows["own split", "random"]["kendall"]
    assert pareto["against"]["random"]["difference"] == pytest.approx(gap)
    assert rows["own split", "params"]["difference"] == 0

    code, sentence = fails(capsys, ["report", "whole"])
    assert code == 2
    assert "the folder of a study run; its table is the study.json in it" in sentence

    # a cell is what `discover` finds and says of it
    best = json.loads(
        (inside / "whole" / "cells/own-split/pareto/seed-1/init-0-batch-1/best.json").read_text(encoding="utf-8")
    )
    found = prints(
        capsys,
        ["discover", "--bench", "own.csv", "--evaluations", "30", "--seed", "1", "--batch-size", "1", "--workers", "1",
         "--out", "alone.json", "--run-dir", "alone"],
    )  # fmt: skip
    assert best["expression"] == found["expression"]
    second = pareto["repetitions"][1]
    assert second["expressions"] == {"": found["expression"]}
    assert second["kendall"] == pytest.approx(found["metrics"]["joint"]["mean"]["kendall"])

    text = shows(capsys, ["study", "--resume", "--run-dir", "whole", "--workers", "1"])
    assert "own leave-one-dataset-out" in text
    assert "n = 14 test architectures" in text
    written = list(csv.DictReader((inside / "whole.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["kendall"]) for row in written] == [round(row["kendall"], 6) for row in whole["rows"]]


def test_the_samples_of_a_discovery_are_let_go_when_it_waits_or_ends(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.toml"
    text = SMALL.replace("seeds = [0, 1]", "seeds = [5, 6]").replace('"random", ', "")  # not measured yet
    path.write_text(text[: text.rindex("[[design]]")], encoding="utf-8")
    table = load_benchmark("own.csv")
    alive, kept = weakref.WeakSet[Screen](), list[int]()
    begin = Screen.__init__

    def watched(screen: Screen, paths: Sequence[Path]) -> None:
        begin(screen, paths)
        alive.add(screen)

    def told(_: str) -> None:
        gc.collect()
        kept.append(len(alive))

    monkeypatch.setattr(Screen, "__init__", watched)
    truth = {"own": Ground(gather([table]), [table])}
    with Workers(1) as workers:
        study(read_plan(path), truth, run_dir=tmp_path / "run", home=inside / "home", workers=workers, told=told)
    assert len(kept) > 2  # some have waited
    assert max(kept) <= 1  # that of the discovery that tells it


def test_proxies_of_the_committed_study_have_the_figures_of_its_page(tmp_path: Path) -> None:
    """What docs/study.md lists for nano, ranked anew. Another processor may round differently, which changes what evolution
    finds, and the figures of what it has found by less than a hundredth."""
    root = Path(__file__).parent.parent
    plan = read_plan(root / "examples" / "study.toml")
    groups = gather([load_benchmark("nano")])
    (trial,) = trials_of(replace(plan.designs[0], truth=("nano",)), {"nano": groups})
    text = (root / "docs" / "study.md").read_text(encoding="utf-8")
    section = re.search(r"^## nano split$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    shown = re.findall(r"^\| \d+ \| (\S+) \| (\S+) \| `([^`]+)` \|$", section[0], re.MULTILINE)
    assert len(shown) == 5
    with Workers(1) as workers:
        fields = fields_of(trial.parts()["test"], plan.captures[0])
        proxies = [parse(expression) for _, _, expression in shown]
        fields, columns = Laboratory(tmp_path, workers, silent).scores(proxies, fields, "measure")
    pairs = [
        (scores, group.numbers["params"], labels)
        for group, scores in zip([field.group for field in fields], columns, strict=True)
        for labels in group.labels.values()
    ]
    counting = np.mean([kendalltau(params, labels).statistic for _, params, labels in pairs])
    for i, (tau, gain, _) in enumerate(shown):
        found = np.mean([kendalltau(scores[i], labels).statistic for scores, _, labels in pairs])
        assert found == pytest.approx(float(tau), abs=0.01)
        assert found - counting == pytest.approx(float(gain), abs=0.01)
