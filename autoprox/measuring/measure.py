"""Features of many networks: from the memo where they are known, else captured, network by network, and kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from autoprox.errors import InputError
from autoprox.language.expression import Expression
from autoprox.language.text import parse, to_text
from autoprox.measuring.capture import CaptureSettings, Lacking, Network, Values, block_features, check_images
from autoprox.measuring.losses import Lost
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.spaces import get_space

__all__ = ["BlockValues", "measured", "measured_where_possible"]

BlockValues: TypeAlias = Mapping[Expression, Values]
"""{feature: (blocks,)} of one network."""

_WRITE_EVERY = 5.0  # seconds of work that an interruption may cost


def _task(task: tuple[Network, tuple[str, ...], CaptureSettings, str]) -> dict[str, Any]:
    network, texts, settings, key = task
    check_images(settings, key)
    values = block_features(network, [parse(text) for text in texts], settings)
    return dict(zip(texts, values.values(), strict=True))


def _lost(task: tuple[Network, tuple[str, ...], CaptureSettings, str], reason: str) -> dict[str, Any]:
    return dict.fromkeys(task[1], Lost(reason))


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
        For each network {feature: (blocks,) float64}; `Lost` where its processes died twice, which the store does not keep.

    Raises:
        InputError: a network has no such statistic, as a layer without attention has no attention map; at the first one.
    """
    return _measured(networks, features, settings, store, workers, progress, stage, strict=True)


def measured_where_possible(
    networks: Sequence[Network],
    features: Sequence[Expression],
    settings: CaptureSettings,
    store: FeatureStore,
    workers: Workers,
    progress: Progress = silent,
    stage: str = "capture",
) -> list[Mapping[Expression, Values | Lacking]]:
    """`measured`, where a statistic that a network cannot have ends nothing: its features are `Lacking` there.

    Those are not kept in the store. Finding them again costs building the network, and at most the run of one block.
    """
    return _measured(networks, features, settings, store, workers, progress, stage, strict=False)


def _measured(
    networks: Sequence[Network],
    features: Sequence[Expression],
    settings: CaptureSettings,
    store: FeatureStore,
    workers: Workers,
    progress: Progress,
    stage: str,
    strict: bool,
) -> list[Mapping[Expression, Any]]:
    known: dict[Network, dict[str, Any]] = {network: {} for network in networks}
    names = {network: "|".join(network) for network in known}
    texts = {feature: to_text(feature) for feature in features}
    keys: dict[CaptureSettings, str] = {}
    missing: dict[Network, dict[Expression, CaptureSettings]] = {network: {} for network in known}
    for part, (concerned, wanted) in _by_settings(known, features, settings).items():
        keys[part] = part.key()
        found = store.read(keys[part], [names[network] for network in concerned], [texts[f] for f in wanted])
        for network in concerned:
            known[network].update(found[names[network]])
            missing[network].update({f: part for f in wanted if texts[f] not in found[names[network]]})
    # one capture a network; what needs less than the rest has the same numbers in its company
    tasks = []
    for network, parts in missing.items():
        if parts:
            whole = settings.for_space(get_space(network[0])).for_features(parts)
            tasks.append((network, tuple(texts[f] for f in parts), whole, keys[whole]))
    pending: dict[str, dict[str, dict[str, Any]]] = {}
    written = time.monotonic()

    def flush() -> None:
        for key, values in pending.items():
            store.write(key, values)
        pending.clear()

    if tasks:
        progress(stage, 0, len(tasks))
    results = workers.map(
        _task, tasks, _lost, here=len(networks) <= 1
    )  # the others are not put at stake by the last one
    try:
        for done, ((network, *_), values) in enumerate(zip(tasks, results, strict=True), 1):
            known[network].update(values)
            for feature, part in missing[network].items():
                if not isinstance(value := values[texts[feature]], Lacking):
                    pending.setdefault(keys[part], {}).setdefault(names[network], {})[texts[feature]] = value
            absent = [(t, v) for t, v in values.items() if isinstance(v, Lacking) and not isinstance(v, Lost)]
            if strict and absent:
                text, lacking = absent[0]
                raise InputError(
                    f"{text} cannot be measured on an architecture of {network[0]}: {lacking.reason}; choose another proxy"
                )
            if time.monotonic() - written > _WRITE_EVERY:
                flush()
                written = time.monotonic()
            progress(stage, done, len(tasks))
    finally:
        flush()
    return [{feature: known[network][text] for feature, text in texts.items()} for network in networks]


def _by_settings(
    networks: Iterable[Network], features: Iterable[Expression], settings: CaptureSettings
) -> dict[CaptureSettings, tuple[list[Network], list[Expression]]]:
    """Networks and features by the part of the settings that they depend on."""
    found: dict[CaptureSettings, tuple[list[Network], list[Expression]]] = {}
    spaces: dict[str, list[Network]] = {}
    for network in networks:
        spaces.setdefault(network[0], []).append(network)
    for space, own in spaces.items():
        parts: dict[CaptureSettings, list[Expression]] = {}
        for feature in features:
            parts.setdefault(settings.for_space(get_space(space)).for_features([feature]), []).append(feature)
        for part, wanted in parts.items():
            found.setdefault(part, ([], wanted))[0].extend(own)
    return found
