"""The table itself and its stored format."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoprox.errors import InputError
from autoprox.ranking.problem import gather
from benchdata import Benchmark, MissingTableError, Row, TableError, load_benchmark, write_benchmark

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)
JSON = st.recursive(
    st.booleans() | st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def row(space: str = "s", index: int = 0, origin: str = "file", **accuracy: float) -> Row:
    pairs = {(name.split("__")[0], name.split("__")[1]): value for name, value in accuracy.items()}
    return Row(space, {"depth": index}, pairs or {("cifar100", "kd"): 50.0 + index}, origin)


def table(*rows: Row, **fields: object) -> Benchmark:
    usual: dict[str, object] = {
        "name": "small",
        "title": "A small table",
        "source": "here",
        "licence": "CC0-1.0",
        "default_label": "kd",
        "default_datasets": ("cifar100",),
        "defects": ("None known.",),
    }
    return Benchmark(**{**usual, **fields}, rows=rows)  # type: ignore[arg-type]


@st.composite
def tables(draw: st.DrawFn) -> Benchmark:
    pairs = draw(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=4, unique=True))
    rows = []
    for space in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        count = draw(st.integers(1, 4))
        for index in range(count):
            architecture = {"index": index, "more": draw(JSON)}
            chosen = pairs if index == 0 else draw(st.lists(st.sampled_from(pairs), unique=True))
            rows.append(Row(space, architecture, {pair: draw(st.floats(0, 100)) for pair in chosen}, draw(TEXT)))
    name = TEXT.filter(bool)
    datasets = tuple(dict.fromkeys(dataset for dataset, _ in pairs))
    return Benchmark(
        draw(name), draw(name), draw(name), draw(name), pairs[0][1], datasets, tuple(draw(st.lists(TEXT))), tuple(rows),
        draw(st.dictionaries(TEXT, JSON, max_size=3)),
    )  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(benchmark=tables())
def test_what_is_stored_is_what_is_read(benchmark: Benchmark, tmp_path: Path) -> None:
    read = load_benchmark(write_benchmark(benchmark, tmp_path / "table"))
    assert read == benchmark
    assert read.content_hash == benchmark.content_hash
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


@settings(max_examples=40)
@given(benchmark=tables(), data=st.data())
def test_content_hash_is_of_what_was_measured_alone(benchmark: Benchmark, data: st.DataObject) -> None:
    shuffled = [dataclasses.replace(row, origin="elsewhere") for row in data.draw(st.permutations(benchmark.rows))]
    moved = dataclasses.replace(benchmark, rows=tuple(shuffled), provenance={"recipe": "another"})
    assert moved.content_hash == benchmark.content_hash
    first = benchmark.rows[0]
    pair, value = next(iter(first.accuracy.items()))
    changed = dataclasses.replace(first, accuracy={**first.accuracy, pair: value / 2 + 1})
    other = dataclasses.replace(benchmark, rows=(changed, *benchmark.rows[1:]))
    assert (other.content_hash == benchmark.content_hash) == (value / 2 + 1 == value)


def test_hash_is_the_documented_one() -> None:
    one = Row("s", {"b": 4.0, "a": [1, 2.5]}, {("flowers", "kd"): 50, ("cifar100", "kd"): 70.25}, "x")
    content = '[["s","{\\"a\\":[1,2.5],\\"b\\":4}",[["cifar100","kd",70.25],["flowers","kd",50.0]]]]'
    assert table(one).content_hash == hashlib.sha256(content.encode()).hexdigest()


def test_questions_to_a_table() -> None:
    made = table(
        row("b", 0, cifar100__kd=70.0, flowers__base=40.0, zoo__kd=1.0),
        row("a", 0, cifar100__base=60.0, cifar100__kd=71.0),
        row("b", 1, cifar100__kd=72.5, cifar100__base=61.0),
        default_datasets=("zoo", "cifar100"),
    )
    assert made.spaces == ("b", "a")
    assert [item.architecture["depth"] for item in made.select("b")] == [0, 1]
    assert made.datasets("b") == ("zoo", "cifar100", "flowers")
    assert made.labels("b", "cifar100") == ("kd", "base")
    values = made.accuracies("b", "cifar100", "base")
    assert values.dtype == np.float64
    assert math.isnan(values[0])
    assert values[1] == 61.0
    with pytest.raises(TableError, match="a space out of b, a, found c"):
        made.select("c")
    with pytest.raises(TableError, match="data set in space 'a' out of cifar100, found flowers"):
        made.labels("a", "flowers")
    with pytest.raises(TableError, match="label of 'flowers' in space 'b' out of base, found kd"):
        made.accuracies("b", "flowers", "kd")


@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        ((), {}, "at least one row"),
        ((row(), row()), {}, r"row 1: .* occurs once in space 's', found the one of benchmark 'small', row 0 again"),
        ((row(cifar100__kd=100.5),), {}, r"row 0, cifar100\.kd: .*from 0 to 100, found 100\.5"),
        ((row(cifar100__kd=math.nan),), {}, "found nan"),
        ((row(cifar100__kd=math.inf),), {}, "found inf"),
        ((row(cifar100__kd=True),), {}, "found True"),
        ((row("Upper"),), {}, "lower-case letters.*found Upper"),
        ((row("../up"),), {}, "lower-case letters"),
        ((Row("s", {}, {("d", "kd"): 1.0}, ""),), {}, "an architecture, found an empty one"),
        ((Row("s", {"x": math.nan}, {("d", "kd"): 1.0}, ""),), {}, "JSON"),
        ((Row("s", {"x": object()}, {("d", "kd"): 1.0}, ""),), {}, "JSON"),
        ((Row("s", {"x": 1}, {}, ""),), {}, "space 's': expected at least one accuracy"),
        ((row(),), {"default_label": "base"}, "default_label among kd, found base"),
        ((row(),), {"default_datasets": ("flowers",)}, "default_datasets among cifar100, found flowers"),
        ((row(),), {"default_datasets": ()}, "default_datasets among cifar100, found none"),
        ((row(),), {"licence": ""}, "a licence, found an empty text"),
        ((row(),), {"provenance": ["x"]}, "'small', provenance: expected a JSON object .*, found a list of 1 values"),
        ((row(),), {"provenance": None}, "provenance: expected a JSON object .*, found None"),
        ((row(),), {"provenance": {1: "x"}}, "provenance: expected a JSON object .*names are texts"),
        ((row(),), {"provenance": {"seeds": (0, 1)}}, "provenance: expected a JSON object .*lists are no tuples"),
        ((row(),), {"provenance": {"seconds": math.nan}}, "provenance: expected a JSON object .*nan"),
        ((row(),), {"provenance": {"recipe": object()}}, "provenance: .* found Object of type object is not"),
    ],
)
def test_wrong_tables_are_refused(rows: tuple[Row, ...], fields: dict[str, object], message: str) -> None:
    with pytest.raises(TableError, match=message):
        table(*rows, **fields)


def test_whole_floats_and_integers_are_one_choice() -> None:
    ratio = {"mlp_ratio": [4, 3.5]}, {"mlp_ratio": [4.0, 3.5]}
    with pytest.raises(TableError, match="occurs once"):
        table(*(Row("s", item, {("cifar100", "kd"): 1.0}, "") for item in ratio))


def stored(tmp_path: Path) -> Path:
    return write_benchmark(table(row(index=0), row(index=1)), tmp_path / "small")


def alter(folder: Path, **fields: object) -> None:
    path = folder / "benchmark.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def reseal(folder: Path, text: str) -> None:
    """Replace the table's text and give it its right checksum."""
    (folder / "s.csv").write_bytes(text.encode())
    alter(folder, files={"s.csv": hashlib.sha256(text.encode()).hexdigest()})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "other"}, "benchmark.json: expected format 'autoprox-benchmark', found other"),
        ({"version": 2}, "expected version 1, found 2"),
        ({"version": True}, "expected version 1, found True"),
        ({"extra": 1}, "found extra differs"),
        ({"title": 3}, "title: expected a text, found 3"),
        ({"defects": "x"}, "defects: expected a list of texts, found x"),
        ({"defects": [1]}, "defects: expected a list of texts"),
        ({"files": {}}, "files: expected an object"),
        ({"provenance": "made"}, "benchmark.json, provenance: expected a JSON object .*, found made; write it as JSON"),
        ({"provenance": None}, "benchmark.json, provenance: expected a JSON object .*, found None"),
        (
            {"provenance": {"seconds": math.inf}},
            "benchmark.json, provenance: expected a JSON object .*numbers are finite",
        ),
        ({"files": {"../s.csv": "0"}}, r"'SPACE.csv' with its SHA-256, found \.\./s\.csv"),
        ({"files": {"s.csv": "0"}}, "s.csv: expected SHA-256 0, found .*altered"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    folder = stored(tmp_path)
    alter(folder, **fields)
    with pytest.raises(TableError, match=message):
        load_benchmark(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00", "[" * 100_000, '{"format": '])
def test_header_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    folder = stored(tmp_path)
    (folder / "benchmark.json").write_text(text)
    with pytest.raises(TableError, match=r"benchmark\.json: expected"):
        load_benchmark(folder)


GOOD = 'architecture,origin,cifar100.kd\n"{""depth"":1}",f,50\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected a column 'architecture', found no columns"),
        ("architecture,cifar100.kd\n", "at least one row"),
        ("origin,cifar100.kd\nf,5\n", "a column 'architecture'"),
        ("architecture,origin\n{},f\n", "at least one dataset.label column"),
        ("architecture,accuracy\n{},1\n", "columns named dataset.label, such as cifar100.kd, found accuracy"),
        ("architecture,a.b.c\n{},1\n", "columns named dataset.label"),
        ("architecture,a.b,a.b\n{},1,1\n", "each column once, found a.b twice"),
        (GOOD + "{},f\n", "line 3: expected 3 cells, found 2 cells"),
        (GOOD.replace(",50", ",5_0"), "line 2, column cifar100.kd: expected a number or an empty cell, found 5_0"),
        (GOOD.replace(",50", ",fifty"), "column cifar100.kd: .*found fifty; correct the cell"),
        (GOOD.replace(",50", ",100.01"), "line 2, column cifar100.kd: .*0 to 100, found 100.01"),
        (GOOD.replace(",50", ",-1"), "found -1"),
        (GOOD.replace(",50", ",inf"), "found inf"),
        (GOOD.replace(",50", ",NaN"), "space 's': expected at least one accuracy"),
        (GOOD.replace('"{""depth"":1}"', "[]"), "line 2, column architecture: expected a JSON object"),
        (GOOD.replace('"{""depth"":1}"', "{}"), "column architecture: expected a JSON object"),
        (GOOD.replace('"{""depth"":1}"', "{depth"), "column architecture: expected a JSON object"),
        (GOOD.replace(":1}", ":NaN}"), "column architecture: expected a JSON object"),
        (GOOD.replace(":1}", ":1e999}"), "column architecture: expected a JSON object"),
        (GOOD + '\n"{""depth"": 1.0}",g,51\n', r"line 4: .* found the one of .*s\.csv, line 2 again"),
        (GOOD + '"{', "a CSV file in UTF-8"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = stored(tmp_path)
    reseal(folder, text)
    with pytest.raises(TableError, match=message):
        load_benchmark(folder)


def test_missing_labels_and_one_row(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    reseal(folder, 'architecture,cifar100.kd,flowers.kd,zoo.kd\n"{""depth"":1}",50, NaN ,\n')
    read = load_benchmark(folder)
    assert read.rows == (Row("s", {"depth": 1}, {("cifar100", "kd"): 50.0}, "s.csv"),)


def test_provenance_is_optional_in_a_folder(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    assert "provenance" not in json.loads((folder / "benchmark.json").read_text())
    assert load_benchmark(folder).provenance == {}
    made = {"recipe": {"epochs": 20}, "seeds": [0, 1], "failures": []}
    alter(folder, provenance=made)
    read = load_benchmark(folder)
    assert read.provenance == made
    write_benchmark(read, folder)
    assert json.loads((folder / "benchmark.json").read_text())["provenance"] == made


PIT = {"base_dim": 24, "mlp_ratio": 2, "num_heads": [2, 4, 8], "depth": [2, 8, 2]}


def test_an_architecture_whose_trainings_failed_has_a_row_and_no_label(tmp_path: Path) -> None:
    good = [row("pit-tiny", cifar100__mean=70.0 + index) for index in range(4)]
    pits = [{"base_dim": 16, "mlp_ratio": 2, "num_heads": [2, 2, 2], "depth": [1, 6, depth]} for depth in (2, 4, 6)] + [
        PIT
    ]
    rows = [dataclasses.replace(item, architecture=pit) for item, pit in zip(good, pits, strict=True)]
    rows[1] = dataclasses.replace(rows[1], accuracy={})
    made = table(*rows, default_label="mean")
    read = load_benchmark(write_benchmark(made, tmp_path / "made"))
    assert read == made
    assert read.content_hash != table(*rows[:1], *rows[2:], default_label="mean").content_hash
    (group,) = gather([read])
    np.testing.assert_array_equal(group.labels["cifar100"], [70, math.nan, 72, 73])
    assert group.population().size == 4
    with pytest.raises(InputError, match="3 of 4 pit-tiny architectures have a label 'mean'; at least 4 are needed"):
        gather([read], least=4)


def test_table_that_is_not_there_is_missing(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    (folder / "s.csv").unlink()
    with pytest.raises(MissingTableError, match=r"s\.csv: cannot be read"):
        load_benchmark(folder)


def test_csv_file_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "\ufeffspace,architecture,own.acc,own.other\n"
        'pit-tiny,"{""depth"":[1,2]}",,50\n'
        'autoformer-sub,"{""depth"":[1,2]}",61.5,40\n',
        encoding="utf-8",
    )
    read = load_benchmark(path)
    assert (read.name, read.default_label, read.default_datasets) == ("mine", "acc", ("own",))
    assert read.spaces == ("pit-tiny", "autoformer-sub")
    assert read.rows[0].origin == "mine.csv"
    path.write_text("architecture,own.acc\n{},1\n")
    with pytest.raises(TableError, match=r"a column 'space', found architecture, own\.acc"):
        load_benchmark(str(path))
    path.write_text('space,architecture,own.acc\ns,"{""a"":1}",\n')
    with pytest.raises(TableError, match="at least one accuracy"):
        load_benchmark(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match="UTF-8"):
        load_benchmark(path)


def test_replacing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path)
    before = load_benchmark(folder)
    real = os.rename

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def stuck(source: Path, target: Path) -> None:
        if Path(target) == folder and not str(source).endswith(".old"):
            raise PermissionError(errno.EACCES, "Permission denied")
        real(source, target)

    for owner, name, fault in ((Path, "write_bytes", full), (os, "rename", stuck)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fault)
            with pytest.raises(MissingTableError, match=r"cannot be written .*(No space left|Permission denied)"):
                write_benchmark(table(row(index=7)), folder)
        assert load_benchmark(folder) == before
        assert list(tmp_path.iterdir()) == [folder]
    write_benchmark(table(row("other", 7)), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["benchmark.json", "other.csv"]


def test_notes_beside_a_table_stay_when_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path)
    notes = folder / "README.md"
    notes.write_bytes(b"how it was made\r\n")
    assert load_benchmark(folder).name == "small"
    write_benchmark(table(row("other", 7)), folder)
    assert notes.read_bytes() == b"how it was made\r\n"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "benchmark.json", "other.csv"]
    with monkeypatch.context() as patch:
        patch.setattr(
            "shutil.copy2", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "Permission denied"))
        )
        with pytest.raises(MissingTableError, match=r"cannot be written .*Permission denied"):
            write_benchmark(table(row(index=0)), folder)
    assert load_benchmark(folder).spaces == ("other",)
    assert list(tmp_path.iterdir()) == [folder]
    notes.unlink()
    notes.mkdir()
    with pytest.raises(TableError, match="a free place or a benchmark to replace"):
        write_benchmark(table(row()), folder)


def test_only_benchmarks_are_replaced(tmp_path: Path) -> None:
    notes = tmp_path / "thesis" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("years of work")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "README.md").write_text("notes, but no table")
    for place in (notes, notes.parent, tmp_path / "alone"):
        with pytest.raises(TableError, match="a free place or a benchmark to replace"):
            write_benchmark(table(row()), place)
    assert notes.read_text() == "years of work"
    with pytest.raises(MissingTableError, match="cannot be written"):
        write_benchmark(table(row()), notes / "inside")
    with pytest.raises(TableError, match="origins in Unicode"):
        write_benchmark(table(row(origin="\udc80")), tmp_path / "new")


def test_import_is_light() -> None:
    code = "import sys, benchdata; print([name for name in ('torch', 'autoprox', 'primitives') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet='architecture,origin.kd"{}:[]0123456789\n\r\x00eN-', max_size=80))
def test_any_text_is_read_or_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fuzz.csv"
    path.write_text("space,architecture,d.kd\n" + text, encoding="utf-8", newline="")
    said = "read"
    try:
        load_benchmark(path)
    except TableError as error:
        said = str(error)
    assert re.fullmatch(r"[^\n]+", said)
