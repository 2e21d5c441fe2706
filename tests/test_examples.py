"""The examples run as they stand and print what they promise."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
PROMISES = {
    "quickstart.py": "test accuracy after one epoch",
    "rank_proxies.py": "sum(l2(proj.weight))",
    "score_your_model.py": "base_dim",
    "search_within_a_budget.py": "M parameters, score",
}


def test_every_example_is_listed() -> None:
    assert {path.name for path in FOLDER.glob("*.py")} == set(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_example(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / name)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert PROMISES[name] in done.stdout
    assert not list(tmp_path.iterdir())
