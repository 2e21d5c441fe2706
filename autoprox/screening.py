"""Screening: a seeded sample of every statistic of every network, kept on disk, so that any feature costs milliseconds.

A screened number estimates the exact one: a sum over the sample is scaled to the full size. Singular values cannot be
estimated from a part of a matrix, so those of weights and gradients are kept whole. Screening decides which candidates
are worth an exact measurement and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from autoprox.capture import CaptureSettings, Network, architecture_digest, capture, grouped
from autoprox.errors import InputError, MissingError
from autoprox.expression import Expression, statistics
from autoprox.files import replacing
from autoprox.tensors import Tensors, block_values
from autoprox.workers import Progress, Workers, silent
from primitives.operators import OPERATORS, Form
from primitives.statistics import STATISTICS

__all__ = ["ELEMENTS", "SPECTRAL_KINDS", "Screen", "take_samples"]

ELEMENTS = (
    1024  # of each statistic of each block: 3 % standard error of a mean of |normal| numbers, before blocks are joined
)
_CHUNK = 8  # networks evaluated together: their rows of one statistic stay in a core's cache
SPECTRAL_KINDS = ("weight", "grad")  # kinds of statistics whose singular values are kept
_GENERATION = 2


def _positions(length: int, count: int, seed: str) -> Tensor:
    """``count`` ascending positions below ``length``, one from each of ``count`` equal strata."""
    source = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    # the same relative positions in every network: differences between networks are not differences of luck
    return torch.from_numpy(
        ((np.arange(count) + source.random(count)) * (length / count)).astype(np.int64).clip(0, length - 1)
    )


def _sample_block(block: dict[str, Tensor], name: str, width: int, seed: str) -> dict[str, Tensor]:
    statistic = STATISTICS[name]
    members = grouped(block, name)
    flat = members[0].flatten() if len(members) == 1 else torch.cat([m.flatten() for m in members])
    seed = f"{seed}|{statistic.shape_class}"  # a weight and its gradient give the same elements
    picked = {
        "elements": flat[_positions(flat.numel(), ELEMENTS, seed).to(flat.device)],
        "count": torch.tensor(flat.numel() / ELEMENTS),
    }
    if statistic.kind in SPECTRAL_KINDS:
        values = Tensors(tuple(member.unsqueeze(0) for member in members)).singular_values()[0]
        # zeros change no spectral operator, so that rows of all blocks have one length
        picked["spectrum"] = torch.nn.functional.pad(values, (0, width - len(values)))
    return picked


def _task(task: tuple[Network, tuple[str, ...], CaptureSettings, str]) -> None:
    network, names, settings, path = task
    blocks = capture(network, names, settings)
    table: dict[str, Tensor] = {}
    for name in names:
        width = max(sum(min(member.shape) for member in grouped(block, name)) for block in blocks)
        rows = [
            _sample_block(block, name, width, f"{settings.seed}|{network[0]}|{i}") for i, block in enumerate(blocks)
        ]
        for part in rows[0]:
            table[f"{name}|{part}"] = torch.stack([row[part] for row in rows]).float().cpu()
    with replacing(Path(path)) as temporary:
        save_file(table, temporary, metadata={"statistics": json.dumps(names)})


def take_samples(
    networks: Sequence[Network],
    names: Iterable[str],
    settings: CaptureSettings,
    folder: Path,
    workers: Workers,
    progress: Progress = silent,
) -> Screen:
    """Sample the named statistics of networks of one space or several, unless a file of an earlier run has them.

    Each finished network is one file, so an interrupted call continues where it was.

    Raises:
        MissingError: the folder cannot be written.
    """
    wanted = tuple(sorted(names))
    key = hashlib.sha256(f"{_GENERATION}|{ELEMENTS}|{settings.key()}".encode()).hexdigest()[:24]
    place = folder / key
    try:
        place.mkdir(parents=True, exist_ok=True)
        paths = {network: place / f"{architecture_digest(network)}.safetensors" for network in networks}
        tasks = [(network, wanted, settings, str(path)) for network, path in paths.items() if not _has(path, wanted)]
        if tasks:
            progress("sample", 0, len(tasks))
        for done, _ in enumerate(workers.map(_task, tasks), 1):
            progress("sample", done, len(tasks))
    except (OSError, SafetensorError) as error:
        raise MissingError(
            f"the samples of statistics cannot be kept in {place} ({error}); free some disk space, make it writable, or point "
            "AUTOPROX_HOME at another folder"
        ) from None
    return Screen([paths[network] for network in networks])


def _has(path: Path, names: Sequence[str]) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return set(names) <= set(json.loads((file.metadata() or {}).get("statistics", "[]")))
    except (OSError, SafetensorError, ValueError):
        return False


class Screen:
    """Samples of several networks; evaluates features on them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        with safe_open(paths[0], "pt") as first:
            some = next(key for key in first.keys() if key.endswith("|count"))  # noqa: SIM118 - not a dict
        self._blocks = [len(self._read(path, some)) for path in paths]
        self._tables: dict[str, Tensor] = {}

    @staticmethod
    def _read(path: Path, key: str) -> Tensor:
        with safe_open(path, "pt") as file:
            return file.get_tensor(key)

    def _rows(self, key: str) -> Tensor:
        """A sampled part of all networks, blocks one after the other; read once."""
        if key not in self._tables:
            parts = [self._read(path, key) for path in self._paths]
            if key.endswith("|spectrum"):
                width = max(part.shape[1] for part in parts)
                parts = [torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts]
            self._tables[key] = torch.cat(parts)
        return self._tables[key]

    def _leaf(self, name: str) -> tuple[Tensor, Tensor]:
        return self._rows(f"{name}|elements").unsqueeze(1), self._rows(f"{name}|count")

    def _spectrum(self, expression: Expression) -> Tensor:
        if expression.args or STATISTICS[expression.head].kind not in SPECTRAL_KINDS:
            raise InputError(f"the singular values of {expression} can only be measured exactly, not on samples")
        return self._rows(f"{expression.head}|spectrum")

    def measured(
        self, features: Sequence[Expression], threads: int = 1
    ) -> dict[Expression, list[np.ndarray[Any, np.dtype[np.float64]]]]:
        """Estimate features.

        Returns:
            {feature: for each network (blocks,) float64}.
        """
        torch.set_num_threads(1)
        for feature in features:  # read before the threads start
            if OPERATORS[feature.head].form is Form.SPECTRAL:
                self._spectrum(feature.args[0])
            else:
                for name in statistics(feature):
                    self._leaf(name)
        starts = np.cumsum([0, *self._blocks])
        chunks = [
            slice(int(starts[i]), int(starts[min(i + _CHUNK, len(self._blocks))]))
            for i in range(0, len(self._blocks), _CHUNK)
        ]

        def evaluate(rows: slice) -> dict[Expression, Tensor]:
            with torch.no_grad():
                return block_values(
                    features,
                    lambda name: Tensors((self._leaf(name)[0][rows],), self._leaf(name)[1][rows]),
                    lambda expression: self._spectrum(expression)[rows],
                )

        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(evaluate, chunks))
        joined = {feature: torch.cat([part[feature] for part in parts]).numpy() for feature in features}
        return {feature: np.split(column, starts[1:-1]) for feature, column in joined.items()}
