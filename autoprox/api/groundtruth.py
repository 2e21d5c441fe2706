"""Which ground truth is worked on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoprox.errors import InputError, MissingError
from autoprox.measuring.workers import Notice

if TYPE_CHECKING:
    from autoprox.measuring.capture import CaptureSettings
    from autoprox.ranking.problem import Group
    from benchdata import Benchmark

__all__ = ["GroundTruth", "chosen_benchmarks", "ground_truth", "listed"]

_HOW = (
    "install the public one with 'autoprox bench add vit-bench-101' (or --from DIR, if you have its files), "
    "name a table with --bench, or set AUTOPROX_BENCHMARKS to a folder of tables"
)


@dataclass(frozen=True)
class GroundTruth:
    """Tables and what was taken from them, one group a space."""

    benchmarks: list[Benchmark]
    groups: list[Group]

    def record(self) -> list[dict[str, str]]:
        """Name and content hash of each table."""
        return [{"name": table.name, "hash": table.content_hash} for table in self.benchmarks]


def ground_truth(
    bench: Sequence[str],
    spaces: Sequence[str] | None,
    datasets: Sequence[str] | None,
    label: str | None,
    settings: CaptureSettings,
) -> GroundTruth:
    """Choose tables and join them; read the images of their data sets, so that what is absent is known at once.

    Raises:
        InputError: what was asked for is in none of them, or a data set has no images under the data root.
        MissingError: there is no table at all, or an image cannot be read.
    """
    from autoprox.measuring.capture import batch_key, settings_for
    from autoprox.ranking.problem import gather

    tables = chosen_benchmarks(bench, datasets)
    chosen = list(spaces or _spaces(tables, datasets))
    if not bench:
        _check_one_each(tables, chosen)
    groups = gather(tables, chosen, datasets, label)
    _caution(tables, groups)
    for name in sorted({name for group in groups for name in group.labels}):
        if settings.data_root is not None:
            batch_key(settings_for(settings, name))
    return GroundTruth(tables, groups)


def listed(names: str | Sequence[str] | None) -> list[str] | None:
    """The names of a comma list, or of a sequence, each once; None where none were given."""
    if names is None:
        return None
    every = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    if not all(every):
        raise InputError(f"{names!r} is not a list of names; expected one like cifar100,flowers, without empty names")
    return list(dict.fromkeys(every))


def _check_one_each(tables: Sequence[Benchmark], spaces: Sequence[str]) -> None:
    """InputError where tables that nobody named would be joined: accuracies of two recipes do not compare."""
    for space in spaces:
        holding = [table.name for table in tables if space in table.spaces]
        if len(holding) > 1:
            raise InputError(
                f"{space} is in the tables {' and '.join(holding)}, whose accuracies need not compare; choose with --bench"
            )


def _caution(tables: Sequence[Benchmark], groups: Sequence[Group]) -> None:
    """Point out data sets that a table with known defects does not count by default."""
    used = {name for group in groups for name in group.labels}
    for table in tables:
        there = {name for space in table.spaces for name in table.datasets(space)}
        if table.defects and (doubtful := sorted(used & there - set(table.default_datasets))):
            warnings.warn(
                f"{table.name} does not count {', '.join(doubtful)} by default; 'autoprox bench show {table.name}' says why",
                Notice,
                stacklevel=2,
            )


@contextmanager
def _as_ours() -> Iterator[None]:
    """Errors of tables as those of the package, which callers know."""
    from benchdata import MissingTableError, TableError

    try:
        yield
    except TableError as error:
        raise InputError(str(error)) from None
    except MissingTableError as error:
        raise MissingError(str(error)) from None


def _spaces(tables: Sequence[Benchmark], datasets: Sequence[str] | None) -> list[str]:
    """The spaces of the tables that this version can build and that have all the data sets asked for."""
    from autoprox.spaces import SPACES

    there: dict[str, set[str]] = {}
    for table in tables:
        for space in table.spaces:
            there.setdefault(space, set()).update(table.datasets(space))
    known = {space: names for space, names in there.items() if space in SPACES}
    if not known:
        raise InputError(
            f"no space of the tables can be built: they have {', '.join(there)}; known: {', '.join(SPACES)}"
        )
    every = {name for names in known.values() for name in names}
    for name in datasets or ():
        if name not in every:
            raise InputError(f"there is no data set {name!r} in the ground truth; it has {', '.join(sorted(every))}")
    chosen = [space for space, names in sorted(known.items()) if names.issuperset(datasets or ())]
    if not chosen:
        found = "; ".join(f"{space} has {', '.join(sorted(names))}" for space, names in known.items())
        raise InputError(f"no space has all the data sets {', '.join(datasets or ())}: {found}")
    return chosen


@_as_ours()
def chosen_benchmarks(bench: Sequence[str], datasets: Sequence[str] | None) -> list[Benchmark]:
    """The tables that were named; else those with any of the data sets; else the embedded one; else all installed."""
    from benchdata import KNOWN, find_benchmarks, load_benchmark

    if bench:
        return [load_benchmark(name) for name in dict.fromkeys(bench)]
    locations = find_benchmarks()
    broken = [location for location in locations.values() if location.problem]
    usable = [location for location in locations.values() if not location.problem]
    for location in broken:
        warnings.warn(f"passing over the benchmark {location.name}: {location.problem}", Notice, stacklevel=2)
    if not usable:
        trouble = "none of the benchmarks found can be used" if broken else "there is no ground truth on this computer"
        raise MissingError(f"{trouble}; {_HOW}")
    if not datasets:
        embedded = [location for location in usable if location.where == "embedded"]
        return [load_benchmark(location.path) for location in (embedded or usable)]
    tables = [load_benchmark(location.path) for location in usable]
    every = {table.name: {d for space in table.spaces for d in table.datasets(space)} for table in tables}
    for name in datasets:
        if not any(name in found for found in every.values()):
            for known in KNOWN.values():
                if name in known.default_datasets:
                    raise MissingError(
                        f"the data set {name!r} is one of the benchmark {known.name}, which is not installed; "
                        f"run 'autoprox bench add {known.name}', or name a folder that has it in AUTOPROX_BENCHMARKS"
                    )
            there = "; ".join(f"{table} has {', '.join(sorted(found))}" for table, found in every.items())
            raise InputError(f"no installed benchmark has the data set {name!r}: {there}")
    return [table for table in tables if every[table.name].intersection(datasets)]
