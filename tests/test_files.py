"""Files that are written at once or not at all, and what stands in their way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autoprox.errors import InputError, MissingError
from autoprox.files import check_writable, locked, read_json, remove_unfinished, write_text


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


KILLED = """
import os, signal, sys
from pathlib import Path
from autoprox.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_the_old_file_and_what_it_had_begun_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "best [1].json"
    write_text(path, "old")
    others = [".best [1].json.bak", ".best [1].csv.k_9x0a1z", "best [1].json.k_9x0a1z"]
    for name in others:
        (tmp_path / name).write_text("")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, cwd=Path(__file__).parent.parent)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 5
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, path.name])


HOLDER = """
import sys
from pathlib import Path
from autoprox.files import locked
with locked(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_one_holds_a_lock_and_the_others_wait_until_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"mine\n"
    with pytest.raises(BlockingIOError), locked(path, wait=False):
        pass
    got: list[str] = []

    def wait() -> None:
        with locked(path):
            got.append("mine")

    waiter = threading.Thread(target=wait)
    waiter.start()
    waiter.join(0.2)
    assert got == []
    holder.kill()
    holder.communicate()
    waiter.join(10)
    assert got == ["mine"]
    with locked(path, wait=False), pytest.raises(BlockingIOError), locked(path, wait=False):
        pass
