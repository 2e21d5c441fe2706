"""Presets of `search`: what they set, what overrides them, and what is recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from autoprox.cli import run
from autoprox.cli.architectures import Positions, PresetName
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.search import ALGORITHMS, POSITIONS, PRESETS, SearchSettings
from autoprox.spaces import SPACES, get_space
from tests.test_published_spaces import FOUND

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def searched(capsys: Captured, *arguments: str) -> tuple[dict[str, Any], str]:
    """The record of a search, and what it said beside it."""
    assert run(["search", *arguments, "--workers", "1", "--json"]) == 0
    output = capsys.readouterr()
    return json.loads(output.out), output.err


def test_choices_are_those_of_the_library() -> None:
    assert sorted(PresetName) == sorted(PRESETS)
    assert sorted(Positions) == sorted(POSITIONS)


def test_presets_name_what_exists() -> None:
    for preset in PRESETS.values():
        assert preset.proxy in KNOWN_PROXIES
        assert preset.algorithm in ALGORITHMS
        assert {preset.space, *preset.max_params} <= set(SPACES)


def test_the_published_winners_are_just_within_the_budgets() -> None:
    for name in ("TF-TAS-T", "TF-TAS-S", "TF-TAS-B"):
        space = get_space(FOUND[name][0])
        budget = PRESETS["tf-tas"].max_params[space.name]
        assert 0.99 * budget < space.params(space.parse(FOUND[name][1])) <= budget


def test_t_razor_has_the_population_of_autoformers_evolution() -> None:
    settings = SearchSettings("autoformer-tiny", evaluations=PRESETS["t-razor"].evaluations)
    assert (settings.population, settings.tournament) == (50, 10)
    assert settings.evaluations == 20 * settings.population


def test_a_preset_sets_what_is_not_given(capsys: Captured) -> None:
    record, said = searched(capsys, "--preset", "tf-tas", "--proxy", "params", "--evaluations", "9")
    known = record["provenance"]
    assert (record["space"], known["preset"], known["algorithm"]) == ("autoformer-tiny", "tf-tas", "random")
    assert (known["proxy"], known["max_params"], known["evaluations"]) == ("params", 6_210_000, 9)
    assert "tf-tas sets --space autoformer-tiny --algorithm random --max-params 6210000 (Zhou et al. 2022" in said

    again, said = searched(capsys, "--resume")
    assert again["provenance"]["preset"] == "tf-tas"
    assert again["architecture"] == record["architecture"]
    assert "sets" not in said


def test_a_given_space_brings_its_own_budget(capsys: Captured) -> None:
    common = ("--preset", "tf-tas", "--proxy", "params", "--evaluations", "3", "--space")
    assert searched(capsys, *common, "autoformer-small")[0]["provenance"]["max_params"] == 24_000_000
    assert searched(capsys, *common, "autoformer-small", "--max-params", "22M")[0]["params"] <= 22_000_000
    assert searched(capsys, *common, "pit-nano")[0]["provenance"]["max_params"] is None


def test_t_razor_searches_block_by_block(capsys: Captured) -> None:
    options = (
        "--preset",
        "t-razor",
        "--space",
        "autoformer-nano",
        "--evaluations",
        "12",
        "--proxy",
        "sum(l2(fc1.weight))",
    )
    known = searched(capsys, *options)[0]["provenance"]
    assert (known["algorithm"], known["positions"], known["preset"]) == ("blockwise", "blockwise", "t-razor")
    known = searched(capsys, *options, "--positions", "uniform")[0]["provenance"]
    assert known["positions"] == "uniform"
    assert searched(capsys, *options, "--algorithm", "evolution")[0]["provenance"]["algorithm"] == "evolution"


def test_a_run_goes_on_under_its_own_preset(capsys: Captured) -> None:
    searched(capsys, "--preset", "tf-tas", "--proxy", "params", "--space", "pit-nano", "--evaluations", "3")
    assert run(["search", "--resume", "--preset", "t-razor"]) == 2
    assert 'has preset = "tf-tas", now "t-razor" is asked for' in capsys.readouterr().err


def test_what_was_searched_stands_in_the_table(capsys: Captured) -> None:
    assert run(["search", "--preset", "tf-tas", "--proxy", "params", "--space", "pit-nano", "--evaluations", "3"]) == 0
    assert "3 architectures scored with the preset tf-tas" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("space", "text"),
    [("s3-tiny", r"num_heads [234-]+ \| [567-]+ \| "), ("flexibert", r"encoder_layers \d+ \d \d \w+ \w+ \| ")],
)
def test_nested_choices_are_legible(space: str, text: str, capsys: Captured) -> None:
    assert run(["search", "--proxy", "params", "--space", space, "--evaluations", "2"]) == 0
    assert re.search(text, " ".join(capsys.readouterr().out.split()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "tf-razor"], "'tf-razor' is not one of 'tf-tas', 't-razor'"),
        (["--preset", "t-razor", "--proxy", "params"], "the proxy params has no number per block"),
        (["--proxy", "params", "--positions", "uniform"], "uniform positions belong to the algorithm blockwise"),
        (["--proxy", "params", "--algorithm", "blockwise"], "or choose --algorithm evolution"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], message: str, capsys: Captured) -> None:
    assert run(["search", *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs").exists() or not list(Path("runs").iterdir())
