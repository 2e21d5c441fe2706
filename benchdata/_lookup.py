"""Where benchmarks are: installed ones, the folders on AUTOPROX_BENCHMARKS, the tables of this package."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchdata._catalogue import KNOWN, KnownBenchmark
from benchdata._csv import read_csv
from benchdata._errors import MissingTableError, TableError, read_bytes, unusable
from benchdata._storage import HEADER, read_stored, stored_name
from benchdata._table import Benchmark

__all__ = ["BenchmarkLocation", "benchmarks_home", "find_benchmarks", "load_benchmark"]

_VARIABLE = "AUTOPROX_BENCHMARKS"
_EMBEDDED = Path(__file__).parent / "tables"
_SEE = "give the path of one benchmark, or a name out of `autoprox bench list`"


@dataclass(frozen=True)
class BenchmarkLocation:
    """Where a benchmark was found.

    Attributes:
        name: the name to load it by (the folder's, if it cannot be read).
        path: its folder.
        where: "installed", "AUTOPROX_BENCHMARKS" or "embedded".
        problem: one sentence if it cannot be used, else None.
    """

    name: str
    path: Path
    where: str
    problem: str | None = None


def benchmarks_home(home: Path | None = None) -> Path:
    """The folder of installed benchmarks: HOME/benchmarks.

    HOME is the argument, else $AUTOPROX_HOME, else the platform's folder for user data.
    """
    named = home or os.environ.get("AUTOPROX_HOME")
    return (Path(os.path.expanduser(named)) if named else _user_data() / "autoprox") / "benchmarks"


def _user_data() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    named = Path(os.environ.get("XDG_DATA_HOME", ""))  # the XDG rule: a relative path does not count
    return named if named.is_absolute() else Path.home() / ".local" / "share"


def find_benchmarks() -> dict[str, BenchmarkLocation]:
    """All benchmarks by name, sorted; of two with one name the first counts (installed, environment, embedded).

    Each is checked, and one that cannot be used is listed with its problem.
    """
    found: dict[str, BenchmarkLocation] = {}
    for location in _locations():
        if location.name not in found:
            found[location.name] = replace(location, problem=location.problem or _problem(location.path))
    return dict(sorted(found.items()))


def load_benchmark(name_or_path: str | Path) -> Benchmark:
    """A benchmark by name, or by the path of a stored folder, a folder of public files, one of these, or a CSV file.

    Raises:
        TableError: there is none of that name or at that path, or its files are malformed.
        MissingTableError: it is known but not installed, or a file cannot be read; the text says how to get it.
    """
    if isinstance(name_or_path, Path) or not _is_name(name_or_path):
        return _read(Path(os.path.expanduser(name_or_path)))
    name, locations = name_or_path, list(_locations())
    for location in locations:
        if location.name == name:
            return _read(location.path)
    if os.path.exists(name):
        return _read(Path(name))
    if name in KNOWN:
        raise MissingTableError(
            f"benchmark '{name}' is not installed; run `autoprox bench add {name}` (with `--from DIR` if you have its "
            f"files), or name the folder of its files in {_VARIABLE}{_gaps(locations)}"
        )
    there = sorted({location.name for location in locations if location.problem is None} | set(KNOWN))
    close = difflib.get_close_matches(name, there, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "see `autoprox bench list`, or give a path"
    raise TableError(f"unknown benchmark '{name}': expected one of {', '.join(there)}; {hint}{_gaps(locations)}")


def _is_name(text: str) -> bool:
    return not (
        os.sep in text or "/" in text or text.startswith(("~", ".")) or text.endswith((".csv", ".json", ".pth"))
    )


def _gaps(locations: list[BenchmarkLocation]) -> str:
    problems = [location.problem for location in locations if location.problem]
    return f" (passed over: {'; '.join(problems)})" if problems else ""


def _locations() -> Iterator[BenchmarkLocation]:
    """Every benchmark folder, in order of precedence; only names are read."""
    yield from _scan(benchmarks_home(), "installed")
    for entry in os.environ.get(_VARIABLE, "").split(os.pathsep):
        if not entry:
            continue
        folder = Path(os.path.expanduser(entry))
        if not os.path.isdir(folder):
            yield BenchmarkLocation(entry, folder, _VARIABLE, f"{_VARIABLE} names {folder}, which is not a folder")
        elif (name := _name(folder)) is not None:
            yield BenchmarkLocation(name, folder, _VARIABLE)
        else:
            yield from _scan(folder, _VARIABLE)
    yield from _scan(_EMBEDDED, "embedded")


def _scan(folder: Path, where: str) -> Iterator[BenchmarkLocation]:
    """The benchmarks among the folders inside one folder; others are none of our business."""
    try:
        inside = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        yield BenchmarkLocation(str(folder), folder, where, f"{folder} cannot be read ({error.strerror or error})")
        return
    for path in inside:
        if (name := _name(path)) is not None:
            yield BenchmarkLocation(name, path, where)


def _name(folder: Path) -> str | None:
    """The name of the benchmark that a folder is, or None if it is not one."""
    try:
        if (folder / HEADER).exists():
            return stored_name(folder)
        known = _raw(folder)
        return known.name if known else None
    except (TableError, MissingTableError, OSError):
        return folder.name  # found by its own name, so that its problem is shown


def _raw(folder: Path) -> KnownBenchmark | None:
    return next((known for known in KNOWN.values() if known.present(folder)), None)


def _problem(folder: Path) -> str | None:
    known = None
    try:
        known = None if (folder / HEADER).exists() else _raw(folder)
        # published files need no parsing: their checksums say that they are sound
        if known is None or not _is_published(known, folder):
            _read(folder)
    except (TableError, MissingTableError, OSError) as error:
        return str(error)
    return None


def _is_published(known: KnownBenchmark, folder: Path) -> bool:
    paths = known.present(folder)
    complete = any(known.is_main(path.name) for path in paths)
    return complete and all(known.is_published(path, read_bytes(path)) for path in paths)


def _read(path: Path) -> Benchmark:
    """Read whatever benchmark stands at a path."""
    try:
        if path.is_dir():
            return _read_folder(path)
        if not path.exists():
            raise unusable(str(path), "a benchmark's folder or a CSV file", "nothing", "check the path")
    except OSError as error:
        raise MissingTableError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    if path.suffix.lower() == ".csv":
        return read_csv(path)
    for known in KNOWN.values():
        if known.recognises(path.name):
            return known.table({path: read_bytes(path)})
    raise unusable(str(path), "a benchmark's folder, a CSV file or a public file by its name", "another file", _SEE)


def _read_folder(folder: Path) -> Benchmark:
    if (folder / HEADER).exists():
        return read_stored(folder)
    known = _raw(folder)
    if known is None:
        inside = [location.name for location in _scan(folder, "")]
        found = f"a folder of the benchmarks {', '.join(inside)}" if inside else "a folder without them"
        raise unusable(str(folder), f"{HEADER} or the files of a public benchmark", found, _SEE)
    paths = known.present(folder)
    known.check_complete(str(folder), paths)
    return known.table({path: read_bytes(path) for path in paths})
