"""Discovery end to end on real, small networks with made-up labels: same seed, same answer, whatever happens between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprox.discovery import Discovery, DiscoverySettings, Standing, discover
from autoprox.discovery.evolution import CORE, WIDE
from autoprox.errors import InputError, InterruptedRunError
from autoprox.language.expression import statistics
from autoprox.language.text import parse
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.screening import SAMPLES
from autoprox.measuring.workers import Workers
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import PARTS, Group, numbers_of, split_of
from autoprox.spaces import get_space
from tests.commands import fails

SETTINGS = DiscoverySettings(evaluations=250, finalists=6, capture=CaptureSettings(batch_size=1))


def small_group(count: int = 30, name: str = "pit-tiny") -> Group:
    """Cheap networks of PiT whose labels follow depth and width, with noise."""
    space = get_space(name)
    rng = np.random.default_rng(5)
    networks: dict[str, None] = {}
    while len(networks) < count:
        architecture = space.sample(rng)
        if space.params(architecture) < 1_500_000:
            networks[space.key(architecture)] = None
    keys = tuple((space.name, key) for key in networks)
    numbers = numbers_of(keys)
    clean = np.log(numbers["params"]) + 0.2 * np.array(numbers["depth"])
    labels = {name: 50 + 5 * clean + rng.normal(size=count) for name in ("cifar100", "flowers")}
    return Group(space.name, keys, labels, dict.fromkeys(labels, "kd"), numbers)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One memo for all tests here: the first pays for the captures."""
    return tmp_path_factory.mktemp("home")


def run(home: Path, run_dir: Path, settings: DiscoverySettings = SETTINGS, **options: Any) -> Discovery:
    workers = options.pop("workers", None) or Workers(1)
    groups = [options.pop("group", None) or small_group()]
    return discover(groups, settings, run_dir=run_dir, home=home, workers=workers, **options)


def without_times(discovery: Discovery) -> str:
    record = discovery.proxy.to_json()
    provenance = {key: value for key, value in record["provenance"].items() if key != "seconds"}
    return json.dumps([record | {"provenance": provenance}, discovery.summary], sort_keys=True)


@pytest.fixture(scope="module")
def whole(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Discovery:
    return run(home, tmp_path_factory.mktemp("runs") / "whole")


def test_it_finds_a_proxy_and_tests_it_on_unseen_architectures(whole: Discovery) -> None:
    metrics = whole.proxy.metrics
    assert set(metrics) == {"pit-tiny", "joint"}
    assert set(metrics["pit-tiny"]) == {"cifar100", "flowers"}
    group = small_group()
    parts = split_of(group.networks)
    test = sum(part == "test" for part in parts.values())
    for row in (*metrics["pit-tiny"].values(), metrics["joint"]["mean"]):
        assert row["n"] == test
        low, high = row["kendall_ci"]
        assert low <= row["kendall"] <= high
        assert {"spearman", "pearson", "params", "difference", "difference_ci", "partial_kendall"} <= set(row)
    assert whole.summary["discovery"] > 0.5
    likeness = whole.summary["likeness"]
    assert set(likeness) == {"params", "flops", "depth", "width", "depth * width"}
    assert likeness["params"] == pytest.approx(metrics["joint"]["mean"]["kendall_params"])
    assert list(map(abs, likeness.values())) == sorted(map(abs, likeness.values()), reverse=True)
    assert whole.summary["evaluations"] == SETTINGS.evaluations
    complexities = [row["complexity"] for row in whole.summary["front"]]
    assert complexities == sorted(set(complexities))


def test_reported_figures_are_those_of_the_expression(whole: Discovery, home: Path) -> None:
    from autoprox.language.canonical import canonical
    from autoprox.language.expression import features
    from autoprox.measuring.capture import block_features

    part = small_group().part("test")
    expression = canonical(parse(whole.summary["expression"]))
    population = part.population()
    rows = [block_features(network, features(expression), SETTINGS.capture) for network in part.networks]
    population.add({feature: [row[feature] for row in rows] for feature in features(expression)})
    scores = population.score(expression)
    assert Fitness([part]).joint([scores])[0] == pytest.approx(whole.summary["test"], abs=1e-12)


def test_same_seed_same_answer_with_any_number_of_workers(
    whole: Discovery, home: Path, tmp_path: Path, two_workers: Workers
) -> None:
    assert without_times(run(home, tmp_path / "again", workers=two_workers)) == without_times(whole)
    cold = run(tmp_path / "cold home", tmp_path / "cold", workers=two_workers)
    assert without_times(cold) == without_times(whole)


def test_another_seed_is_another_run(whole: Discovery, home: Path, tmp_path: Path) -> None:
    assert without_times(run(home, tmp_path / "other", replace(SETTINGS, seed=1))) != without_times(whole)


def test_interrupted_and_resumed_is_the_same(whole: Discovery, home: Path, tmp_path: Path) -> None:
    standings: list[Standing] = []
    with pytest.raises(InterruptedRunError, match="--resume --run-dir"):
        run(home, tmp_path / "run", observe=standings.append, stop=lambda: len(standings) >= 1)
    assert standings[-1].evaluations < SETTINGS.evaluations
    assert without_times(run(home, tmp_path / "run", resume=True)) == without_times(whole)
    # a finished run can be resumed as well: it reports again
    assert without_times(run(home, tmp_path / "run", resume=True)) == without_times(whole)


def test_killed_and_resumed_is_the_same(whole: Discovery, home: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "import test_discovery as t\n"
        "if __name__ == '__main__': t.run(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    here = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, str(Path(here).parent)])}
    arguments = [sys.executable, "-c", script, str(home), str(tmp_path / "run"), here]
    with subprocess.Popen(arguments, env=environment) as process:
        state = tmp_path / "run" / "state.json"
        for _ in range(600):
            if state.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert state.exists()
    assert without_times(run(home, tmp_path / "run", resume=True)) == without_times(whole)


@pytest.mark.parametrize("structure", ["linear", "tree", "graph"])
def test_the_published_algorithm_resumes_too(home: Path, tmp_path: Path, structure: str) -> None:
    settings = replace(
        SETTINGS, preset="auto-prox", structure=structure, fitness="mean-abs", evaluations=130, finalists=2
    )
    expected = run(home, tmp_path / "whole", settings)
    standings: list[Standing] = []
    with pytest.raises(InterruptedRunError):
        run(home, tmp_path / "run", settings, observe=standings.append, stop=lambda: len(standings) >= 1)
    assert without_times(run(home, tmp_path / "run", settings, resume=True)) == without_times(expected)


def test_shuffled_labels_are_not_predicted_on_test(home: Path, tmp_path: Path, whole: Discovery) -> None:
    null = run(home, tmp_path / "null", replace(SETTINGS, null=True))
    assert null.proxy.provenance["null"] is True
    assert null.summary["test"] < whole.summary["test"] - 0.2
    assert null.summary["params"]["discovery"] != whole.summary["params"]["discovery"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"preset": "autoprox"}, "no preset 'autoprox'; choose one of pareto, auto-prox"),
        ({"structure": "ring"}, "no structure 'ring'"),
        ({"fitness": "max"}, "no fitness 'max'"),
        ({"evaluations": 0}, "number of evaluations is 0"),
        ({"vocabulary": "broad"}, "no vocabulary 'broad'; choose one of core, wide"),
        (
            {"vocabulary": "wide", "preset": "auto-prox"},
            "wide belongs to the preset pareto, and the preset is auto-prox",
        ),
    ],
)
def test_wrong_settings(home: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(home, tmp_path / "run", replace(SETTINGS, **change))
    assert not (tmp_path / "run").exists()


def test_a_wide_discovery_resumes_and_leaves_core_ones_as_they_are(tmp_path: Path) -> None:
    group = small_group(name="pit-nano")

    def again(name: str, settings: DiscoverySettings, home: str = "home", **options: Any) -> Discovery:
        return run(tmp_path / home, tmp_path / name, settings, group=group, **options)

    core = replace(SETTINGS, evaluations=120, finalists=2)
    wide = replace(core, vocabulary="wide")
    expected = again("wide", wide)
    assert expected.proxy.provenance["settings"]["vocabulary"] == "wide"
    journal = [json.loads(line) for line in (tmp_path / "wide" / "journal.jsonl").read_text().splitlines()]
    read = {name for line in journal for name in statistics(parse(line["expression"]))}
    assert read <= set(WIDE.terminals)
    assert read - set(CORE.terminals)
    standings: list[Standing] = []
    with pytest.raises(InterruptedRunError):
        again("run", wide, observe=standings.append, stop=lambda: len(standings) >= 1)
    assert without_times(again("run", wide, resume=True)) == without_times(expected)
    with pytest.raises(InputError, match='has vocabulary = "wide"'):
        again("run", core, resume=True)

    files = sorted((tmp_path / "home" / SAMPLES).rglob("*.safetensors"))
    written = [path.read_bytes() for path in files]
    assert without_times(again("core", core)) == without_times(again("cold", core, home="another"))
    assert [path.read_bytes() for path in files] == written, "samples of the two do not mix"
    assert len(list((tmp_path / "home" / SAMPLES).rglob("*.safetensors"))) == 2 * len(files)


def test_a_run_of_a_version_without_vocabularies_is_a_core_run(whole: Discovery, home: Path, tmp_path: Path) -> None:
    """settings.json as version 0.1 wrote it."""
    run(home, tmp_path / "run")
    recorded = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    before = ["preset", "structure", "fitness", "evaluations", "seed", "finalists", "capture", "null"]
    assert list(recorded) == [*before, "benchmarks", "split", "spaces", "labels", "images"]
    assert without_times(run(home, tmp_path / "run", resume=True)) == without_times(whole)


def test_the_command_line_knows_the_vocabularies(capsys: pytest.CaptureFixture[str]) -> None:
    code, sentence = fails(capsys, ["discover", "--preset", "auto-prox", "--vocabulary", "wide"])
    assert code == 2
    assert "choose --preset pareto, or leave --vocabulary out" in sentence
    code, sentence = fails(capsys, ["discover", "--vocabulary", "broad"])
    assert code == 2
    assert "'broad'" in sentence


def test_too_few_architectures(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pit-tiny has 9 architectures, which leaves 2 for a part of the split"):
        discover([small_group(9)], SETTINGS, run_dir=tmp_path / "run", home=home, workers=Workers(1))


@pytest.mark.parametrize(("value", "few"), [(70.0, 0), (float("nan"), 0), (float("nan"), 2)])
def test_labels_that_nothing_can_rank(home: Path, tmp_path: Path, value: float, few: int) -> None:
    group = small_group()
    flat = replace(group, labels={**group.labels, "flowers": np.full(len(group.networks), value)})
    test = [group.networks.index(network) for network in group.part("test").networks]
    flat.labels["flowers"][test[:few]] = [71, 72][:few]
    with pytest.raises(InputError, match="the labels of pit-tiny on flowers are all the same or fewer than 3"):
        discover([flat], SETTINGS, run_dir=tmp_path / "run", home=home, workers=Workers(1))
    assert not (tmp_path / "run").exists()


def test_every_part_of_the_split_is_used() -> None:
    assert set(split_of(small_group().networks).values()) == set(PARTS)


def test_fewer_evaluations_than_the_published_population(home: Path, tmp_path: Path) -> None:
    found = run(home, tmp_path / "run", replace(SETTINGS, preset="auto-prox", evaluations=70, finalists=2))
    assert found.summary["evaluations"] == 70
