"""Scores of many models by many proxies: architecture files and models of other libraries, over processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from autoprox.errors import InputError, MissingError
from autoprox.language.expression import Expression
from autoprox.language.text import parse, to_text
from autoprox.measuring.capture import CaptureSettings, Network
from autoprox.measuring.measure import measured_where_possible
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.models.adapter import Adapter, adapter_of
from autoprox.models.batches import GivenBatch, batch_of_settings
from autoprox.models.scoring import Found, judged, measure_model, numbers_in
from autoprox.models.sizes import count_parameters
from autoprox.models.sources import PREFIXES, Source, parse_source
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.scoring import Judge, Measurement
from autoprox.ranking.problem import numbers_of
from autoprox.spaces.architecture_file import load_architecture

__all__ = ["Model", "ScoredModel", "name_of", "score_models"]

Model: TypeAlias = "str | Network | nn.Module"
"""Path of an architecture file or ``timm:NAME`` or ``hf:CONFIG``; a network of a space; a module."""


@dataclass(frozen=True)
class ScoredModel:
    """One model.

    Attributes:
        model: as it was named; see `name_of`.
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
    models: Sequence[Model],
    settings: CaptureSettings,
    store: FeatureStore,
    workers: Workers,
    progress: Progress = silent,
    *,
    download: bool = False,
    batch: GivenBatch | None = None,
    adapter: Adapter | None = None,
) -> list[ScoredModel]:
    """Score architectures, models named ``timm:NAME`` or ``hf:CONFIG`` and modules by proxies.

    A population-relative proxy (rank, z-score) compares the given models of one space with each other; as soon as a model of
    another library is among them, all given models. A model that cannot be measured has no scores; the others do.

    Args:
        proxies: what to score by.
        models: one that is there twice counts once.
        settings: of the measurement; the seed is that of initial weights as well.
        store: the memo, of architectures of the spaces.
        workers: measure models beside each other, but modules, and what a batch or an adapter is given for, in this process.
        progress: told about the models.
        download: whether configurations may be fetched from the hub.
        batch, adapter: of modules and models of other libraries; see `autoprox.models.score`.

    Returns:
        For each model, in order, its parameters and its scores.

    Raises:
        InputError: a model is no architecture file and not known, before anything is measured; or none can be built as asked.
        MissingError: a library is missing, or what is measured on cannot be read.
    """
    judges = [Judge(proxy) for proxy in proxies]
    wanted = list(dict.fromkeys(feature for judge in judges for feature in judge.features))
    distinct = list(dict.fromkeys(models))
    foreign = {model: found for model in distinct if (found := _foreign(model, download)) is not None}
    networks = {model: _network(model) for model in distinct if model not in foreign}
    for source in foreign.values():
        if isinstance(source, Source):
            source.check()
    outcomes: dict[Model, _Outcome] = {}
    if networks:
        outcomes.update(_of_spaces(networks, wanted, settings, store, workers, progress))
    texts, numbers = tuple(map(to_text, wanted)), numbers_in([judge.proxy for judge in judges])
    tasks: list[_Task] = [
        (name_of(model), source, texts, numbers, (settings, batch, adapter)) for model, source in foreign.items()
    ]
    if tasks:
        progress("score", 0, len(tasks))
    here = batch is not None or adapter is not None or any(isinstance(task[1], nn.Module) for task in tasks)
    measured = map(_measured, tasks) if here else workers.map(_measured, tasks, _lost)
    for done, (model, outcome) in enumerate(zip(foreign, measured, strict=True), 1):
        outcomes[model] = outcome
        progress("score", done, len(tasks))
    failed = [found for _, found in outcomes.values() if isinstance(found, InputError)]
    if len(failed) == len(distinct):
        raise failed[0]
    groups = [distinct] if foreign else _by_space(networks)
    scores: dict[Model, list[float | Invalid]] = {model: [] for model in distinct}
    for judge in judges:
        for group in groups:
            measurements = [_measurement(judge, model, outcomes[model][1]) for model in group]
            for model, score in zip(group, judge.scores(measurements), strict=True):
                scores[model].append(score)
    return [ScoredModel(name_of(model), outcomes[model][0], tuple(scores[model])) for model in models]


def name_of(model: Model) -> str:
    """The text given, ``space key`` of a network, or the class of a module."""
    if isinstance(model, str):
        return model
    return " ".join(model) if isinstance(model, tuple) else type(model).__name__


def _foreign(model: Model, download: bool) -> Source | nn.Module | None:
    if isinstance(model, str):
        return parse_source(model, download) if model.startswith(PREFIXES) else None
    return model if isinstance(model, nn.Module) else None


def _network(model: Model) -> Network:
    if isinstance(model, tuple):
        return model
    return load_architecture(Path(str(model))).network


def _by_space(networks: Mapping[Model, Network]) -> list[list[Model]]:
    spaces = dict.fromkeys(space for space, _ in networks.values())
    return [[model for model, network in networks.items() if network[0] == space] for space in spaces]


def _of_spaces(
    models: Mapping[Model, Network],
    wanted: Sequence[Expression],
    settings: CaptureSettings,
    store: FeatureStore,
    workers: Workers,
    progress: Progress,
) -> dict[Model, _Outcome]:
    networks = list(dict.fromkeys(models.values()))
    rows: list[Any] = [{} for _ in networks]
    if wanted:
        rows = measured_where_possible(networks, wanted, settings, store, workers, progress)
    found = {}
    for network, values in zip(networks, rows, strict=True):
        numbers = {name: column[0] for name, column in numbers_of([network], settings.classes).items()}
        found[network] = (int(numbers["params"]), (numbers, values))
    return {model: found[network] for model, network in models.items()}


_Made: TypeAlias = "tuple[CaptureSettings, GivenBatch | None, Adapter | None]"
_Task: TypeAlias = "tuple[str, Source | nn.Module, tuple[str, ...], tuple[str, ...], _Made]"


def _measured(task: _Task) -> _Outcome:
    """Build and measure one model; runs in a worker process."""
    _, source, texts, numbers, (settings, batch, adapter) = task
    try:
        model = source.build(settings.seed) if isinstance(source, Source) else source
    except InputError as error:
        return None, error
    params = count_parameters(model)
    try:
        adapter = adapter or adapter_of(model)
        if batch is None:
            batch = batch_of_settings(model, adapter, settings)
        return params, measure_model(
            model, [parse(text) for text in texts], numbers, batch,
            adapter=adapter, seed=settings.seed, device=settings.device, batch_size=settings.batch_size,
        )  # fmt: skip
    except (InputError, MissingError) as error:
        return params, Invalid(str(error))


def _lost(_: object, reason: str) -> _Outcome:
    return None, Invalid(reason)


def _measurement(judge: Judge, model: Model, outcome: Found | Invalid | InputError) -> Measurement:
    name = ("model", name_of(model))
    if isinstance(outcome, InputError):
        outcome = Invalid(str(outcome))
    if isinstance(outcome, Invalid):
        return Measurement(name, {}, {}, outcome)
    return judged(judge, name, outcome)
