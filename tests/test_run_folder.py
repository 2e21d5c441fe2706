"""Run folders: resuming what was finished, dropping what was not, refusing what does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autoprox.errors import InputError, MissingError
from autoprox.run_folder import RunFolder, claimed, new_folder, newest_folder


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


def test_a_save_that_failed_can_be_followed_by_another(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of a file")
    folder = RunFolder(tmp_path, "build", {}, resume=False)
    folder.save({"step": 1}, [{"a": 1}])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit, line in (
        (500, "x" * 600),
        (200, "x" * 100),
    ):  # the journal does not fit; the journal fits, the state does not
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(MissingError, match=r"cannot write .*--resume"):
                folder.save({"step": 2, "text": "y" * 200}, [{"b": line}])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert RunFolder(tmp_path, "build", {}, resume=True).load() == ({"step": 1}, [{"a": 1}])
        folder.save({"step": 1})  # as a run does that still has something to say at its end
        assert RunFolder(tmp_path, "build", {}, resume=True).load() == ({"step": 1}, [{"a": 1}])
    folder.save({"step": 2}, [{"c": 3}])
    assert RunFolder(tmp_path, "build", {}, resume=True).load() == ({"step": 2}, [{"a": 1}, {"c": 3}])
    assert sorted(os.listdir(tmp_path)) == ["journal.jsonl", "settings.json", "state.json"]


def test_what_a_kill_has_left_half_written_goes_away(tmp_path: Path) -> None:
    RunFolder(tmp_path, "build", {}, resume=False).save({"step": 1}, [{"a": 1}])
    (tmp_path / ".state.json.k_9x0a1z").write_text('{"lines": 1')
    (tmp_path / ".scores.jsonl.6yoq2mh0").write_text('{"score": 1')
    (tmp_path / ".settings").write_text("of somebody else")
    RunFolder(tmp_path, "build", {}, resume=True).load()
    assert sorted(os.listdir(tmp_path)) == [".settings", "journal.jsonl", "settings.json", "state.json"]


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


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("journal.jsonl", '{"a": 1}', '{"b": 1}'),
        ("journal.jsonl", '{"a": 1}', "3"),
        ("state.json", '"step": 1', '"step": 2'),
        ("state.json", '"step": 1', '"seconds": "x"'),
        ("state.json", '"step": 1', '"step": NaN'),
        ("state.json", '"lines": 1', '"lines": 0'),
        ("state.json", '"lines": 1', '"lines": -1'),
        ("state.json", '"lines": 1', '"lines": true'),
        ("state.json", '"state": {', '"stage": {'),
        ("settings.json", '"seed": 1', '"seed": 2'),
        ("settings.json", '"version": 1', '"version": 2'),
        ("settings.json", '"settings": {', '"options": {'),
    ],
)
def test_what_the_run_did_not_write_is_refused(tmp_path: Path, name: str, old: str, new: str) -> None:
    RunFolder(tmp_path, "discover", {"seed": 1}, resume=False).save({"step": 1}, [{"a": 1}])
    path = tmp_path / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=r"is damaged|has seed = 2|command and version"):
        RunFolder(tmp_path, "discover", {"seed": 1}, resume=True).load()


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
    RunFolder(tmp_path / "inner", "train", {"recipe": {"epochs": 60, "schedule": {"warmup": 0.1}}}, resume=False)
    for recipe, said in (
        ({"epochs": 70, "schedule": {"warmup": 0.1}}, "has recipe.epochs = 60, now 70 is asked for"),
        ({"epochs": 60, "schedule": {}}, "has recipe.schedule.warmup = 0.1, now null is asked for"),
        (None, "has recipe = .*, now null is asked for"),
    ):
        with pytest.raises(InputError, match=said):
            RunFolder(tmp_path / "inner", "train", {"recipe": recipe}, resume=True)
    with pytest.raises(InputError, match="has seed = 1, now 2 is asked for"):
        RunFolder(tmp_path, "discover", {"seed": 2}, resume=True)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="cannot make the run folder"):
        RunFolder(tmp_path / "file" / "run", "discover", {}, resume=False)


def test_a_new_folder_counts_up_and_the_newest_holds_a_run(tmp_path: Path) -> None:
    assert new_folder("discover", tmp_path).name == "discover-1"
    for name in ("discover-9", "discover-x", "search-12"):
        (tmp_path / name).mkdir()
    assert new_folder("discover", tmp_path).name == "discover-10"
    with pytest.raises(
        InputError, match=r"there is no discover run in .* to resume"
    ):  # they are empty: their runs never started
        newest_folder("discover", tmp_path)
    for name in ("discover-1", "discover-9"):
        RunFolder(tmp_path / name, "discover", {}, resume=False)
    assert newest_folder("discover", tmp_path).name == "discover-9"
    RunFolder(tmp_path / "mine", "discover", {}, resume=False)
    RunFolder(tmp_path / "other", "search", {}, resume=False)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "settings.json").write_text("[[")
    assert newest_folder("discover", tmp_path).name == "mine"


def test_each_of_many_at_once_gets_a_new_folder_of_its_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: new_folder("search", tmp_path / "runs"), range(16)))
    assert len({folder.name for folder in folders}) == 16


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    take = (
        "import sys; from autoprox.run_folder import *; from pathlib import Path\nwith claimed(Path(sys.argv[1])): pass"
    )
    other = [sys.executable, "-c", take, str(tmp_path)]
    with claimed(tmp_path):
        refused = subprocess.run(other, capture_output=True, text=True, check=False)
    assert "InputError: another process is at work in" in refused.stderr
    assert subprocess.run(other, check=False).returncode == 0


def test_what_cannot_be_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(MissingError, match="cannot make the run folder"):
        new_folder("search", tmp_path / "runs")
    with pytest.raises(MissingError, match="cannot make the run folder"), claimed(tmp_path / "runs"):
        pass


def test_state_is_strict_json(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "discover", {}, resume=False)
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.save({"value": float("nan")})
    folder.save({"value": 1})
    assert json.loads((tmp_path / "state.json").read_text())["state"] == {"value": 1}
