"""Ground truth: tables of trained architectures and their accuracies, and where they come from.

A `Benchmark` holds rows of (space, architecture, accuracies in percent) with their provenance and known
defects. `load_benchmark` finds one by name or path, `add_benchmark` installs a public one after checking its
files against pinned checksums, `write_benchmark` stores one in the project's own format.
"""

from __future__ import annotations

from benchdata._add import add_benchmark
from benchdata._catalogue import KNOWN, KnownBenchmark, PublicFile
from benchdata._errors import MissingTableError, TableError
from benchdata._lookup import BenchmarkLocation, benchmarks_home, find_benchmarks, load_benchmark
from benchdata._storage import check_replaceable, write_benchmark
from benchdata._table import NAME, Benchmark, Row

__all__ = [
    "KNOWN",
    "NAME",
    "Benchmark",
    "BenchmarkLocation",
    "KnownBenchmark",
    "MissingTableError",
    "PublicFile",
    "Row",
    "TableError",
    "add_benchmark",
    "benchmarks_home",
    "check_replaceable",
    "find_benchmarks",
    "load_benchmark",
    "write_benchmark",
]
