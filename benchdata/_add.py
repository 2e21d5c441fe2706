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
    folder = None if source is None else Path(os.path.expanduser(source))
    files = known.files if folder is None else _files_in(known, folder)
    contents: dict[Path, bytes] = {}
    for file in files:
        path = (folder or Path()) / file.name
        contents[path] = _download(known, file) if folder is None else read_bytes(path)
        known.verify(str(path), file, contents[path])
        if progress is not None:
            progress(sum(map(len, contents.values())), sum(item.size for item in files))
    return write_benchmark(known.table(contents), benchmarks_home(home) / name)


def _files_in(known: KnownBenchmark, folder: Path) -> tuple[PublicFile, ...]:
    if not folder.is_dir():
        raise unusable(str(folder), f"a folder with the files of {known.name}", "no folder", "check the path")
    files = known.present(folder)
    known.check_complete(str(folder), files)
    return files


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
