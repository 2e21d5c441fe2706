"""Run folders: resuming what was finished, dropping what was not, refusing what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoprox.errors import InputError, MissingError
from autoprox.run_folder import RunFolder, next_folder


def test_a_fresh_run_has_no_state(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "run", "discover", {"seed": 1}, resume=False).load() == (None, [])


def test_resume_sees_state_and_journal(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", "discover", {"seed": 1}, resume=False)
    first.save({"step": 1}, [{"a": 1}, {"b": 2.5}])
    first.save({"step": 2}, [{"c": "τ"}])
    second = RunFolder(tmp_path / "run", "discover", {"seed": 1}, resume=True)
    assert second.load() == ({"step": 2}, [{"a": 1}, {"b": 2.5}, {"c": "τ"}])


def test_journal_lines_without_a_state_are_made_again(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", "discover", {}, resume=False)
    first.save({"step": 1}, [{"a": "τ"}])
    with (tmp_path / "run" / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"a": 2}\n{"half a li')
    second = RunFolder(tmp_path / "run", "discover", {}, resume=True)
    assert second.load() == ({"step": 1}, [{"a": "τ"}])
    second.save({"step": 2}, [{"a": 3}])
    third = RunFolder(tmp_path / "run", "discover", {}, resume=True)
    assert third.load() == ({"step": 2}, [{"a": "τ"}, {"a": 3}])


def test_a_lost_journal_is_an_error(tmp_path: Path) -> None:
    RunFolder(tmp_path, "discover", {}, resume=False).save({}, [{"a": 1}, {"a": 2}])
    (tmp_path / "journal.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(InputError, match="damaged: expected 2 lines, found 1"):
        RunFolder(tmp_path, "discover", {}, resume=True).load()


@pytest.mark.parametrize("name", ["state.json", "journal.jsonl"])
def test_damaged_files_are_errors_not_tracebacks(tmp_path: Path, name: str) -> None:
    RunFolder(tmp_path, "discover", {}, resume=False).save({}, [{"a": 1}])
    (tmp_path / name).write_text("{oops\n")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        RunFolder(tmp_path, "discover", {}, resume=True).load()


def test_a_second_run_needs_resume(tmp_path: Path) -> None:
    RunFolder(tmp_path, "discover", {}, resume=False)
    with pytest.raises(InputError, match="already holds a run; continue it with --resume"):
        RunFolder(tmp_path, "discover", {}, resume=False)


def test_resume_needs_a_run_of_this_kind_with_these_settings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to resume"):
        RunFolder(tmp_path / "none", "discover", {}, resume=True)
    RunFolder(tmp_path, "discover", {"seed": 1}, resume=False)
    with pytest.raises(InputError, match="no run of this command"):
        RunFolder(tmp_path, "search", {"seed": 1}, resume=True)
    with pytest.raises(InputError, match="has seed = 1, now 2 is asked for"):
        RunFolder(tmp_path, "discover", {"seed": 2}, resume=True)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="cannot make the run folder"):
        RunFolder(tmp_path / "file" / "run", "discover", {}, resume=False)


def test_next_folder_counts_up(tmp_path: Path) -> None:
    assert next_folder("discover", False, tmp_path).name == "discover-1"
    for name in ("discover-1", "discover-9", "discover-x", "search-12"):
        (tmp_path / name).mkdir()
    assert next_folder("discover", False, tmp_path).name == "discover-10"
    assert next_folder("discover", True, tmp_path).name == "discover-9"
    with pytest.raises(InputError, match=r"no .*rank-N to resume"):
        next_folder("rank", True, tmp_path)


def test_state_is_strict_json(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "discover", {}, resume=False)
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.save({"value": float("nan")})
    folder.save({"value": 1})
    assert json.loads((tmp_path / "state.json").read_text())["state"] == {"value": 1}
