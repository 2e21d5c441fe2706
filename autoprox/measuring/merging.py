"""What other home folders have measured, taken into this one: nothing is measured twice that was measured anywhere.

Features and samples are kept under what they depend on, so they can be taken as they are. Each entry carries a checksum; one
that is not as it was written stays where it is. Every step is a transaction or an atomic file: a merge that was killed is
given again, and one that was given twice changes nothing.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from autoprox.errors import InputError, MissingError
from autoprox.files import replacing
from autoprox.measuring.screening import SAMPLES, seal_of
from autoprox.measuring.store import FORMAT, MEMO, FeatureStore, Merged
from autoprox.measuring.workers import Progress, silent, tell

__all__ = ["MergedHome", "merge_home"]


@dataclass(frozen=True)
class MergedHome:
    """What became of the features and of the files of samples of another home."""

    features: Merged
    samples: Merged

    def __add__(self, other: MergedHome) -> MergedHome:
        return MergedHome(self.features + other.features, self.samples + other.samples)


def merge_home(home: Path, other: Path, progress: Progress = silent) -> MergedHome:
    """Take what another home has and this one lacks; the other one stays as it is.

    Where both have different numbers for one thing, those of this home stay, and a `Notice` says so.

    Raises:
        InputError: nothing was ever measured there, or it is this home.
        MissingError: its memo is damaged or of another version, or something cannot be read or written.
    """
    memo, samples = other / MEMO, other / SAMPLES
    if not memo.exists() and not samples.is_dir():
        raise InputError(
            f"nothing is measured in {other}; expected the folder that AUTOPROX_HOME named, with cache in it"
        )
    if home.exists() and home.samefile(other):
        raise InputError(f"{other} is the home folder that is merged into; give others")
    features = Merged()
    if memo.exists():
        with FeatureStore(home / MEMO) as store:
            features = store.merge(_rows(memo))
    files = Merged()
    paths = sorted(path for path in samples.rglob("*.safetensors") if path.name[0] != ".")
    for done, path in enumerate(paths, 1):
        try:
            files += _merge_file(path, home / SAMPLES / path.relative_to(samples))
        except OSError as error:
            raise MissingError(
                f"the samples {path} cannot be taken over: {error.strerror}; make room and merge again"
            ) from None
        progress(f"samples of {other.name}", done, len(paths))
    for what, found in (("numbers", features), ("files of samples", files)):
        if found.damaged:
            tell(f"{found.damaged} {what} in {other} are damaged and were left there; they will be measured again")
        if found.conflicts:
            tell(
                f"{found.conflicts} {what} in {other} differ from those of this home, which stay: the machines or the "
                "versions of libraries were not the same"
            )
    return MergedHome(features, files)


def _rows(memo: Path) -> Iterator[tuple[object, object, object]]:
    """(network, feature, sealed numbers) of a memo that is only read."""
    # without a log nobody writes there, and even a folder that cannot be written can be read
    mode = "ro" if Path(f"{memo}-wal").exists() else "ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(memo.absolute()))}?mode={mode}", uri=True)) as database:
            database.text_factory = bytes
            found = database.execute("PRAGMA user_version").fetchone()[0]
            if found != FORMAT:
                raise MissingError(
                    f"the memo {memo} has format {found}, expected {FORMAT}; have 'autoprox cache' of the same version "
                    "look at it first, with AUTOPROX_HOME set to its home"
                )
            yield from database.execute(
                "SELECT networks.name, features.name, blocks FROM numbers JOIN networks ON networks.id = network "
                "JOIN features ON features.id = feature ORDER BY network"
            )
    except sqlite3.Error as error:
        raise MissingError(
            f"the memo {memo} cannot be read to its end ({error}); what was read before is taken over, the rest has to be "
            "measured again"
        ) from None


def _merge_file(theirs: Path, ours: Path) -> Merged:
    seal = seal_of(theirs)
    if seal is None:
        return Merged(damaged=1)
    known = seal_of(ours)
    if known is not None:
        return Merged(known=1) if known == seal else Merged(conflicts=1)
    ours.parent.mkdir(parents=True, exist_ok=True)
    with replacing(ours) as temporary:
        shutil.copyfile(theirs, temporary)
    return Merged(taken=1)
