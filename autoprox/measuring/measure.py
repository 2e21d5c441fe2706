"""Features of many networks: from the memo where they are known, else captured, network by network, and kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from autoprox.language.expression import Expression
from autoprox.language.text import parse, to_text
from autoprox.measuring.capture import CaptureSettings, Network, block_features
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent

__all__ = ["BlockValues", "measured"]

BlockValues: TypeAlias = Mapping[Expression, np.ndarray[Any, np.dtype[np.float64]]]
"""{feature: (blocks,)} of one network."""

_WRITE_EVERY = 5.0  # seconds of work that an interruption may cost


def _task(task: tuple[Network, tuple[str, ...], CaptureSettings]) -> dict[str, Any]:
    network, texts, settings = task
    values = block_features(network, [parse(text) for text in texts], settings)
    return dict(zip(texts, values.values(), strict=True))


def measured(
    networks: Sequence[Network],
    features: Sequence[Expression],
    settings: CaptureSettings,
    store: FeatureStore,
    workers: Workers,
    progress: Progress = silent,
    stage: str = "capture",
) -> list[BlockValues]:
    """Measure canonical features on networks, exactly.

    Every finished network is kept in the store within seconds, so an interrupted call costs almost nothing.

    Returns:
        For each network {feature: (blocks,) float64}.
    """
    known: dict[Network, dict[str, Any]] = {network: {} for network in networks}
    names = {network: "|".join(network) for network in known}
    by_settings: dict[CaptureSettings, list[str]] = {}
    for feature in dict.fromkeys(features):
        by_settings.setdefault(settings.for_features([feature]), []).append(to_text(feature))
    tasks = []
    for part, texts in by_settings.items():
        found = store.read(part.key(), list(names.values()), texts)
        for network, name in names.items():
            known[network].update(found[name])
            missing = tuple(text for text in texts if text not in found[name])
            if missing:
                tasks.append((network, missing, part))
    pending: dict[str, dict[str, dict[str, Any]]] = {}
    written = time.monotonic()

    def flush() -> None:
        for key, values in pending.items():
            store.write(key, values)
        pending.clear()

    if tasks:
        progress(stage, 0, len(tasks))
    try:
        for done, ((network, _, part), values) in enumerate(zip(tasks, workers.map(_task, tasks), strict=True), 1):
            known[network].update(values)
            pending.setdefault(part.key(), {})[names[network]] = values
            if time.monotonic() - written > _WRITE_EVERY:
                flush()
                written = time.monotonic()
            progress(stage, done, len(tasks))
    finally:
        flush()
    return [{feature: known[network][to_text(feature)] for feature in features} for network in networks]
