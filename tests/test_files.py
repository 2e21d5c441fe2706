"""Files that are written at once or not at all, and what stands in their way."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from autoprox.errors import InputError, MissingError
from autoprox.files import check_writable, read_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["best.json"]


def test_the_file_behind_a_link_is_written(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "best.json").symlink_to("results/best.json")
    for text in ("first", "second"):
        check_writable(tmp_path / "best.json")
        write_text(tmp_path / "best.json", text)
        assert (tmp_path / "results" / "best.json").read_text() == text
    assert (tmp_path / "best.json").is_symlink()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "text")
    reader.join(10)
    assert found == ["text"]
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent/x", "there is no folder"),
        ("folder", "it is a folder"),
        ("file/x", "there is no folder"),
        ("x" * 300, "File name too long"),
        ("/proc/x", "No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_known_before(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    if name.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    with pytest.raises(MissingError, match=f"cannot write .*{message}.*; name another file") as caught:
        check_writable(tmp_path / name)
    assert len(str(caught.value)) < 300
    with pytest.raises(MissingError, match="cannot write"):
        write_text(tmp_path / name, "text")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_file_beyond_all_reason_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(2**40)  # takes no room
    with pytest.raises(InputError, match="it has more than 256 MiB"):
        read_json(tmp_path / "huge.json", "proxy file")
