"""Scores of any `torch.nn.Module` that an adapter knows; the model is afterwards as it was before."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from autoprox.errors import AutoproxError, InputError
from autoprox.files import clipped
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, statistics, subexpressions
from autoprox.measuring.capture import (
    Lacking,
    Values,
    check_device,
    features_of,
    measured_whole,
    triples_of,
    within_memory,
)
from autoprox.measuring.images import Batch
from autoprox.measuring.splitting import Blocks, Triple
from autoprox.models.adapter import Adapter, adapter_of
from autoprox.models.batches import GivenBatch, batch_for
from autoprox.models.running import Runner, explicit_attention, separate_biases
from autoprox.models.sizes import numbers_of_model
from autoprox.models.sources import parse_source
from autoprox.models.taps import Tapped, joined_blocks, own_pairs
from autoprox.proxies.evaluation import Invalid, Population
from autoprox.proxies.proxy import Proxy, load_proxy, resolve_proxy
from autoprox.proxies.scoring import Judge, Measurement
from primitives.measurement import AbsentError, Part, frozen_mode, loss_gradient, measure
from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS, Statistic

__all__ = ["AnyProxy", "Found", "judged", "measure_model", "numbers_in", "score", "score_together"]

AnyProxy = Proxy | Expression | Path | str
"""A proxy, an expression, or a proxy file, known name or expression as text."""

Found = tuple[dict[str, float], dict[Expression, "Values | Lacking"]]
"""Architecture numbers and features of one model."""

_EXPLICIT = (
    "map",
    "head_grad",
    "hvp",
)  # kinds that a fused attention does not form, or whose gradient it does not derive


def score(
    model: nn.Module | str,
    proxy: AnyProxy,
    batch: GivenBatch | None = None,
    *,
    adapter: Adapter | None = None,
    seed: int = 0,
    device: str | None = None,
    batch_size: int = 8,
) -> float | Invalid:
    """Score a model by a proxy: the higher, the better it should be once trained.

    Weights are taken as they are. Nothing of the model is changed: training flags, ``requires_grad``, the bits of weights,
    ``grad``, hooks and the way attention is computed are afterwards as before, and so is torch's global generator.

    Args:
        model: any transformer that an adapter knows (`autoprox.models.register`), in evaluation mode for the measurement; or
            ``timm:NAME`` or ``hf:CONFIG``, which is built with the initial weights of the seed.
        proxy: what to score by.
        batch: (images, labels), or images where no loss is differentiated; token ids for models that read text. None:
            ``batch_size`` standard normal images or uniformly drawn tokens of the model's own size, with labels of as many
            classes as it has logits.
        adapter: tells where blocks and sites are; None: the one that knows the model.
        seed: of the noise.
        device: where to measure, on a copy if the model is elsewhere; None: where the model is.
        batch_size: of the noise.

    Returns:
        The score, or `Invalid` with the reason where the model has no such statistic or the score is not finite.

    Raises:
        InputError: no adapter knows the model, it cannot be run on the batch, or the proxy compares models with each other.
        MissingError: not even one image fits into memory.
    """
    judge = Judge(_expression(proxy))
    if judge.relative:
        raise InputError(
            "this proxy ranks models among each other, so one model has no score; give several to "
            "autoprox.models.score_together"
        )
    found = measure_model(
        _built(model, seed), judge.features, numbers_in([judge.proxy]), batch,
        adapter=adapter, seed=seed, device=device, batch_size=batch_size,
    )  # fmt: skip
    return judged(judge, ("model", ""), found).alone


def score_together(
    models: Mapping[str, nn.Module | str],
    proxy: AnyProxy,
    batch: GivenBatch | None = None,
    *,
    seed: int = 0,
    device: str | None = None,
    batch_size: int = 8,
) -> dict[str, float | Invalid]:
    """`score` of several models by name; proxies with ranks compare these models with each other."""
    judge = Judge(_expression(proxy))
    wanted = numbers_in([judge.proxy])
    measurements = [
        judged(
            judge,
            ("model", name),
            measure_model(
                _built(model, seed), judge.features, wanted, batch, seed=seed, device=device, batch_size=batch_size
            ),
        )
        for name, model in models.items()
    ]
    return dict(zip(models, judge.scores(measurements), strict=True))


def _built(model: nn.Module | str, seed: int) -> nn.Module:
    return parse_source(model).build(seed) if isinstance(model, str) else model


def _expression(proxy: AnyProxy) -> Expression:
    if isinstance(proxy, Expression):
        return canonical(proxy)
    if isinstance(proxy, Proxy):
        return proxy.expression
    return (load_proxy(proxy) if isinstance(proxy, Path) else resolve_proxy(proxy)).expression


def numbers_in(proxies: Iterable[Expression]) -> tuple[str, ...]:
    """The architecture numbers that proxies read, and the depth, which every score needs."""
    read = {e.head for proxy in proxies for e in subexpressions(proxy) if not e.args}
    return tuple(name for name in ARCHITECTURE_NUMBERS if name in read or name == "depth")


def judged(judge: Judge, name: tuple[str, str], found: Found) -> Measurement:
    """What a proxy makes of one model."""
    numbers, every = found
    values = {feature: every[feature] for feature in judge.features}
    lacking = next((value.reason for value in values.values() if isinstance(value, Lacking)), None)
    known = {feature: value for feature, value in values.items() if not isinstance(value, Lacking)}
    if lacking is not None:
        return Measurement(name, numbers, known, Invalid(lacking))
    population = Population({number: [value] for number, value in numbers.items()}, [known])
    return Measurement(name, numbers, known, judge.alone(population))


def measure_model(
    model: nn.Module,
    features: Sequence[Expression],
    numbers: Sequence[str],
    batch: GivenBatch | None = None,
    *,
    adapter: Adapter | None = None,
    seed: int = 0,
    device: str | None = None,
    batch_size: int = 8,
) -> Found:
    """Features and architecture numbers of a model; see `score`. A feature that it cannot have is `Lacking`."""
    adapter = adapter or adapter_of(model)
    model = _on(model, device)
    made: list[Batch] = []

    def shown() -> Batch:
        if not made:
            made.append(batch_for(model, adapter, batch, batch_size, seed))
        return made[0]

    with torch.random.fork_rng():
        torch.manual_seed(seed)  # of models that draw even in evaluation mode
        with _foreign(model):
            counted = numbers_of_model(model, adapter, numbers, batch)
        return counted, _features(model, adapter, features, shown)


def _on(model: nn.Module, device: str | None) -> nn.Module:
    """The model where it is to be measured: itself, or a copy."""
    if device is None:
        return model
    check_device(device)
    wanted = torch.zeros(0, device=device).device
    if all(parameter.device == wanted for parameter in model.parameters()):
        return model
    return copy.deepcopy(model).to(wanted)


def _features(
    model: nn.Module, adapter: Adapter, features: Sequence[Expression], shown: Callable[[], Batch]
) -> dict[Expression, Values | Lacking]:
    """Those of weights, those of attention in the open and the others apart, so that none depends on its company."""
    blocks = [Tapped(block, adapter) for block in adapter.blocks(model)]
    reasons = {feature: _lacks(blocks, feature) for feature in features}
    found: dict[Expression, Values | Lacking] = {
        f: Lacking(reason) for f, reason in reasons.items() if reason is not None
    }
    groups: dict[str, list[Expression]] = {}
    for feature in features:
        if feature not in found:
            groups.setdefault(_way(feature), []).append(feature)
    for way, group in groups.items():

        def take(names: Sequence[str], way: str = way) -> list[dict[str, Tensor]]:
            triples = triples_of(names)
            measured = _measured(
                model, adapter, blocks, triples, None if way == "weights" else shown(), way == "explicit"
            )
            return [{Statistic(*triple).name: value for triple, value in block.items()} for block in measured]

        found.update(features_of(group, take))
    return {feature: found[feature] for feature in features}


def _way(feature: Expression) -> str:
    kinds = {STATISTICS[name].kind for name in statistics(feature)}
    return "weights" if kinds == {"weight"} else "explicit" if kinds & set(_EXPLICIT) else "plain"


def _lacks(blocks: Sequence[Tapped], feature: Expression) -> str | None:
    for _, site, kind in triples_of(statistics(feature)):
        for block in blocks if site != "net" else ():
            if (reason := block.lacks(site, kind)) is not None:
                return reason
    return None


def _measured(
    model: nn.Module,
    adapter: Adapter,
    blocks: Sequence[Tapped],
    triples: Sequence[Triple],
    batch: Batch | None,
    explicit: bool,
) -> Blocks:
    runner = Runner(model, adapter)
    # labels say nothing where the loss is not differentiated, so images alone will do
    unlabelled = not any(Statistic(*triple).needs_backward for triple in triples)
    singles, paths = blocks[0].singles(triples)
    seen = cast(list[nn.Module], blocks)  # they answer all that is asked of a module

    def shown(rows: slice) -> tuple[Tensor, Tensor | None]:
        if batch is None:
            raise ValueError("weights are read without a batch")
        images = batch.images[rows]
        if not images.is_floating_point():
            with frozen_mode(model):
                images = runner.embedded(images)
        if len(batch.labels):
            return images, batch.labels[rows]
        return images, torch.zeros(len(images), dtype=torch.int64, device=images.device) if unlabelled else None

    def measure_some(wanted: Sequence[Triple], rows: slice, part: Part | None) -> Blocks:
        return measure(runner, wanted, paths, *shown(rows), part, seen)

    def gradient(pass_: str, rows: slice) -> list[Tensor | None]:
        return loss_gradient(runner, pass_, *shown(rows))

    name = type(model).__name__
    attention = explicit_attention(model) if explicit else nullcontext()
    with _foreign(model), separate_biases(model), attention:
        if batch is None:
            found = measure(runner, singles, paths, blocks=seen)
        else:
            found = measured_whole(measure_some, gradient, singles, len(batch.images), str(batch.images.device), name)
        return joined_blocks(blocks, triples, found)


@contextmanager
def _foreign(model: nn.Module) -> Iterator[None]:
    """Have whatever a model raises end in an error of this program; on a GPU, the same bits every time."""
    name, device = type(model).__name__, str(next(model.parameters()).device)
    try:
        with (
            within_memory(f"{name}, even with one image at a time,", device, "use a smaller model or another device"),
            torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        ):
            yield
    except AbsentError as error:
        raise InputError(str(error)) from AbsentError(str(error), own_pairs(error))
    except AutoproxError:
        raise
    except Exception as error:  # the model's code is not ours
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".rstrip(" :.")
        raise InputError(f"{name} cannot be measured on this batch ({clipped(reason)})") from error
