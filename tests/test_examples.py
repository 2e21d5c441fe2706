"""The examples run as they stand and print what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
PROMISES = {
    "quickstart.py": "test accuracy after one epoch",
    "rank_proxies.py": "sum(l2(proj.weight))",
    "score_timm_models.py": "so there is no map of tokens",
    "score_your_model.py": "deep ",
    "search_within_a_budget.py": "M parameters, score",
}


def test_every_example_is_listed() -> None:
    assert {path.name for path in FOLDER.glob("*.py")} == set(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_example(name: str, tmp_path: Path) -> None:
    start = [str(FOLDER / name)]
    if name == "score_timm_models.py":  # also where torchvision was built for another torch
        start = ["-c", f"import runpy, tests.libraries; runpy.run_path({start[0]!r})"]
    done = subprocess.run(
        [sys.executable, "-W", "error", *start],
        capture_output=True, text=True, cwd=tmp_path, check=False, env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert PROMISES[name] in done.stdout
    assert not list(tmp_path.iterdir())
