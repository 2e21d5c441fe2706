"""The project's own format: a folder with `benchmark.json` and one CSV file a space (see `_csv`)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from benchdata._catalogue import fingerprint
from benchdata._csv import encode_space, read_rows
from benchdata._errors import MissingTableError, read_bytes, unusable
from benchdata._table import NAME, Benchmark, Row, check_provenance

__all__ = ["HEADER", "check_replaceable", "read_stored", "stored_name", "write_benchmark"]

HEADER = "benchmark.json"
_FORMAT, _VERSION = "autoprox-benchmark", 1
_TEXTS = ("name", "title", "source", "licence", "default_label")
_LISTS = ("default_datasets", "defects")
_OPTIONAL = "provenance"  # not in tables of before, nor where nothing is recorded
_NOTES = "README.md"  # what people wrote beside a table
_AGAIN = "install or build the benchmark again"


def write_benchmark(benchmark: Benchmark, folder: Path) -> Path:
    """Store a benchmark as a folder, replacing the benchmark that stands there but for its README.md; returns the folder.

    Everything is written beside it first and put in place by renaming, so that no half-written table is ever seen.

    Raises:
        TableError: something that is not a benchmark stands there, or a text is not Unicode.
        MissingTableError: the disk refuses (full, read-only, no permission); what stood there stays.
    """
    documents = _encode(benchmark)
    beside = folder.parent / f".{folder.name}.{secrets.token_hex(6)}"  # a leading dot: lookups pass it over
    try:
        check_replaceable(folder)
        beside.mkdir(parents=True)
        for name, data in documents.items():
            (beside / name).write_bytes(data)
        if (folder / _NOTES).exists():
            shutil.copy2(folder / _NOTES, beside / _NOTES)
        _put(beside, folder)
    except OSError as error:
        raise MissingTableError(
            f"{folder}: cannot be written ({error.strerror or error}); make room or choose another place "
            "(the environment variable AUTOPROX_HOME names where benchmarks are installed)"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def check_replaceable(folder: Path) -> None:
    """Raise TableError where something stands that is not a benchmark, so that none can be written there."""
    if not os.path.lexists(folder):
        return
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else [folder]
    if entries and not ((folder / HEADER).exists() and all(map(_is_ours, entries))):
        raise unusable(str(folder), "a free place or a benchmark to replace", "something else", "move it away first")


def _is_ours(entry: Path) -> bool:
    return entry.is_file() and (entry.name in (HEADER, _NOTES) or entry.suffix == ".csv")


def _put(new: Path, folder: Path) -> None:
    if not os.path.lexists(folder):
        os.rename(new, folder)
        return
    old = new.with_name(new.name + ".old")
    os.rename(folder, old)  # a folder cannot be renamed onto one with content, so the old one steps aside
    try:
        os.rename(new, folder)
    except BaseException:
        os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _encode(benchmark: Benchmark) -> dict[str, bytes]:
    """File name -> content of the stored folder."""
    try:
        tables = {f"{space}.csv": encode_space(benchmark, space).encode() for space in benchmark.spaces}
    except UnicodeEncodeError as error:
        where = f"benchmark '{benchmark.name}'"
        raise unusable(where, "origins in Unicode", error.object[error.start :], "rename the file") from error
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        **{field: getattr(benchmark, field) for field in _TEXTS},
        **{field: list(getattr(benchmark, field)) for field in _LISTS},
        "files": {name: fingerprint(data)[1] for name, data in tables.items()},
        **({_OPTIONAL: benchmark.provenance} if benchmark.provenance else {}),
    }
    return {**tables, HEADER: (json.dumps(header, indent=2) + "\n").encode()}


def read_stored(folder: Path) -> Benchmark:
    """Read a stored benchmark and check all of it.

    Raises:
        TableError: `benchmark.json` or a table is malformed or altered.
        MissingTableError: a file is missing or cannot be read.
    """
    header = _read_header(folder)
    rows: list[Row] = []
    for name, digest in header["files"].items():
        path, data = folder / name, read_bytes(folder / name)
        if fingerprint(data)[1] != digest:
            raise unusable(str(path), f"SHA-256 {digest}", fingerprint(data)[1], f"it was altered: {_AGAIN}")
        rows += read_rows(path, data, space=path.stem)
    return Benchmark(
        name=header["name"],
        title=header["title"],
        source=header["source"],
        licence=header["licence"],
        default_label=header["default_label"],
        default_datasets=tuple(header["default_datasets"]),
        defects=tuple(header["defects"]),
        rows=tuple(rows),
        provenance=header.get(_OPTIONAL, {}),
    )


def stored_name(folder: Path) -> str:
    """The name that a stored folder gives itself. Raises like `read_stored`."""
    return str(_read_header(folder)["name"])


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    where = str(path)
    try:
        header = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise unusable(where, "a JSON object", str(error), _AGAIN) from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        found = header.get("format", "another object") if isinstance(header, dict) else header
        raise unusable(where, f"format '{_FORMAT}'", found, "choose a benchmark's folder")
    if header.get("version") != _VERSION or isinstance(header["version"], bool):
        raise unusable(where, f"version {_VERSION}", header.get("version"), "update autoprox, or install it again")
    fields = {"format", "version", "files", *_TEXTS, *_LISTS}
    if different := sorted(fields ^ (set(header) - {_OPTIONAL})):
        raise unusable(where, f"the fields {', '.join(sorted(fields))}", f"{', '.join(different)} differs", _AGAIN)
    for field in _TEXTS:
        if not isinstance(header[field], str) or not header[field]:
            raise unusable(f"{where}, {field}", "a text", header[field], _AGAIN)
    for field in _LISTS:
        if not isinstance(header[field], list) or not all(isinstance(item, str) for item in header[field]):
            raise unusable(f"{where}, {field}", "a list of texts", header[field], _AGAIN)
    check_provenance(header.get(_OPTIONAL, {}), f"{where}, {_OPTIONAL}")
    files = header["files"]
    if not isinstance(files, dict) or not files:
        raise unusable(f"{where}, files", "an object of file names and SHA-256", files, _AGAIN)
    for name, digest in files.items():
        if not (name.endswith(".csv") and NAME.fullmatch(name[:-4])) or not isinstance(digest, str):
            raise unusable(f"{where}, files", "'SPACE.csv' with its SHA-256", name, _AGAIN)
    return header
