"""`autoprox.discover`, `rank`, `search`, `score` and `train`: the same as the commands, and good to look at."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

import autoprox
from autoprox.api.remembered import changed
from autoprox.errors import InputError, InterruptedRunError, MissingError
from tests.commands import Captured, prints

SNIP = "sum(sum(abs(linear.weight*linear.grad)))"
SMALL: dict[str, Any] = {"spaces": "pit-nano", "datasets": "digits"}
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def here(tmp_path: Path, sampled_home: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROX_HOME", sampled_home)
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def searched(**more: Any) -> Any:
    asked = {"space": "pit-nano", "max_params": "20K", "evaluations": 12, "workers": 1, "progress": autoprox.silent}
    return autoprox.search("snip", **{**asked, **more})


@pytest.fixture(scope="session")
def searched_once(sampled_home: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One search for all tests that need what it finds."""
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPROX_HOME", sampled_home)
        return searched(out=folder / "arch.json", run_dir=folder / "run")


@pytest.fixture(scope="session")
def discovered_once(sampled_home: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One discovery for all tests that need what it finds, and what it told on the way."""
    folder = tmp_path_factory.mktemp("discovery")
    told: list[tuple[str, int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPROX_HOME", sampled_home)
        patch.delenv("AUTOPROX_BENCHMARKS", raising=False)
        found = autoprox.discover(
            **SMALL, evaluations=150, workers=1, run_dir=folder / "run", out=folder / "best.json",
            progress=lambda *step: told.append(step),
        )  # fmt: skip
    return found, told


class Balanced(HTMLParser):
    """Fails where an end tag does not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.rows += tag == "tr"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def rows_of(result: Any) -> int:
    page = Balanced()
    page.feed(result._repr_html_())
    assert not page.open
    return page.rows


def test_importing_is_light_and_search_stays_a_function() -> None:
    code = (
        "import sys, autoprox; assert 'torch' not in sys.modules; import autoprox.search; from autoprox.search import Found;"
        "assert callable(autoprox.search) and callable(autoprox.score) and autoprox.Proxy.load('snip').label == 'snip'"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(autoprox.__all__) - {"__version__"} == set(autoprox._HOMES)
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        autoprox.serach  # noqa: B018


def test_every_option_of_a_command_is_an_argument() -> None:
    from inspect import signature

    from autoprox.cli import architectures, discovering, explaining, ranking, training

    for command, function in (
        (discovering.discover, autoprox.discover),
        (ranking.rank, autoprox.rank),
        (explaining.explain, autoprox.explain),
        (architectures.search, autoprox.search),
        (architectures.score, autoprox.score),
        (training.train, autoprox.train),
    ):
        options = {name: option.default for name, option in signature(command).parameters.items()}
        arguments = signature(function).parameters
        shown = {
            "context",
            "json",
            "format",
            "shard",
            "ray",
            "gpus_per_task",
        }  # a cluster is one of the kinds of workers
        assert set(options) - shown <= set(arguments)
        for name in set(options) - shown - {"bench", "model", "proxy", "workers"}:
            if (function, name) == (autoprox.score, "device"):
                continue  # a module is measured where it is
            default = getattr(options[name], "value", options[name])
            assert arguments[name].default == (str(default) if isinstance(default, Path) else default), name


def test_a_discovery_reads_well(discovered_once: Any) -> None:
    found, told = discovered_once
    assert told
    assert (found.out.name, found.run_dir.name) == ("best.json", "run")
    assert str(found).startswith(f"Discovered: {found.proxy.text}\n- ")
    assert rows_of(found) == 1 + len(found.records) == 3  # a heading, one data set, and the means
    assert found.verdict[0].text in str(found)
    assert found.evidence["pit-nano"]["digits"]["kendall"] == found.records[0]["kendall"]
    loaded = autoprox.Proxy.load(found.out)
    assert (loaded.expression, loaded.metrics) == (found.proxy.expression, found.proxy.metrics)
    assert repr(loaded).startswith(f"Proxy({loaded.text!r}, tau ")
    assert "on test [" in repr(loaded)
    assert "def score(" in loaded.export()


def test_a_stopped_discovery_goes_on_by_the_command_as_it_was_asked_for(discovered_once: Any, capsys: Captured) -> None:
    whole, _ = discovered_once
    with pytest.raises(InterruptedRunError, match="--resume"):
        autoprox.discover(
            **SMALL, evaluations=150, workers=1, run_dir="b", out="b.json", progress=autoprox.silent, stop=lambda: True
        )
    with pytest.raises(InputError, match="has seed = 0, now 4 is asked for"):
        autoprox.discover(resume=True, run_dir="b", seed=4, workers=1, progress=autoprox.silent)
    again = prints(capsys, ["discover", "--resume", "--run-dir", "b", "--workers", "1"])
    assert again["out"] == "b.json"
    assert again["expression"] == whole.proxy.text
    assert again["metrics"] == whole.proxy.metrics
    assert again["verdict"] == [finding.to_json() for finding in whole.verdict]
    assert again["summary"] == whole.summary


def test_a_stopped_search_goes_on_as_it_was_asked_for(searched_once: Any) -> None:
    with pytest.raises(InterruptedRunError, match="--resume"):
        searched(run_dir="b", out="b.json", stop=lambda: True)
    again = autoprox.search(resume=True, run_dir="b", workers=1, progress=autoprox.silent)
    assert again.out == Path("b.json")
    assert (again.architecture, again.records) == (searched_once.architecture, searched_once.records)


def test_ranking_is_that_of_the_command(capsys: Captured) -> None:
    found = autoprox.rank(
        ["width", autoprox.Proxy.load("depth * width")], datasets=["digits"], spaces="pit-nano", workers=1
    )
    asked = ["rank", "--proxy", "width", "depth * width", "--datasets", "digits", "--spaces", "pit-nano"]
    assert prints(capsys, asked) == {"rows": list(found.rows), "proxies": list(found.proxies)}
    assert [row["proxy"] for row in found.records][:2] == ["width", "depth * width"]
    assert rows_of(found) == 1 + len(found.rows)
    assert "width: " in str(found)
    assert len(autoprox.rank("width", datasets="digits", spaces="pit-nano").rows) < len(found.rows)


def test_search_is_that_of_the_command_and_its_result_can_be_scored(capsys: Captured) -> None:
    found = searched()
    asked = ["search", "--proxy", "snip", "--space", "pit-nano", "--max-params", "20K", "--evaluations", "12"]
    command = prints(capsys, [*asked, "--workers", "1", "--out", "other.json"])
    for name in ("architecture", "params", "flops", "score"):
        assert command[name] == getattr(found, name)
    assert len(found.records) == 12
    assert max(row["score"] for row in found.records) == found.score
    assert rows_of(found) == 4
    assert "winner" in str(found)
    assert sum(p.numel() for p in found.network().parameters()) == found.params

    assert autoprox.score(found, "snip") == autoprox.score("arch.json", "snip") == pytest.approx(found.score)
    scores = autoprox.score(["arch.json", found.found.network, Path("other.json")], "snip")
    assert [row["score"] for row in scores.records] == [pytest.approx(found.score)] * 3
    assert {row["params"] for row in scores.records} == {found.params}
    assert prints(capsys, ["score", "--proxy", "snip", "--model", "arch.json"])["scores"][0]["score"] == found.score
    assert rows_of(scores) == 4
    assert scores.best().model == "arch.json"


def test_a_preset_sets_what_is_not_given() -> None:
    with pytest.warns(UserWarning, match="tf-tas sets --algorithm random --max-params"):
        found = autoprox.search(
            "params", preset="tf-tas", space="autoformer-tiny", evaluations=8, workers=1, progress=autoprox.silent
        )
    assert found.found.provenance["algorithm"] == "random"


def test_a_found_proxy_is_searched_with_where_it_was_found() -> None:
    proxy = autoprox.Proxy.load("params")
    mine = replace(proxy, provenance={"spaces": ["autoformer-nano"]})
    found = autoprox.search(mine, evaluations=4, workers=1, progress=autoprox.silent)
    assert found.found.space == "autoformer-nano"


def test_training(here: Path, searched_once: Any) -> None:
    trained = autoprox.train(searched_once.out, "digits", epochs=1, out="trained", progress=autoprox.silent)
    assert 0 <= trained.test_accuracy <= 100
    assert json.loads((here / "trained" / "training.json").read_text())["test_accuracy"] == trained.test_accuracy


def test_an_explanation_is_that_of_the_command(capsys: Captured) -> None:
    found = autoprox.explain("depth * width", **SMALL, workers=1, progress=autoprox.silent)
    asked = ["explain", "depth * width", "--spaces", "pit-nano", "--datasets", "digits", "--workers", "1"]
    assert prints(capsys, asked) == found.to_json()
    assert "the score is" in str(found)
    assert rows_of(found) == 1 + len(found.records)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: autoprox.search(), InputError, "search needs a proxy"),
        (lambda: autoprox.search("snip", space="pit-nono"), InputError, "did you mean 'pit-nano'"),
        (lambda: autoprox.search("snip", preset="tf"), InputError, "there is no preset 'tf'; choose one of tf-tas"),
        (lambda: autoprox.rank("snipp"), InputError, "did you mean snip"),
        (lambda: autoprox.rank("snip", seed=-1), InputError, "the seed is -1; expected 0 or more"),
        (lambda: autoprox.discover(seed=-1), InputError, "the seed is -1; expected 0 or more"),
        (lambda: autoprox.rank("snip", split="train"), InputError, "expected one of all, test"),
        (lambda: autoprox.discover(datasets="cifar100"), MissingError, "bench add vit-bench-101"),
        (lambda: autoprox.discover(bench="nope"), InputError, "unknown benchmark 'nope'"),
        (lambda: autoprox.discover(fitness="most"), InputError, "there is no fitness 'most'"),
        (lambda: autoprox.train("none.json", "digits"), InputError, r"none\.json"),
        (lambda: autoprox.score("none.json", "snip"), InputError, r"none\.json"),
        (lambda: autoprox.score(3, "snip"), InputError, "a int cannot be scored; expected an architecture file"),  # type: ignore[call-overload]
        (lambda: autoprox.score("a.json", "snip", torch.ones(1)), InputError, "batch and adapter belong to modules"),
        (lambda: autoprox.score("a.json", "snip", augment=True), InputError, "noise images cannot be augmented"),
    ],
)
def test_mistakes(call: Any, error: type[Exception], message: str, here: Path) -> None:
    with pytest.raises(error, match=message):
        call()
    assert not (here / "runs").exists()


def test_without_pandas_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = autoprox.rank("width", datasets="digits", workers=1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingError, match="pip install pandas"):
        found.to_pandas()

    class Frames:
        @staticmethod
        def DataFrame(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802
            return rows

    monkeypatch.setitem(sys.modules, "pandas", Frames)  # type: ignore[arg-type]
    assert found.to_pandas() == found.records


def test_what_a_caller_has_set() -> None:
    assert changed(autoprox.search, {"seed": 0, "space": "pit-nano", "out": "arch.json", "batch_size": 4}) == [
        "space",
        "batch_size",
    ]


class Layers(torch.nn.Module):
    """A module that no adapter knows, unless it is told where the blocks are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList(torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0) for _ in range(2))
        self.head = torch.nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        logits: torch.Tensor = self.head(tokens.mean(1))
        return logits


def test_modules_are_scored_as_they_are() -> None:
    from autoprox.models import Adapter

    model = Layers()
    adapter = Adapter("layers", blocks=lambda m: list(m.layers), sites={"fc1": "linear1", "fc2": "linear2"})
    weights = sum(float(layer.linear1.weight.detach().double().norm()) for layer in model.layers)  # type: ignore[union-attr, operator]
    assert autoprox.score(model, "sum(l2(fc1.weight))", adapter=adapter) == pytest.approx(weights)
    batch = (torch.randn(4, 8, 3, 3), torch.tensor([0, 1, 2, 0]))
    found = autoprox.score([model], ["sum(l2(fc1.grad))", "depth"], batch, adapter=adapter)
    assert [row["proxy"] for row in found.records] == ["sum(l2(fc1.grad))", "depth"]
    assert [row["params"] for row in found.records] == [sum(p.numel() for p in model.parameters())] * 2
    assert found.best().scores[1] == 2
    with pytest.raises(InputError, match="snip has no score of Layers: no adapter knows the blocks of Layers"):
        autoprox.score(model, "snip")


def test_one_model_by_several_proxies_is_what_the_command_says(searched_once: Any, capsys: Captured) -> None:
    proxies = ["params", "snip", "normalise(sum(l2(qkv.weight)))"]
    found = autoprox.score([searched_once.out, searched_once], proxies, progress=autoprox.silent)
    asked = ["score", "--proxy", *proxies, "--model", str(searched_once.out)]
    assert [r["score"] for r in prints(capsys, asked)["scores"]] == [r["score"] for r in found.records[::2]]
    assert "ranks the given models of one space" in str(found)
    assert rows_of(found) == 3
