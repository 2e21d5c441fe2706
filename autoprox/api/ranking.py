"""`autoprox.rank`, which is also what the command of that name does."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from autoprox.api.captures import capture_settings, memo
from autoprox.api.groundtruth import ground_truth, listed
from autoprox.api.watching import pool_of, shown
from autoprox.measuring.workers import Progress, Workers

if TYPE_CHECKING:
    from autoprox.api.results import Ranked
    from autoprox.measuring.shards import Shard
    from autoprox.proxies.proxy import Proxy

__all__ = ["measured_part", "rank"]


def rank(
    proxy: str | PathLike[str] | Proxy | Sequence[str | PathLike[str] | Proxy],
    *,
    bench: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    spaces: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    labels: str | None = None,
    split: str = "all",
    batch_size: int = 8,
    seed: int = 0,
    data_root: str | PathLike[str] | None = None,
    augment: bool = False,
    text: str | PathLike[str] | None = None,
    device: str = "cpu",
    workers: int | Workers | None = None,
    progress: Progress | None = None,
) -> Ranked:
    """Say how well proxies rank trained architectures, beside parameter count, FLOPs and depth.

    The same as ``autoprox rank``, whose options these arguments are; `autoprox.discover` explains those that both have.

    Args:
        proxy: one or several: proxies, proxy files, known names, expressions.
        split: ``all`` architectures, or those of the ``test`` part, which no discovery has seen.
        seed: of the initial weights, the batch and the intervals.
        text: a local text that networks which read text are measured on.

    Raises:
        InputError: what was given is wrong; says what, and what to do.
        MissingError: something outside is missing.
    """
    from autoprox.api.results import Ranked
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.losses import left_out
    from autoprox.proxies.proxy import Proxy
    from autoprox.ranking.comparison import compare
    from autoprox.ranking.evidence import Evidence
    from autoprox.ranking.verdict import verdict

    several = [proxy] if isinstance(proxy, str | PathLike | Proxy) else proxy
    asked = [proxy_of(one) for one in several]
    settings = capture_settings(batch_size, seed, data_root, device, text, augment=augment, workers=workers)
    tables = [bench] if isinstance(bench, str | PathLike) else bench
    truth = ground_truth([str(table) for table in tables], listed(spaces), listed(datasets), labels, settings)
    check_text(settings, [group.space for group in truth.groups])
    with shown(progress) as told, pool_of(workers) as pool:
        found = compare(truth.groups, asked, settings, memo(), pool, split=split, seed=seed, progress=told)
    verdicts = {label: verdict(evidence.to_json()) for label, evidence in found.evidence.items()}
    corrected = Evidence.family_wise(found.evidence)
    summaries = [
        {
            "proxy": label,
            "verdict": [finding.to_json() for finding in verdicts[label]],
            "p_family": corrected[label],
            "joint": evidence.joint.to_json(),
        }
        for label, evidence in found.evidence.items()
    ]
    return Ranked(tuple(found.rows), tuple(summaries), verdicts, tuple(left_out(found.lost)))


def measured_part(
    proxies: Sequence[str],
    shard: Shard,
    workers: Workers,
    *,
    bench: Sequence[str],
    spaces: str | None,
    datasets: str | None,
    labels: str | None,
    split: str,
    batch_size: int,
    seed: int,
    data_root: str | PathLike[str] | None,
    augment: bool,
    text: str | PathLike[str] | None,
    device: str,
) -> tuple[int, int]:
    """Measure one part of the architectures that `rank` measures; how many, and of how many. Arguments as there."""
    from autoprox.measuring.capture import check_text
    from autoprox.ranking.comparison import measure_part

    settings = capture_settings(batch_size, seed, data_root, device, text, augment=augment, workers=workers)
    truth = ground_truth(list(bench), listed(spaces), listed(datasets), labels, settings)
    check_text(settings, [group.space for group in truth.groups])
    asked = [proxy_of(one) for one in proxies]
    with shown(None) as told:
        return measure_part(truth.groups, asked, settings, memo(), workers, shard, split=split, progress=told)


def proxy_of(given: str | PathLike[str] | Proxy) -> Proxy:
    """The proxy itself, or what a text or a path names; see `autoprox.proxies.proxy.resolve_proxy`."""
    from autoprox.proxies.proxy import Proxy

    return given if isinstance(given, Proxy) else Proxy.load(str(given))
