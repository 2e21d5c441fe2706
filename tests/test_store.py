"""The memo of features: what is written is read back, by any number of writers; trouble is named."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoprox.errors import MissingError
from autoprox.measuring.store import FeatureStore, home_folder

ROOT = Path(__file__).parent.parent


def bits(found: dict) -> dict:
    return {network: {name: values.tobytes() for name, values in row.items()} for network, row in found.items()}


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
tables = st.dictionaries(texts, st.dictionaries(texts, arrays(np.float64, st.integers(0, 5)), max_size=3), max_size=3)


@given(tables, texts)
def test_what_is_written_is_read_back_bit_for_bit(tmp_path_factory, values, settings):
    path = tmp_path_factory.mktemp("memo") / "new" / "memo.sqlite"
    features = sorted({name for row in values.values() for name in row})
    with FeatureStore(path) as store:
        store.write(settings, values)
    with FeatureStore(path) as store:
        assert bits(store.read(settings, list(values), features)) == bits(values)
        assert store.read(settings + "!", list(values), features) == {network: {} for network in values}
        assert store.read(settings, ["elsewhere"], features)["elsewhere"] == {}


def test_only_what_is_asked_for_is_returned_and_later_values_count(tmp_path):
    with FeatureStore(tmp_path / "memo.sqlite") as store:
        store.write("s", {"a": {"f": np.ones(2), "g": np.zeros(3)}, "b": {"f": np.arange(4.0)}})
        store.write("s", {"a": {"f": np.full(2, np.nan)}})
        found = store.read("s", ["a", "c"], ["f", "h"])
    assert set(found) == {"a", "c"}
    assert found["c"] == {}
    assert set(found["a"]) == {"f"}
    assert np.isnan(found["a"]["f"]).all()


def test_a_write_that_fails_leaves_nothing_of_itself(tmp_path):
    with FeatureStore(tmp_path / "memo.sqlite") as store:
        with pytest.raises(AttributeError):
            store.write("s", {"a": {"f": np.ones(2)}, "b": {"f": "not an array"}})
        assert store.read("s", ["a", "b"], ["f"]) == {"a": {}, "b": {}}
        store.write("s", {"a": {"f": np.ones(2)}})
        assert store.read("s", ["a"], ["f"])["a"]["f"].tolist() == [1, 1]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from autoprox.measuring.store import FeatureStore
who = int(sys.argv[2])
for i in range(40):
    with FeatureStore(Path(sys.argv[1])) as store:
        store.write("s", {f"n{who}": {f"f{i}": np.full(3, who + i / 100)}, "shared": {f"f{i}": np.arange(5.0)}})
"""


def test_two_processes_write_at_once(tmp_path):
    path = tmp_path / "memo.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    running = [subprocess.Popen([*command, str(who)], cwd=ROOT, stderr=subprocess.PIPE) for who in (1, 2)]
    for process in running:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr.decode()
    with FeatureStore(path) as store:
        found = store.read("s", ["n1", "n2", "shared"], [f"f{i}" for i in range(40)])
    for who in (1, 2):
        assert {name: values.tolist() for name, values in found[f"n{who}"].items()} == {
            f"f{i}": [who + i / 100] * 3 for i in range(40)
        }
    assert all(values.tolist() == [0, 1, 2, 3, 4] for values in found["shared"].values())
    assert len(found["shared"]) == 40


def test_many_threads_open_and_write_a_new_file_at_once(tmp_path):
    gate, troubles = threading.Barrier(8), []

    def work(who: int) -> None:
        gate.wait()
        try:
            for i in range(10):
                with FeatureStore(tmp_path / f"memo{i}.sqlite") as store:
                    store.write("s", {f"n{who}": {"f": np.full(2, float(who))}})
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    for i in range(10):
        with FeatureStore(tmp_path / f"memo{i}.sqlite") as store:
            found = store.read("s", [f"n{who}" for who in range(8)], ["f"])
        assert [found[f"n{who}"]["f"].tolist() for who in range(8)] == [[who, who] for who in range(8)]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MissingError, match=r"memo of measured features .*memo.sqlite cannot be used .*AUTOPROX_HOME"):
        FeatureStore(tmp_path / "file" / "memo.sqlite")
    with pytest.raises(MissingError, match="unable to open database file"):
        FeatureStore(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "memo.sqlite"
    path.write_bytes(b"this was a memo once " * 100)
    with pytest.raises(MissingError, match=r"not a database.*it may be deleted"):
        FeatureStore(path)


def test_a_file_damaged_inside_is_named(tmp_path):
    path = tmp_path / "memo.sqlite"
    with FeatureStore(path) as store:
        store.write("s", {f"n{i}": {"f": np.arange(600.0)} for i in range(50)})
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(MissingError, match=r"memo.sqlite cannot be used"), FeatureStore(path) as store:
        store.read("s", ["n1"], ["f"])


def test_values_of_a_wrong_length_are_named(tmp_path):
    path = tmp_path / "memo.sqlite"
    with FeatureStore(path) as store:
        store.write("s", {"n": {"f": np.ones(2)}})
    database = sqlite3.connect(path)
    database.execute("UPDATE numbers SET blocks = ?", (b"\x00" * 11,))
    database.commit()
    database.close()
    with FeatureStore(path) as store, pytest.raises(MissingError, match=r"memo.sqlite cannot be used"):
        store.read("s", ["n"], ["f"])


def test_a_read_only_file_is_named(tmp_path):
    with FeatureStore(tmp_path / "memo.sqlite") as store:
        store._db.execute("PRAGMA query_only = 1")
        with pytest.raises(MissingError, match="readonly database"):
            store.write("s", {"n": {"f": np.ones(2)}})


def test_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path))
    assert home_folder() == tmp_path
    monkeypatch.setenv("AUTOPROX_HOME", "~/own")
    assert home_folder() == Path.home() / "own"
    monkeypatch.delenv("AUTOPROX_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert home_folder() == tmp_path / "data" / "autoprox"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert home_folder() == Path.home() / ".local" / "share" / "autoprox"
