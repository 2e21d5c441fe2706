"""Screening: a seeded sample of every statistic of every network, kept on disk, so that any feature costs milliseconds.

A screened number estimates the exact one: sums are scaled to the full size, singular values to the full matrix. It decides
which candidates are worth an exact measurement and nothing else.
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
from autoprox.errors import MissingError
from autoprox.expression import Expression
from autoprox.files import replacing
from autoprox.tensors import Tensors, block_values, needs_matrices
from autoprox.workers import Progress, Workers, silent
from primitives.statistics import GROUPS, STATISTICS

__all__ = ["ELEMENTS", "SIDE", "Screen", "take_samples"]

ELEMENTS = 1024  # of each statistic of each block: 3 % standard error of a mean of |normal| numbers, before blocks are joined
SIDE = 32  # of the square sample that spectral operators see
_CHUNK = 8  # networks evaluated together: their rows of one statistic stay in a core's cache
_GENERATION = 1


def _positions(length: int, count: int, seed: str) -> Tensor:
    """``count`` ascending positions below ``length``, one from each of ``count`` equal strata."""
    source = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    # the same relative positions in every network: differences between networks are not differences of luck
    return torch.from_numpy(((np.arange(count) + source.random(count)) * (length / count)).astype(np.int64).clip(0, length - 1))


def _sample_block(block: dict[str, Tensor], name: str, seed: str) -> dict[str, Tensor]:
    statistic = STATISTICS[name]
    members = grouped(block, name)
    flat = members[0].flatten() if len(members) == 1 else torch.cat([m.flatten() for m in members])
    seed = f"{seed}|{statistic.shape_class}"  # a weight and its gradient give the same elements
    picked = {
        "elements": flat[_positions(flat.numel(), ELEMENTS, seed).to(flat.device)],
        "count": torch.tensor(flat.numel() / ELEMENTS),
    }
    if statistic.site not in GROUPS:
        matrix = members[0] if members[0].shape[0] <= members[0].shape[1] else members[0].mT
        rows, columns = (_positions(n, SIDE, f"{seed}|{i}").to(flat.device) for i, n in enumerate(matrix.shape))
        picked["matrix"] = matrix[rows][:, columns].contiguous()
        picked["short"], picked["long"] = (torch.tensor(n / SIDE) for n in matrix.shape)
    return picked


def _task(task: tuple[Network, tuple[str, ...], CaptureSettings, str]) -> None:
    network, names, settings, path = task
    blocks = capture(network, names, settings)
    table: dict[str, Tensor] = {}
    for name in names:
        rows = [_sample_block(block, name, f"{settings.seed}|{network[0]}|{i}") for i, block in enumerate(blocks)]
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
    key = hashlib.sha256(f"{_GENERATION}|{ELEMENTS}|{SIDE}|{settings.key()}".encode()).hexdigest()[:24]
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
            self._tables[key] = torch.cat([self._read(path, key) for path in self._paths])
        return self._tables[key]

    def measured(
        self, features: Sequence[Expression], threads: int = 1
    ) -> dict[Expression, list[np.ndarray[Any, np.dtype[np.float64]]]]:
        """Estimate features.

        Returns:
            {feature: for each network (blocks,) float64}.
        """
        torch.set_num_threads(1)
        matrices = [feature for feature in features if needs_matrices(feature)]
        elements = [feature for feature in features if not needs_matrices(feature)]
        for feature in features:  # read before the threads start
            for name in _leaves(feature):
                for part in ("matrix", "short", "long") if needs_matrices(feature) else ("elements", "count"):
                    self._rows(f"{name}|{part}")
        starts = np.cumsum([0, *self._blocks])
        chunks = [
            slice(int(starts[i]), int(starts[min(i + _CHUNK, len(self._blocks))]))
            for i in range(0, len(self._blocks), _CHUNK)
        ]

        def evaluate(rows: slice) -> dict[Expression, Tensor]:
            def element_leaf(name: str) -> Tensors:
                return Tensors((self._rows(f"{name}|elements")[rows].unsqueeze(1),), self._rows(f"{name}|count")[rows])

            def matrix_leaf(name: str) -> Tensors:
                short, long = (self._rows(f"{name}|{side}")[rows] for side in ("short", "long"))
                return Tensors((self._rows(f"{name}|matrix")[rows],), short * long, short, long)

            with torch.no_grad():
                return block_values(elements, element_leaf) | block_values(matrices, matrix_leaf)

        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(evaluate, chunks))
        joined = {feature: torch.cat([part[feature] for part in parts]).numpy() for feature in features}
        return {feature: np.split(column, starts[1:-1]) for feature, column in joined.items()}


def _leaves(feature: Expression) -> list[str]:
    return [name for arg in feature.args for name in _leaves(arg)] if feature.args else [feature.head]
