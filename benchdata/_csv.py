"""Tables as CSV text.

The columns are `architecture` (JSON), `origin`, then one `dataset.label` column each; accuracies are in percent, an
empty cell (or NaN) is a missing label. A file that stands by itself has a column `space` as well.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchdata._errors import TableError, read_bytes, unusable
from benchdata._table import NAME, Benchmark, Row, architecture_text, check_rows, percent

__all__ = ["encode_space", "read_csv", "read_rows"]


def encode_space(benchmark: Benchmark, space: str) -> str:
    """The CSV text of one space of a benchmark, rows in its order."""
    pairs = [(name, label) for name in benchmark.datasets(space) for label in benchmark.labels(space, name)]
    out = io.StringIO()
    # Python before 3.13 leaves a carriage return unquoted, and reads it as the end of the row
    returns = any("\r" in row.origin for row in benchmark.select(space))
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL)
    writer.writerow(["architecture", "origin", *(".".join(pair) for pair in pairs)])
    for row in benchmark.select(space):
        cells = [repr(float(row.accuracy[pair])) if pair in row.accuracy else "" for pair in pairs]
        writer.writerow([architecture_text(row.architecture), row.origin, *cells])
    return out.getvalue()


def read_csv(path: Path) -> Benchmark:
    """Read one CSV file with the columns `space`, `architecture`, optionally `origin`, and `dataset.label` ones.

    Its first label kind is the default, and all data sets that have this kind count.

    Raises:
        TableError: the file is malformed.
        MissingTableError: the file cannot be read.
    """
    data = read_bytes(path)
    rows = read_rows(path, data, space=None)
    _, columns = next(_lines(path, data))
    pairs = [
        pair for pair in _pairs(path, columns, own_space=True).values() if any(pair in row.accuracy for row in rows)
    ]
    if not pairs:
        raise unusable(str(path), "at least one accuracy", "none", "fill in the dataset.label columns")
    label = pairs[0][1]
    return Benchmark(
        name=path.stem,
        title=f"Table {path.name}",
        source=str(path),
        licence="not stated",
        default_label=label,
        default_datasets=tuple(dataset for dataset, kind in pairs if kind == label),
        defects=(),
        rows=tuple(rows),
    )


def read_rows(path: Path, data: bytes, space: str | None) -> list[Row]:
    """Rows of a CSV file's content; `space` is None where a column names it. Raises TableError."""
    rows: list[Row] = []
    places: list[str] = []
    lines = _lines(path, data)
    _, columns = next(lines, (0, []))
    pairs = _pairs(path, columns, own_space=space is None)
    for number, cells in lines:
        where = f"{path}, line {number}"
        if len(cells) != len(columns):
            raise unusable(where, f"{len(columns)} cells", f"{len(cells)} cells", "complete the line")
        named = dict(zip(columns, cells, strict=True))
        accuracy = {pair: _cell(named[column], pair[1], f"{where}, column {column}") for column, pair in pairs.items()}
        rows.append(
            Row(
                space=named["space"] if space is None else space,
                architecture=_architecture(named["architecture"], f"{where}, column architecture"),
                accuracy={pair: value for pair, value in accuracy.items() if value is not None},
                origin=named.get("origin", path.name),
            )
        )
        places.append(where)
    if not rows:
        raise unusable(str(path), "at least one row below the column names", "none", "add the trained architectures")
    check_rows(rows, places)
    return rows


def _lines(path: Path, data: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        yield from ((reader.line_num, cells) for cells in reader if cells)
    except (UnicodeDecodeError, csv.Error) as error:
        raise unusable(str(path), "a CSV file in UTF-8", str(error), "save the table as CSV") from error


def _pairs(path: Path, columns: Sequence[str], own_space: bool) -> dict[str, tuple[str, str]]:
    """Column name -> (data set, label kind), for the columns of accuracies."""
    required = ["space", "architecture"] if own_space else ["architecture"]
    where = f"{path}, line 1"
    for name in required:
        if name not in columns:
            raise unusable(where, f"a column '{name}'", ", ".join(columns) or "no columns", "add it")
    pairs = {}
    for index, column in enumerate(columns):
        if column in columns[:index]:
            raise unusable(where, "each column once", f"{column} twice", "remove one")
        if column in required or column == "origin":
            continue
        dataset, dot, label = column.partition(".")
        if not (dot and NAME.fullmatch(dataset) and NAME.fullmatch(label)):
            raise unusable(where, "columns named dataset.label, such as cifar100.kd", column, "rename or remove it")
        pairs[column] = dataset, label
    if not pairs:
        raise unusable(where, "at least one dataset.label column, such as cifar100.kd", "none", "add the accuracies")
    return pairs


def _cell(text: str, label: str, where: str) -> float | None:
    if text.strip().lower() in ("", "nan"):
        return None
    try:
        return percent(float(text.replace("_", "?")), where, label)  # float() would read 1_0 as 10
    except TableError:
        raise
    except ValueError:
        raise unusable(where, "a number or an empty cell", text, "correct the cell") from None


def _architecture(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        if isinstance(value, dict) and value:
            architecture_text(value)  # refuses NaN and infinity, which json.loads lets through
            return value
    except (ValueError, RecursionError) as error:
        raise unusable(where, "a JSON object", f"{text[:40]} ({error})", "correct the cell") from error
    raise unusable(where, "a JSON object with the architecture's choices", text, "correct the cell")
