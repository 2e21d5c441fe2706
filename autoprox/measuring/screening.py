"""Screening: a seeded sample of every statistic of every network, kept on disk, so that any feature costs milliseconds.

Reductions of the plain statistics are kept exactly; of anything computed from them element by element a screened number
is an estimate from weighted elements. Singular values cannot be estimated from a part of a matrix, so only
those of plain weights and gradients are there; and what compares rows or joins blocks has to see whole matrices, so it
can only be measured exactly. Screening decides which candidates are worth an exact measurement and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from autoprox.errors import InputError, MissingError
from autoprox.files import replacing
from autoprox.language.expression import Expression, kind, statistics, subexpressions
from autoprox.language.expression import features as features_of
from autoprox.language.text import to_text
from autoprox.measuring.capture import CaptureSettings, Network, architecture_digest, capture, check_images, grouped
from autoprox.measuring.sampling import sampled
from autoprox.measuring.spectra import remembered, singular_values
from autoprox.measuring.tensors import Tensors, block_values
from autoprox.measuring.workers import Notice, Progress, Workers, silent
from primitives.operators import BUILT_IN, OPERATORS, STRUCTURAL, Form
from primitives.statistics import STATISTICS

__all__ = ["ELEMENTS", "SAMPLES", "SPECTRAL_KINDS", "Screen", "seal_of", "take_samples"]

# Of each statistic of each block; see `sampling` for what they estimate well.
ELEMENTS = 1024
SPECTRAL_KINDS = ("weight", "grad")  # kinds of statistics whose spectral reductions are kept
SAMPLES = Path("cache") / "samples"  # below the home folder
_CHUNK = 8  # networks evaluated together: their rows of one statistic stay in a core's cache
_GENERATION = 8
_WHOLE = (
    Form.SPECTRAL,
    Form.PATTERN,
    *STRUCTURAL,
)  # forms that say nothing about a matrix from a sample of its elements


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay, since starting them takes as long as a candidate."""
    return ThreadPoolExecutor(threads)


@cache
def plain_features(name: str) -> tuple[Expression, ...]:
    """The features of one statistic that are kept exactly."""
    forms = {Form.REDUCTION} | ({Form.SPECTRAL} if STATISTICS[name].kind in SPECTRAL_KINDS else set())
    return tuple(
        Expression(operator, (Expression(name),)) for operator in BUILT_IN if OPERATORS[operator].form in forms
    )


def _sample_block(block: dict[str, Tensor], names: Sequence[str], seed: str) -> dict[str, Tensor]:
    """The kept parts of all statistics of a block: elements and plain features of each, weights of each shape class."""
    kept: dict[str, Tensor] = {}
    spectra: dict[int, Tensor] = {}  # by matrix, since groups share members
    classes: dict[str, list[str]] = {}
    for name in names:
        classes.setdefault(STATISTICS[name].shape_class, []).append(name)
    for shape, members in classes.items():
        flats = {name: _flat(grouped(block, name)) for name in members}
        totals = []
        for name, flat in flats.items():
            values = _singular_values(grouped(block, name), name, spectra)
            plain = {
                operator.name: operator.function(values if operator.form is Form.SPECTRAL else flat).double().cpu()
                for operator in (OPERATORS[feature.head] for feature in plain_features(name))
            }
            kept[f"{name}|plain"] = torch.stack(list(plain.values()))
            totals.append(torch.stack([plain["sum"], plain["l1"], plain["l2"].square()]))
        # a weight and its gradients give the same elements
        positions, kept[f"{shape}|weights"] = sampled(
            list(flats.values()), torch.stack(totals), ELEMENTS, f"{seed}|{shape}"
        )
        for name, flat in flats.items():
            kept[f"{name}|elements"] = flat[positions.to(flat.device)].float().cpu()
    return kept


def _flat(matrices: Sequence[Tensor]) -> Tensor:
    return matrices[0].flatten() if len(matrices) == 1 else torch.cat([matrix.flatten() for matrix in matrices])


def _singular_values(matrices: Sequence[Tensor], name: str, known: dict[int, Tensor]) -> Tensor | None:
    """Singular values of a statistic's matrices, where its spectral reductions are kept; each is decomposed once."""
    if STATISTICS[name].kind not in SPECTRAL_KINDS:
        return None
    for matrix in matrices:
        if id(matrix) not in known:
            decompose = remembered if STATISTICS[name].kind == "weight" else singular_values
            known[id(matrix)] = decompose(matrix.unsqueeze(0))[0]
    return torch.cat([known[id(matrix)] for matrix in matrices])


def _task(task: tuple[Network, tuple[str, ...], CaptureSettings, str]) -> tuple[Network, bytes | str]:
    """The content of a network's file; whoever hands out the work writes it, since the home folder is there alone."""
    network, names, settings, key = task
    check_images(settings, key)
    blocks = capture(network, names, settings)
    rows = []
    for i, block in enumerate(blocks):
        rows.append(_sample_block(block, names, f"{settings.seed}|{network[0]}|{i}"))
        blocks[i] = {}  # frees the block's tensors
    table = {part: torch.stack([row[part] for row in rows]) for part in rows[0]}
    # one key of metadata: several would have no order, and the file not always the same bytes
    return network, save(table, metadata={"kept": json.dumps([names, _seal(table)])})


def _lost(task: tuple[Network, tuple[str, ...], CaptureSettings, str], reason: str) -> tuple[Network, str]:
    return task[0], reason


def _seal(table: Mapping[str, Tensor]) -> str:
    """A checksum of all numbers of a file, by which damage is noticed."""
    digest = hashlib.blake2b(digest_size=16)
    for part in sorted(table):
        digest.update(part.encode())
        digest.update(table[part].cpu().numpy().tobytes())
    return digest.hexdigest()


def take_samples(
    networks: Sequence[Network],
    names: Iterable[str],
    settings: CaptureSettings,
    folder: Path,
    workers: Workers,
    progress: Progress = silent,
    lost: dict[Network, str] | None = None,
) -> Screen:
    """Sample the named statistics of networks of one space or several, unless a file of an earlier run has them.

    Each finished network is one file, so an interrupted call continues where it was. A file whose numbers are not those that
    were written is made again, and a `Notice` says so.

    Args:
        lost: takes the networks whose processes die twice, with the reasons; the rest is sampled. None: they are an error.

    Raises:
        MissingError: the folder cannot be written, or no network is left.
    """
    wanted = tuple(sorted(names))
    key = settings.key()
    place = folder / hashlib.sha256(f"{_GENERATION}|{ELEMENTS}|{key}|{wanted}".encode()).hexdigest()[:24]
    try:
        place.mkdir(parents=True, exist_ok=True)
        paths = {network: place / f"{architecture_digest(network)}.safetensors" for network in networks}
        missing = [network for network, path in paths.items() if not _has(path, wanted)]
        tasks = [(network, wanted, settings, key) for network in missing]
        if damaged := sum(paths[network].exists() for network in missing):
            text = f"the samples of {damaged} of {len(paths)} networks in {place} are damaged; they are measured again"
            warnings.warn(text, Notice, stacklevel=2)
        if tasks:
            progress("sample", 0, len(tasks))
        given_up = {} if lost is None else lost
        for done, (network, content) in enumerate(workers.completed(_task, tasks, None if lost is None else _lost), 1):
            if isinstance(content, str):
                given_up[network] = content
            else:
                with replacing(paths[network]) as temporary:
                    temporary.write_bytes(content)
            progress("sample", done, len(tasks))
    except (OSError, SafetensorError) as error:
        raise MissingError(
            f"the samples of statistics cannot be kept in {place} ({error}); free some disk space, make it writable, or point "
            "AUTOPROX_HOME at another folder"
        ) from None
    left = [paths[network] for network in networks if network not in given_up]
    if not left:
        raise MissingError(f"none of the {len(networks)} networks could be measured: every process that tried it died")
    return Screen(left)


def _has(path: Path, names: Sequence[str]) -> bool:
    sound = _sound(path)
    return sound is not None and set(names) <= sound[0]


def seal_of(path: Path) -> str | None:
    """By which equal numbers are known; None where the file's numbers are not those that were written."""
    sound = _sound(path)
    return None if sound is None else sound[1]


def _sound(path: Path) -> tuple[set[str], str] | None:
    """The names of the statistics and the checksum of a file that is as it was written."""
    try:
        with safe_open(path, "pt") as file:
            kept, seal = json.loads((file.metadata() or {}).get("kept", "[[], null]"))
            table = {part: file.get_tensor(part) for part in file.keys()}  # noqa: SIM118 - not a dict
        return (set(kept), seal) if seal == _seal(table) else None
    except (OSError, SafetensorError, TypeError, ValueError):
        return None


class Screen:
    """Samples of several networks; evaluates features on them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._tables: dict[str, Tensor] = {}
        self._places: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    @cached_property
    def _kept(self) -> tuple[dict[str, list[Tensor]], list[int]]:
        """All that was kept of each network, and its number of blocks; every file is opened once, since evolution asks for
        nearly all of it."""
        parts: dict[str, list[Tensor]] = {}
        for path in self._paths:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - not a dict
                    parts.setdefault(key, []).append(file.get_tensor(key))
        return parts, [len(part) for part in next(iter(parts.values()))]

    @property
    def _blocks(self) -> list[int]:
        return self._kept[1]

    def _rows(self, key: str) -> Tensor:
        """A sampled part of all networks, blocks one after the other."""
        if key not in self._tables:
            parts, _ = self._kept
            self._tables[key], parts[key] = torch.cat(parts[key]), []  # not kept twice
        return self._tables[key]

    def _sample(self, name: str, part: int, rows: slice) -> tuple[Tensor, Tensor]:
        """Elements of a statistic and their weights, (rows, elements) each, in the sample or in one half of it."""
        elements, shape = self._rows(f"{name}|elements")[rows], STATISTICS[name].shape_class
        if part == 0:
            return elements, self._rows(f"{shape}|weights")[rows, 0]
        places, weights = self._half(shape, part)
        return elements.gather(1, places[rows]), weights[rows]

    def _half(self, shape: str, part: int) -> tuple[Tensor, Tensor]:
        """Where the elements of a half are, and their weights; rows with fewer than others repeat one that counts 0."""
        if (shape, part) not in self._places:
            weights = self._rows(f"{shape}|weights")[:, part]
            longest = int((weights > 0).sum(1).max())
            places = (weights == 0).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
            found = weights.gather(1, places)
            self._places[shape, part] = torch.where(found > 0, places, places[:, :1]), found
        return self._places[shape, part]

    def _plain(self, feature: Expression) -> Tensor | None:
        """A feature that is kept exactly, (rows,) float64."""
        name = feature.args[0].head
        if feature.args[0].args:
            return None
        kept = plain_features(name)
        return self._rows(f"{name}|plain")[:, kept.index(feature)] if feature in kept else None

    def not_finite(self) -> list[int]:
        """The networks that have a statistic whose elements have no finite sum."""
        found = torch.zeros(sum(self._blocks), dtype=torch.bool)
        for name in [key.removesuffix("|plain") for key in self._kept[0] if key.endswith("|plain")]:
            column = [feature.head for feature in plain_features(name)].index("sum")
            found |= ~self._rows(f"{name}|plain")[:, column].isfinite()
        return [i for i, rows in enumerate(torch.split(found, self._blocks)) if rows.any()]

    def estimates(self, expression: Expression) -> bool:
        """Whether any feature of it is not kept exactly."""
        return any(self._plain(feature) is None for feature in features_of(expression))

    def measured(
        self, features: Sequence[Expression], threads: int = 1, half: int | None = None
    ) -> dict[Expression, list[np.ndarray[Any, np.dtype[np.float64]]]]:
        """Estimate features.

        Args:
            features: from tensor to block level.
            threads: of this process.
            half: estimate from one half of each sample, 0 or 1 (what is kept exactly is the same in both).

        Returns:
            {feature: for each network (blocks,) float64}.
        """
        torch.set_num_threads(1)
        part = 0 if half is None else 1 + half
        exact = {feature: plain for feature in features if (plain := self._plain(feature)) is not None}
        estimated = [feature for feature in features if feature not in exact]
        for feature in estimated:
            for e in subexpressions(feature):
                if (e.args and OPERATORS[e.head].form in _WHOLE) or kind(e).level == "network":
                    raise InputError(f"{to_text(e)} can only be measured exactly, not on samples")
            for name in statistics(feature):  # read before the threads start
                self._sample(name, part, slice(0))
        starts = np.cumsum([0, *self._blocks])
        chunks = [
            slice(int(starts[i]), int(starts[min(i + _CHUNK, len(self._blocks))]))
            for i in range(0, len(self._blocks), _CHUNK)
        ]

        def evaluate(rows: slice) -> dict[Expression, Tensor]:
            def leaf(name: str) -> Tensors:
                elements, weights = self._sample(name, part, rows)
                return Tensors((elements.unsqueeze(1),), weights)

            with torch.no_grad():
                return block_values(estimated, leaf)

        parts = list(map(evaluate, chunks) if threads == 1 else _pool(threads).map(evaluate, chunks))
        joined = {feature: torch.cat([part[feature] for part in parts]).numpy() for feature in estimated}
        joined |= {feature: column.numpy() for feature, column in exact.items()}
        return {feature: np.split(column, starts[1:-1]) for feature, column in joined.items()}
