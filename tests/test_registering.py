"""Operators and spaces that a user registers: checked, refused, measured, known to workers, and never mixed up on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import autoprox
from autoprox import registrations
from autoprox.cli import run
from autoprox.errors import InputError
from autoprox.language.text import parse_proxy, to_latex
from autoprox.measuring.capture import CaptureSettings
from autoprox.spaces import AutoFormerSubSpace, get_space
from tests.commands import Captured, fails

MINE = AutoFormerSubSpace(
    name="mine", description="", embed_dims=(16, 24), heads=(2,), mlp_ratios=(1.0, 2.0), depths=(1, 2), patch_sizes=(8,),
    image_size=24, classes=10,
)  # fmt: skip
MODEL = ("mine", json.dumps({"embed_dim": 16, "depth": 1, "num_heads": [2], "mlp_ratio": [1.0]}))
TEXT = "sum(sum(softsign(abs(qkv.weight))))"


def soft_sign(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + x.abs())


def largest_gap(values: torch.Tensor) -> torch.Tensor:
    return values.amax(-1) - values.amin(-1)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for made in registrations.recorded():
        autoprox.forget(made.name)


def test_an_operator_is_used_as_a_built_in_one_is() -> None:
    autoprox.register_operator("softsign", soft_sign, increasing=True)
    autoprox.register_operator("softsign", soft_sign, increasing=True)  # as when a cell of a notebook runs again
    autoprox.register_space(MINE)
    network = get_space("mine").network(get_space("mine").parse(json.loads(MODEL[1])), classes=None, seed=0)
    weights = [p for name, p in network.named_parameters() if name.endswith("qkv.weight")]
    expected = sum(float(soft_sign(w.detach().double().abs()).sum()) for w in weights)
    assert autoprox.score(MODEL, TEXT) == pytest.approx(expected)
    assert "softsign" in to_latex(parse_proxy(TEXT))
    proxy = autoprox.Proxy.load(TEXT)
    proxy.save("mine.json")
    with pytest.raises(InputError, match="softsign is registered by you; export the proxy as expression"):
        proxy.export("python")
    assert proxy.export("expression").strip() == TEXT
    autoprox.forget("softsign")
    with pytest.raises(InputError, match=r"mine\.json: there is no operator 'softsign'.*autoprox.register_operator"):
        autoprox.Proxy.load("mine.json")


def test_a_reduction_of_the_blocks_alone() -> None:
    autoprox.register_space(MINE)
    autoprox.register_operator("gap", largest_gap, "reduction", levels=("block",))
    assert autoprox.score(MODEL, "gap(l2(qkv.weight))") == 0  # there is one block


def test_another_definition_of_a_name_does_not_read_what_the_first_one_has_measured(here: Path) -> None:
    autoprox.register_space(MINE)
    autoprox.register_operator("scaled", lambda x: 2 * x)
    first = autoprox.score(MODEL, "sum(sum(scaled(abs(qkv.weight))))")
    autoprox.forget("scaled")
    autoprox.register_operator("scaled", lambda x: 3 * x)
    assert autoprox.score(MODEL, "sum(sum(scaled(abs(qkv.weight))))") == pytest.approx(1.5 * first)
    assert set(CaptureSettings().to_json()["registered"]) == {"operator scaled", "space mine"}


@pytest.mark.parametrize(
    ("name", "function", "more", "message"),
    [
        ("exp", torch.exp, {}, "the name 'exp' is taken: it is built in"),
        ("depth", torch.exp, {}, "the name 'depth' is taken: it is built in"),
        ("Soft-Sign", soft_sign, {}, "needs a name of lower-case letters"),
        ("softsign", soft_sign, {"form": "elementwise"}, "there is no form 'elementwise'"),
        ("softsign", soft_sign, {"nonnegative": True}, "has negative values"),
        ("softsign", soft_sign, {"form": "reduction"}, "result has shape"),
        ("softsign", soft_sign, {"arity": 2}, "arity 2 does not fit"),
        ("softsign", lambda x: x.nan_to_num(), {}, "turns NaN into a number"),
        ("softsign", lambda x: x.add_(1), {}, "modifies its argument"),
        ("softsign", lambda x: x.reshape(7, 7), {}, "cannot be registered: "),
        ("softsign", soft_sign, {"evn": True}, "unexpected keyword argument 'evn'"),
    ],
)
def test_what_is_refused(name: str, function: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        autoprox.register_operator(name, function, **more)
    assert not registrations.recorded()


class Miscounted(AutoFormerSubSpace):
    def params(self, architecture: Any, classes: int | None = None) -> int:
        return 7


def test_spaces_that_are_refused() -> None:
    autoprox.register_space(MINE)
    fields = {name: getattr(MINE, name) for name in ("description", "embed_dims", "heads", "mlp_ratios", "depths")}
    fields |= {"patch_sizes": (4,), "image_size": 24, "classes": 10}
    for name, message in (
        ("mine", "registered, with another definition"),
        ("pit-nano", "the space is built in"),
        ("My space", "needs a name"),
    ):
        with pytest.raises(InputError, match=message):
            autoprox.register_space(AutoFormerSubSpace(name=name, **fields))
    with pytest.raises(InputError, match="counts 7 parameters of"):
        autoprox.register_space(Miscounted(name="other", **fields))
    with pytest.raises(InputError, match="a str is no search space"):
        autoprox.register_space("pit-nano")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no operator and no space 'other' is registered"):
        autoprox.forget("other")


SCRIPT = """
import torch, autoprox
from autoprox.measuring.workers import Workers

autoprox.register_operator("softsign", torch.nn.functional.softsign)

def depth(text):
    from autoprox.language.text import parse_proxy
    return len(parse_proxy(text).args)

if __name__ == "__main__":
    with Workers(2) as pool:
        print(list(pool.map(depth, ["sum(sum(softsign(qkv.weight)))"] * 2)))
        autoprox.register_operator("late", torch.tanh)
        list(pool.map(depth, ["sum(sum(late(qkv.weight)))"] * 2))
"""


def test_worker_processes_know_what_a_script_registers_at_its_top_level(here: Path) -> None:
    (here / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False, cwd=here)
    assert done.stdout == "[1, 1]\n", done.stderr
    assert done.returncode != 0
    assert "a worker process does not know the operator 'late': it is registered in __main__" in done.stderr


def test_the_command_says_what_is_missing(here: Path, capsys: Captured) -> None:
    autoprox.register_operator("softsign", soft_sign)
    autoprox.Proxy.load(TEXT).save("mine.json")
    autoprox.forget("softsign")
    code, line = fails(capsys, ["score", "--proxy", "mine.json", "--model", "none.json"])
    assert code == 2
    assert "there is no operator 'softsign'" in line
    assert run(["proxies"]) == 0
