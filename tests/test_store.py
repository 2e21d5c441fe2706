"""The memo of features: what is written is read back, by any number of writers; damage and trouble are named."""

import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoprox.errors import MissingError
from autoprox.measuring.store import DAMAGED, FeatureStore, home_folder
from autoprox.measuring.workers import Notice

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


# Damage: said, set aside, measured again; never wrong numbers


def filled(path: Path, networks: int = 50, length: int = 600) -> dict:
    values = {f"n{i}": {"f": np.arange(float(length)) + i, "g": np.ones(3) * i} for i in range(networks)}
    with FeatureStore(path) as store:
        store.write("s", values)
    return values


def test_what_is_no_database_is_set_aside(tmp_path):
    path = tmp_path / "memo.sqlite"
    path.write_bytes(b"this was a memo once " * 100)
    with (
        pytest.warns(Notice, match=r"memo.sqlite is damaged \(file is not a database\); it is set aside as "),
        FeatureStore(path) as store,
    ):
        store.write("s", {"n": {"f": np.ones(2)}})
    assert (tmp_path / DAMAGED).read_bytes().startswith(b"this was a memo once")
    with FeatureStore(path) as store:
        assert store.read("s", ["n"], ["f"])["n"]["f"].tolist() == [1, 1]


@pytest.mark.parametrize("at_work", [FeatureStore.read, FeatureStore.write])
def test_damage_inside_is_noticed_where_it_is_met(at_work, tmp_path):
    path = tmp_path / "memo.sqlite"
    values = filled(path)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with FeatureStore(path) as store:
        with pytest.warns(Notice, match="what was in it is measured again"):
            at_work(store, "s", *((["n1"], ["f"]) if at_work is FeatureStore.read else ({"new": values["n1"]},)))
        store.write("s", {"newer": values["n2"]})
        found = store.read("s", ["new", "newer"], ["f", "g"])
    assert bits(found)["newer"] == bits(values)["n2"]
    assert (bits(found)["new"] == bits(values)["n1"]) is (at_work is FeatureStore.write)
    assert (tmp_path / DAMAGED).stat().st_size == len(content)


@pytest.mark.parametrize("blocks", ["x'00'", "x'0000000000000000000000'", "3.5", "''", "zeroblob(4812)"])
def test_a_number_that_is_not_as_it_was_written_is_unknown(blocks, tmp_path):
    path = tmp_path / "memo.sqlite"
    values = filled(path)
    database = sqlite3.connect(path)
    database.execute(
        f"UPDATE numbers SET blocks = {blocks} WHERE network = (SELECT id FROM networks WHERE name LIKE '%|n7') "
        "AND feature = (SELECT id FROM features WHERE name = 'f')"
    )
    database.commit()
    database.close()
    with FeatureStore(path) as store:
        with pytest.warns(
            Notice, match="numbers of 1 networks in .*memo.sqlite are damaged and will be measured again"
        ):
            found = store.read("s", list(values), ["f", "g"])
        assert set(found["n7"]) == {"g"}
        assert bits({**found, "n7": {}}) == bits({**values, "n7": {}})
        store.write("s", {"n7": values["n7"]})
        assert bits(store.read("s", list(values), ["f", "g"])) == bits(values)


def test_numbers_in_the_wrong_place_are_unknown(tmp_path):
    path = tmp_path / "memo.sqlite"
    values = filled(path, 2)
    database = sqlite3.connect(path)
    for old, new in (("n0", "x"), ("n1", "n0"), ("x", "n1")):
        database.execute("UPDATE networks SET name = replace(name, ?, ?)", (old, new))
    database.commit()
    database.close()
    with pytest.warns(Notice, match="numbers of 2 networks"), FeatureStore(path) as store:
        assert store.read("s", list(values), ["f", "g"]) == {"n0": {}, "n1": {}}


damages = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=64)), max_size=4)


@given(cut=st.one_of(st.none(), st.floats(0, 1)), damages=damages)
def test_whatever_happens_to_the_file_no_wrong_number_is_read(tmp_path_factory, cut, damages):
    path = tmp_path_factory.mktemp("memo") / "memo.sqlite"
    values = filled(path, 12, 100)
    before = path.read_bytes()
    content = bytearray(before)
    for place, garbage in damages:
        start = int(place * len(content))
        content[start : start + len(garbage)] = garbage
    content[60:64] = before[60:64]  # the format: a newer one is refused
    path.write_bytes(content if cut is None else content[: int(cut * len(content))])
    with warnings.catch_warnings(action="ignore", category=Notice), FeatureStore(path) as store:
        found = store.read("s", list(values), ["f", "g"])
        store.write("s", values)
        assert bits(store.read("s", list(values), ["f", "g"])) == bits(values)
    for network, row in found.items():
        for feature, known in row.items():
            assert known.tobytes() == values[network][feature].tobytes()


def test_two_processes_meet_the_same_damage(tmp_path):
    path = tmp_path / "memo.sqlite"
    values = filled(path)
    with FeatureStore(path) as one, FeatureStore(path) as two:
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (len(content) - 4096))
        with pytest.warns(Notice) as told:
            one.read("s", list(values), ["f"])
        assert len(told) == 1
        one.write("s", {"first": values["n1"]})
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the file was set aside already: the second goes over to the new one
            assert set(two.read("s", ["first"], ["g"])) == {"first"}
            two.write("s", {"second": values["n2"]})
    with FeatureStore(path) as store:
        assert bits(store.read("s", ["first"], ["f", "g"]))["first"] == bits(values)["n1"]


def test_a_memo_that_is_deleted_while_it_is_used_costs_nothing_else(tmp_path):
    path = tmp_path / "cache" / "memo.sqlite"
    values = filled(path)
    with FeatureStore(path) as store:
        shutil.rmtree(path.parent)
        store.write("s", {"new": values["n1"]})
        assert set(store.read("s", ["n1"], ["f"])["n1"]) in ({"f"}, set())
    with FeatureStore(path) as store:
        store.write("s", values)
        assert bits(store.read("s", list(values), ["f", "g"])) == bits(values)


# Formats


def test_the_first_format_is_brought_up_to_date(tmp_path):
    path = tmp_path / "memo.sqlite"
    values = filled(path)
    database = sqlite3.connect(path)
    database.execute("UPDATE numbers SET blocks = substr(blocks, 1, length(blocks) - 4)")  # as it was without checksums
    database.execute("PRAGMA user_version = 0")
    database.commit()
    database.close()
    with (
        pytest.warns(Notice, match=r"memo.sqlite has format 0 and is brought up to format 1"),
        FeatureStore(path) as store,
    ):
        assert bits(store.read("s", list(values), ["f", "g"])) == bits(values)
    with FeatureStore(path) as store:
        assert bits(store.read("s", list(values), ["f", "g"])) == bits(values)


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "memo.sqlite"
    filled(path)
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 7")
    database.close()
    before = path.read_bytes()
    with pytest.raises(MissingError, match=r"has format 7, and this autoprox knows formats up to 1; use the newer"):
        FeatureStore(path)
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_set_aside(tmp_path):
    path = tmp_path / "memo.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE bookmarks (address TEXT)")
    database.execute("INSERT INTO bookmarks VALUES ('there')")
    database.commit()
    database.close()
    with pytest.warns(Notice, match="no such table: numbers"), FeatureStore(path) as store:
        store.write("s", {"n": {"f": np.ones(2)}})
    assert sqlite3.connect(tmp_path / DAMAGED).execute("SELECT address FROM bookmarks").fetchone() == ("there",)


# Size


def test_the_first_measured_are_forgotten_first(tmp_path):
    path = tmp_path / "memo.sqlite"
    values = filled(path, 200)
    with FeatureStore(path) as store:
        networks, numbers, size = store.contents()
        assert (networks, numbers) == (200, 400)
        assert size == path.stat().st_size > 200 * 4800
        store.shrink(size)
        assert store.contents() == (networks, numbers, size)
        store.shrink(500_000)
        left, numbers, size = store.contents()
        assert 60 < left < 110
        assert numbers == 2 * left
        assert size == path.stat().st_size <= 500_000
        known = store.read("s", list(values), ["f", "g"])
        assert [network for network, row in known.items() if row] == list(values)[-left:]
        store.shrink(0)
        assert store.contents()[:2] == (0, 0)
        store.write("s", values)
        assert bits(store.read("s", list(values), ["f", "g"])) == bits(values)


# Disks


FULL = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from autoprox.errors import MissingError
from autoprox.measuring.store import FeatureStore
warnings.simplefilter("error")
values = {f"n{i}": {"f": np.arange(100.0)} for i in range(20)}
with FeatureStore(Path(sys.argv[1])) as store:
    store.write("s", values)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    for number in range(100):
        try:
            store.write("s", {f"more{number}": {"f": np.arange(1000.0)}})
        except MissingError as error:
            print(error)
            break
    known = store.read("s", list(values), ["f"])
    assert all((row["f"] == values["n0"]["f"]).all() for row in known.values())
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.write("s", {"last": {"f": np.arange(1000.0)}})
"""


def test_a_full_disk_costs_only_what_did_not_fit(tmp_path):
    pytest.importorskip("resource", reason="this system cannot limit the size of a file")
    path = tmp_path / "memo.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"memo.sqlite cannot be used \(.*\); free some disk space, ", done.stdout)
    with FeatureStore(path) as store:
        found = store.read("s", ["n3", "last"], ["f"])
    assert [len(found[name]["f"]) for name in ("n3", "last")] == [100, 1000]


def test_a_read_only_file_is_named(tmp_path):
    with FeatureStore(tmp_path / "memo.sqlite") as store:
        store._db.execute("PRAGMA query_only = 1")
        with pytest.raises(MissingError, match="readonly database"):
            store.write("s", {"n": {"f": np.ones(2)}})


def test_a_memo_on_a_read_only_disk_is_read(monkeypatch, tmp_path):
    path = tmp_path / "memo.sqlite"
    values = filled(path, 3)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr("autoprox.measuring.database.os.access", lambda *_: False)
    with pytest.warns(Notice, match="cannot be written; what is in it is used, and what is measured now is not kept"):
        store = FeatureStore(path)
    with store:
        assert bits(store.read("s", list(values), ["f", "g"])) == bits(values)
        store.write("s", {"more": {"f": np.ones(2)}})
        assert store.read("s", ["more"], ["f"]) == {"more": {}}
        with pytest.raises(MissingError, match="readonly database"):
            store.shrink(0)
    with FeatureStore(path) as store:  # said once
        assert store.contents()[0] == 3
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_memo_on_a_read_only_disk_is_never_mended(monkeypatch, tmp_path):
    path = tmp_path / "memo.sqlite"
    monkeypatch.setattr("autoprox.measuring.database.os.access", lambda *_: False)
    for content in (b"no database" * 1000, b""):
        path.write_bytes(content)
        with pytest.raises(MissingError, match=r"memo\.sqlite cannot be used"):
            FeatureStore(path)
        assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


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
