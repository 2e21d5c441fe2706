"""Installing a public benchmark: get its files, check them against pinned checksums, store them as our own table."""

from __future__ import annotations

import http.client
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

from benchdata._catalogue import KNOWN, KnownBenchmark, PublicFile
from benchdata._errors import MissingTableError, TableError, read_bytes, unusable
from benchdata._lookup import benchmarks_home
from benchdata._storage import write_benchmark

__all__ = ["add_benchmark"]

_TIMEOUT = 30  # seconds without a byte


def add_benchmark(
    name: str,
    source: Path | None = None,
    *,
    home: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Install a public benchmark and return its folder; an installed one is replaced as a whole, or stays as it is.

    Args:
        name: a name out of `KNOWN`.
        source: folder that has its files; None downloads them from the authors' repository at a pinned commit.
        home: installs into HOME/benchmarks instead of $AUTOPROX_HOME/benchmarks.
        progress: called with (bytes done, bytes in total) after each file.

    Raises:
        TableError: the name is unknown, or the folder lacks the files or has other ones than the published.
        MissingTableError: the download failed, or a file or the disk cannot be read or written.
    """
    if name not in KNOWN:
        raise unusable("adding a benchmark", f"one of {', '.join(KNOWN)}", name, "name a public benchmark")
    known = KNOWN[name]
    contents = _downloads(known, progress) if source is None else _copies(known, source, progress)
    return write_benchmark(known.table(contents), benchmarks_home(home) / name)


def _copies(known: KnownBenchmark, source: Path, progress: Callable[[int, int], None] | None) -> dict[Path, bytes]:
    folder = Path(os.path.expanduser(source))
    if not folder.is_dir():
        raise unusable(str(folder), f"a folder with the files of {known.name}", "no folder", "check the path")
    try:
        paths = known.present(folder)
        total = sum(path.stat().st_size for path in paths)
    except OSError as error:
        raise MissingTableError(f"{folder}: cannot be read ({error.strerror or error})") from error
    known.check_complete(str(folder), paths)
    contents: dict[Path, bytes] = {}
    for path in paths:
        contents[path] = read_bytes(path)
        if (file := known.file(path.name)) is not None:
            known.verify(str(path), file, contents[path])
        _tell(progress, contents, total)
    return contents


def _downloads(known: KnownBenchmark, progress: Callable[[int, int], None] | None) -> dict[Path, bytes]:
    if not known.files:
        raise TableError(
            f"{known.name}: expected its files, which have no published checksums, found none; get {known.wanted} from "
            f"{known.source} and run `autoprox bench add {known.name} --from DIR`"
        )
    contents: dict[Path, bytes] = {}
    for file in known.files:
        contents[Path(file.name)] = _download(known, file)
        _tell(progress, contents, sum(item.size for item in known.files))
    return contents


def _tell(progress: Callable[[int, int], None] | None, contents: dict[Path, bytes], total: int) -> None:
    if progress is not None:
        progress(sum(map(len, contents.values())), total)


def _download(known: KnownBenchmark, file: PublicFile) -> bytes:
    url = known.file_url(file)
    remedy = f"try again, or get the files elsewhere and run `autoprox bench add {known.name} --from DIR`"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            data: bytes = response.read(file.size + 1)
        known.verify(url, file, data)
    except (OSError, http.client.HTTPException) as error:
        raise MissingTableError(f"{url}: the download failed ({error}); {remedy}") from error
    except TableError as error:  # what came over the network is not the user's fault
        raise MissingTableError(f"the download failed: {error}; {remedy}") from error
    return data
