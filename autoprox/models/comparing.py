"""Scores of many models by many proxies: architecture files and models of other libraries, over processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprox.errors import InputError, MissingError
from autoprox.language.expression import Expression
from autoprox.language.text import parse, to_text
from autoprox.measuring.capture import CaptureSettings, Network
from autoprox.measuring.measure import measured_where_possible
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.models.adapter import adapter_of
from autoprox.models.batches import batch_of_settings
from autoprox.models.scoring import Found, judged, measure_model, numbers_in
from autoprox.models.sizes import count_parameters
from autoprox.models.sources import PREFIXES, Source, parse_source
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.scoring import Judge, Measurement
from autoprox.ranking.problem import numbers_of
from autoprox.spaces.architecture_file import load_architecture

__all__ = ["ScoredModel", "score_models"]


@dataclass(frozen=True)
class ScoredModel:
    """One model.

    Attributes:
        model: as it was named.
        params: its parameters; None where it cannot be built.
        scores: one a proxy, or why there is none.
    """

    model: str
    params: int | None
    scores: tuple[float | Invalid, ...]


_Outcome = tuple[int | None, "Found | Invalid | InputError"]
"""Parameters and what was found: nothing can be measured, or with an InputError not even be built."""


def score_models(
    proxies: Sequence[Expression],
    models: Sequence[str],
    settings: CaptureSettings,
    store: FeatureStore,
    workers: Workers,
    progress: Progress = silent,
    *,
    download: bool = False,
) -> list[ScoredModel]:
    """Score architecture files and models named ``timm:NAME`` or ``hf:CONFIG`` by proxies.

    A population-relative proxy (rank, z-score) compares the given models of one space with each other; as soon as a model of
    another library is among them, all given models. A model that cannot be measured has no scores; the others do.

    Args:
        proxies: what to score by.
        models: paths and names; a model that is named twice counts once.
        settings: of the measurement; the seed is that of initial weights as well.
        store: the memo, of architectures of the spaces.
        workers: measure models beside each other.
        progress: told about the models.
        download: whether configurations may be fetched from the hub.

    Returns:
        For each model, in order, its parameters and its scores.

    Raises:
        InputError: a model is no architecture file and not known, before anything is measured; or none can be built as asked.
        MissingError: a library is missing, or what is measured on cannot be read.
    """
    judges = [Judge(proxy) for proxy in proxies]
    wanted = list(dict.fromkeys(feature for judge in judges for feature in judge.features))
    distinct = list(dict.fromkeys(models))
    sources = {text: parse_source(text, download) for text in distinct if text.startswith(PREFIXES)}
    files = {text: load_architecture(Path(text)).network for text in distinct if text not in sources}
    for source in sources.values():
        source.check()
    outcomes: dict[str, _Outcome] = {}
    if files:
        outcomes.update(_of_spaces(files, wanted, settings, store, workers, progress))
    texts = tuple(map(to_text, wanted))
    tasks = [
        (source.text, source, texts, numbers_in([j.proxy for j in judges]), settings) for source in sources.values()
    ]
    if tasks:
        progress("score", 0, len(tasks))
    for done, (task, outcome) in enumerate(zip(tasks, workers.map(_task, tasks, _lost), strict=True), 1):
        outcomes[task[0]] = outcome
        progress("score", done, len(tasks))
    failed = [found for _, found in outcomes.values() if isinstance(found, InputError)]
    if len(failed) == len(distinct):
        raise failed[0]
    groups = [distinct] if sources else _by_space(files)
    scores: dict[str, list[float | Invalid]] = {text: [] for text in distinct}
    for judge in judges:
        for group in groups:
            measurements = [_measurement(judge, text, outcomes[text][1]) for text in group]
            for text, score in zip(group, judge.scores(measurements), strict=True):
                scores[text].append(score)
    return [ScoredModel(text, outcomes[text][0], tuple(scores[text])) for text in models]


def _by_space(files: dict[str, Network]) -> list[list[str]]:
    spaces = dict.fromkeys(space for space, _ in files.values())
    return [[text for text, network in files.items() if network[0] == space] for space in spaces]


def _of_spaces(
    files: dict[str, Network],
    wanted: Sequence[Expression],
    settings: CaptureSettings,
    store: FeatureStore,
    workers: Workers,
    progress: Progress,
) -> dict[str, _Outcome]:
    networks = list(dict.fromkeys(files.values()))
    rows: list[Any] = [{} for _ in networks]
    if wanted:
        rows = measured_where_possible(networks, wanted, settings, store, workers, progress)
    found = {}
    for network, values in zip(networks, rows, strict=True):
        numbers = {name: column[0] for name, column in numbers_of([network], settings.classes).items()}
        found[network] = (int(numbers["params"]), (numbers, values))
    return {text: found[network] for text, network in files.items()}


def _task(task: tuple[str, Source, tuple[str, ...], tuple[str, ...], CaptureSettings]) -> _Outcome:
    """Build and measure one model; runs in a worker process."""
    _, source, texts, numbers, settings = task
    try:
        model = source.build(settings.seed)
    except InputError as error:
        return None, error
    params = count_parameters(model)
    try:
        adapter = adapter_of(model)
        return params, measure_model(
            model, [parse(text) for text in texts], numbers, batch_of_settings(model, adapter, settings),
            adapter=adapter, seed=settings.seed, device=settings.device, batch_size=settings.batch_size,
        )  # fmt: skip
    except (InputError, MissingError) as error:
        return params, Invalid(str(error))


def _lost(_: object, reason: str) -> _Outcome:
    return None, Invalid(reason)


def _measurement(judge: Judge, text: str, outcome: Found | Invalid | InputError) -> Measurement:
    if isinstance(outcome, InputError):
        outcome = Invalid(str(outcome))
    if isinstance(outcome, Invalid):
        return Measurement(("model", text), {}, {}, outcome)
    return judged(judge, ("model", text), outcome)
