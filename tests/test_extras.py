"""Without an extra the program works, and what needs one says which, in one sentence and without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Has the libraries of all extras missing, runs commands in one process, and prints how each ended.
WITHOUT = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import PathFinder

class Present(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {missing} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Present
from autoprox.cli import run
ended = []
for arguments in {commands}:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = run(arguments)
    ended.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(ended))
"""

SEARCH = ["search", "--proxy", "params", "--space", "pit-nano", "--evaluations", "8", "--workers", "1"]
SCORE = ["score", "--proxy", "params", "--workers", "1", "--model"]

# extra: the commands that need it
NEEDING = {
    "plot": [["report", "run"]],
    "vision": [
        [*SCORE, "timm:deit_tiny_patch16_224"],
        [*SEARCH, "--dataset", "./images"],
        ["train", "arch.json", "--dataset", "./images", "--epochs", "1"],
    ],
    "datasets": [
        [*SEARCH, "--dataset", "hf:saved"],
        ["train", "arch.json", "--dataset", "hf:saved", "--epochs", "1"],
        [*SCORE, "arch.json", "--dataset", "hf:saved"],
    ],
    "ray": [[*SEARCH[:-2], "--ray", "auto"]],
    "mlflow": [
        [*SEARCH, "--track", "mlflow:log"],
        ["train", "arch.json", "--dataset", "digits", "--track", "mlflow:log"],
    ],
    "nlp": [[*SCORE, "hf:bert"]],
    "tracking": [
        [*SEARCH, "--track", "tensorboard:log"],
        ["train", "arch.json", "--dataset", "digits", "--track", "tensorboard:log"],
    ],
}
MODULES = {"pillow": "PIL", "mlflow-skinny": "mlflow"}  # where a distribution has another name


def extras() -> dict[str, list[str]]:
    """{extra: its distributions}, of those for users."""
    read = ConfigParser()
    read.read(ROOT / "setup.cfg", encoding="utf-8")
    found = {name: text.split() for name, text in read["options.extras_require"].items() if name != "test"}
    return {name: [line.partition(">=")[0] for line in lines] for name, lines in found.items()}


MISSING = sorted({MODULES.get(name, name) for names in extras().values() for name in names} | {"pandas"})


FIRST = [*SEARCH, "--dataset", "digits", "--run-dir", "run"]
NEEDING_NONE = [FIRST, ["primitives"], ["export", "snip"], [*SCORE, "arch.json"]]
TABLE = [(extra, arguments) for extra, commands in NEEDING.items() for arguments in commands]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """{command: exit code, standard output, standard error} of all commands, where no extra is installed."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("extras")
    for label in ("a", "b"):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (24, 24), (number, 0, 0)).save(folder / "images" / label / f"{number}.png")
    commands = [*NEEDING_NONE, *(arguments for _, arguments in TABLE)]
    code = WITHOUT.format(missing=set(MISSING), commands=commands)
    env = {**os.environ, "AUTOPROX_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder, env=env
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {" ".join(arguments): tuple(end) for arguments, end in zip(commands, found, strict=True)}


def test_every_extra_is_in_the_table() -> None:
    assert set(NEEDING) == set(extras())


@pytest.mark.parametrize(("extra", "arguments"), TABLE)
def test_what_needs_an_extra_names_it(extra: str, arguments: list[str], ended: dict[str, tuple[int, str, str]]) -> None:
    code, out, err = ended[" ".join(arguments)]
    assert code == 3, err
    assert out == ""
    (line,) = err.splitlines()
    assert f"pip install 'autoprox-vit[{extra}]'" in line


@pytest.mark.parametrize("arguments", NEEDING_NONE)
def test_what_needs_none_works_without_any(arguments: list[str], ended: dict[str, tuple[int, str, str]]) -> None:
    code, _, err = ended[" ".join(arguments)]
    assert code == 0, err
    assert "Traceback" not in err
