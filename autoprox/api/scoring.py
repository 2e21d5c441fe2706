"""`autoprox.score`, which is also what the command of that name does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack, overload

from autoprox.api.captures import capture_settings, memo
from autoprox.api.ranking import proxy_of
from autoprox.api.watching import pool_of, shown
from autoprox.errors import InputError
from autoprox.measuring.workers import Progress, Workers, silent

if TYPE_CHECKING:
    from torch import nn

    from autoprox.api.results import Scored, Searched
    from autoprox.language.expression import Expression
    from autoprox.models import Adapter
    from autoprox.models.batches import GivenBatch
    from autoprox.models.comparing import Model, ScoredModel
    from autoprox.proxies.proxy import Proxy
    from autoprox.spaces.architecture_file import ArchitectureFile

    OneModel: TypeAlias = str | PathLike[str] | ArchitectureFile | Searched | tuple[str, str] | nn.Module
    OneProxy: TypeAlias = str | PathLike[str] | Proxy

__all__ = ["score"]


class _Options(TypedDict, total=False):
    adapter: Adapter | None
    batch_size: int
    seed: int
    dataset: str | None
    data_root: str | PathLike[str] | None
    augment: bool
    text: str | PathLike[str] | None
    device: str | None
    workers: int | Workers | None
    download: bool
    progress: Progress | None


_Batch: TypeAlias = "GivenBatch | None"


@overload
def score(model: OneModel, proxy: OneProxy, batch: _Batch = None, **more: Unpack[_Options]) -> float: ...
@overload
def score(model: list[Any], proxy: OneProxy | list[Any], batch: _Batch = None, **more: Unpack[_Options]) -> Scored: ...
@overload
def score(model: OneModel, proxy: list[Any], batch: _Batch = None, **more: Unpack[_Options]) -> Scored: ...


def score(
    model: OneModel | list[Any],
    proxy: OneProxy | list[Any],
    batch: _Batch = None,
    *,
    adapter: Adapter | None = None,
    batch_size: int = 8,
    seed: int = 0,
    dataset: str | None = None,
    data_root: str | PathLike[str] | None = None,
    augment: bool = False,
    text: str | PathLike[str] | None = None,
    device: str | None = None,
    workers: int | Workers | None = None,
    download: bool = False,
    progress: Progress | None = None,
) -> float | Scored:
    """Score one model or several by one proxy or several.

    The same as ``autoprox score``, whose options these arguments are. A proxy with ranks compares the models of one space with
    each other; as soon as a model of another library is among them, all models.

    Args:
        model: an architecture file, what `autoprox.search` returned, a (space, architecture key) pair, a `torch.nn.Module`, or
            the name of a model of another library, ``timm:NAME`` or ``hf:CONFIG``; or a list of these.
        proxy: a proxy, a proxy file, a known name or an expression; or a list of these.
        batch, adapter: of modules and of models of other libraries; see `autoprox.models.score`.
        batch_size, seed: of the capture.
        dataset, data_root, augment, text: what models are measured on; see `autoprox.search`. Default: noise.
        device: where models run. Default: where a module is, or the CPU.
        workers: processes. Default: one a core, for a list of models; modules are measured in this process.
        download: whether the configuration of ``hf:NAME`` may be fetched from the hub.
        progress: told (stage, steps done, steps in all). Default: lines on standard error for a list of models.

    Returns:
        The score of one model by one proxy; otherwise a table, with parameters and with a reason where there is no score.

    Raises:
        InputError: what was given is wrong, or the one model has no score; says why.
        MissingError: something outside is missing, an extra for example.
    """
    from autoprox.api.results import Scored
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.store import FeatureStore
    from autoprox.models.comparing import score_models
    from autoprox.proxies.evaluation import Invalid
    from autoprox.proxies.proxy import named

    judges = named(map(proxy_of, proxy if isinstance(proxy, list) else [proxy]))
    given = model if isinstance(model, list) else [model]
    if not judges or not given:
        raise InputError("score needs a model and a proxy; an empty list was given")
    models = [_subject(one) for one in given]
    in_spaces = not any(map(_is_foreign, models))
    if in_spaces and (batch is not None or adapter is not None):
        raise InputError("batch and adapter belong to modules; architectures are measured on noise or on a dataset")
    settings = capture_settings(
        batch_size,
        seed,
        data_root,
        _home(models) if device is None else device,
        text,
        dataset=dataset,
        augment=augment,
        workers=workers,
    )
    if in_spaces and text is not None:
        check_text(settings, map(_space_of, models))
    if not isinstance(model, list):
        workers, progress = workers or 1, progress or silent
    expressions = [judge.expression for judge in judges.values()]
    with FeatureStore(memo()) as store, pool_of(workers) as pool, shown(progress) as told:
        rows = score_models(
            expressions, models, settings, store, pool, told, download=download, batch=batch, adapter=adapter
        )
    found = Scored(tuple(judges), tuple(map(_named, given, rows)), _caution(expressions, in_spaces))
    if isinstance(model, list) or isinstance(proxy, list):
        return found
    value = found.models[0].scores[0]
    if isinstance(value, Invalid):
        raise InputError(f"{found.proxies[0]} has no score of {found.models[0].model}: {value.reason}")
    return value


def _subject(model: Any) -> Model:
    from torch import nn

    from autoprox.api.results import Searched
    from autoprox.spaces import get_space
    from autoprox.spaces.architecture_file import ArchitectureFile

    if isinstance(model, Searched):
        return model.found.network
    if isinstance(model, ArchitectureFile):
        return model.network
    if isinstance(model, str | PathLike):
        return str(model)
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, tuple) and len(model) == 2 and all(isinstance(part, str) for part in model):
        space = get_space(model[0])
        return space.name, space.key(space.parse(json.loads(model[1])))
    raise InputError(
        f"a {type(model).__name__} cannot be scored; expected an architecture file, the result of a search, a pair of space "
        "and architecture key, a torch.nn.Module, 'timm:NAME' or 'hf:CONFIG'"
    )


def _is_foreign(model: Model) -> bool:
    from autoprox.models.sources import PREFIXES

    return model.startswith(PREFIXES) if isinstance(model, str) else not isinstance(model, tuple)


def _space_of(model: Model) -> str:
    """The space of an architecture."""
    from autoprox.spaces.architecture_file import load_architecture

    return model[0] if isinstance(model, tuple) else load_architecture(Path(str(model))).space


def _home(models: Sequence[Model]) -> str:
    """Where the first module is."""
    parameters = (p for model in models if not isinstance(model, str | tuple) for p in model.parameters())
    first = next(parameters, None)
    return "cpu" if first is None else str(first.device)


def _named(given: Any, row: ScoredModel) -> ScoredModel:
    from autoprox.api.results import Searched

    return replace(row, model=str(given.out)) if isinstance(given, Searched) else row


def _caution(proxies: Sequence[Expression], in_spaces: bool) -> str | None:
    """What the scores of proxies with ranks do not say."""
    from autoprox.language.expression import is_relative

    if not any(map(is_relative, proxies)):
        return None
    return (
        f"this proxy ranks the given models{' of one space' * in_spaces} among each other; its scores do not compare "
        f"models of different {'spaces' if in_spaces else 'calls'}, nor say anything of a model that is alone"
    )
