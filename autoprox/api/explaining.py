"""`autoprox.explain`, which is also what the command of that name does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

from autoprox.api.captures import capture_settings, memo
from autoprox.api.groundtruth import ground_truth, listed
from autoprox.api.ranking import proxy_of
from autoprox.api.watching import pool_of, shown
from autoprox.measuring.workers import Progress, Workers

if TYPE_CHECKING:
    from autoprox.api.results import Explained
    from autoprox.proxies.proxy import Proxy

__all__ = ["explain"]


def explain(
    proxy: str | PathLike[str] | Proxy,
    *,
    bench: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    spaces: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    labels: str | None = None,
    split: str = "test",
    batch_size: int = 8,
    seed: int = 0,
    device: str = "cpu",
    workers: int | Workers | None = None,
    progress: Progress | None = None,
) -> Explained:
    """Say in words what a proxy computes, which of its parts and which blocks matter, and what it is like.

    The same as ``autoprox explain``, whose options these arguments are; `autoprox.discover` explains those that both have.

    Args:
        split: ``test`` architectures, which no discovery selects by, or ``all``.
        seed: of the initial weights, the batch and the intervals.

    Raises:
        InputError: what was given is wrong, or the proxy has no usable scores; says what, and what to do.
        MissingError: something outside is missing.
    """
    from autoprox.api.results import Explained
    from autoprox.explaining import explain as run

    asked = proxy_of(proxy)
    settings = capture_settings(batch_size, seed, device=device)
    tables = [bench] if isinstance(bench, str | PathLike) else bench
    truth = ground_truth([str(table) for table in tables], listed(spaces), listed(datasets), labels, settings)
    salts = asked.provenance.get("salt")  # what a discovery has not seen is told by its own split
    known = {space: salt for space, salt in salts.items() if isinstance(salt, str)} if isinstance(salts, dict) else {}
    groups = [replace(group, salt=known.get(group.space, group.salt)) for group in truth.groups]
    with shown(progress) as told, pool_of(workers) as pool:
        found = run(asked, groups, settings, memo(), pool, split=split, seed=seed, progress=told)
    return Explained(found, tuple(truth.record()))
