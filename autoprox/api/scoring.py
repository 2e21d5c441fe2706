"""`autoprox.score`: what a proxy makes of models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from autoprox.api.captures import capture_settings, memo
from autoprox.api.ranking import proxy_of
from autoprox.api.watching import pool_of
from autoprox.errors import InputError
from autoprox.measuring.workers import Workers, silent

if TYPE_CHECKING:
    from torch import nn

    from autoprox.api.results import Score, Scored, Searched
    from autoprox.measuring.capture import CaptureSettings
    from autoprox.proxies.evaluation import Invalid
    from autoprox.proxies.proxy import Proxy
    from autoprox.spaces.architecture_file import ArchitectureFile

    Model = str | PathLike[str] | ArchitectureFile | Searched | tuple[str, str] | nn.Module

__all__ = ["score"]

_FOREIGN = ("timm:", "hf:")


@overload
def score(
    model: Model, proxy: str | PathLike[str] | Proxy, batch: Any = None, *, adapter: Any = None, seed: int = 0,
    device: str = "cpu", batch_size: int = 8, dataset: str | None = None, data_root: str | PathLike[str] | None = None,
    augment: bool = False, text: str | PathLike[str] | None = None, workers: int | Workers | None = 1,
) -> float: ...  # fmt: skip


@overload
def score(
    model: list[Any], proxy: str | PathLike[str] | Proxy, batch: Any = None, *, adapter: Any = None, seed: int = 0,
    device: str = "cpu", batch_size: int = 8, dataset: str | None = None, data_root: str | PathLike[str] | None = None,
    augment: bool = False, text: str | PathLike[str] | None = None, workers: int | Workers | None = 1,
) -> Scored: ...  # fmt: skip


def score(
    model: Model | list[Any],
    proxy: str | PathLike[str] | Proxy,
    batch: Any = None,
    *,
    adapter: Any = None,
    seed: int = 0,
    device: str = "cpu",
    batch_size: int = 8,
    dataset: str | None = None,
    data_root: str | PathLike[str] | None = None,
    augment: bool = False,
    text: str | PathLike[str] | None = None,
    workers: int | Workers | None = 1,
) -> float | Scored:
    """Score one model, or several in a list; those of one space are compared where the proxy has ranks.

    Args:
        model: an architecture file, what `autoprox.search` returned, a (space, architecture key) pair, a `torch.nn.Module`, or
            the name of a model of another library, ``timm:NAME`` or ``hf:CONFIG``; or a list of these.
        proxy: a proxy, a proxy file, a known name or an expression.
        batch, adapter: of modules and of models of other libraries; see `autoprox.models.score`.
        seed, device, batch_size: of the capture.
        dataset, data_root, augment, text, workers: of architectures; see `autoprox.search`.

    Returns:
        The score of one model; the scores of several, in their order, with a reason where there is none.

    Raises:
        InputError: what was given is wrong, or the one model has no score; says why.
        MissingError: something outside is missing, an extra for example.
    """
    from autoprox.api.results import Scored

    judge = proxy_of(proxy)
    several = list(model) if isinstance(model, list) else [model]
    if any(map(_is_foreign, several)):
        foreign_score = _of_other_libraries()
        if not all(map(_is_foreign, several)):
            raise InputError(
                "models of other libraries and architectures cannot be scored together; call score for each"
            )
        foreign = {"adapter": adapter, "seed": seed, "device": device, "batch_size": batch_size}
        values = [foreign_score(one, judge, batch, **foreign) for one in several]
        found = [_scored(_name(one), value) for one, value in zip(several, values, strict=True)]
    else:
        if batch is not None or adapter is not None:
            raise InputError("batch and adapter belong to modules; architectures are measured on noise or on a dataset")
        settings = capture_settings(batch_size, seed, data_root, device, text, dataset=dataset, augment=augment)
        found = [_scored(*pair) for pair in _architectures(several, judge, settings, workers)]
    if isinstance(model, list):
        return Scored(judge.label or judge.text, tuple(found))
    (only,) = found
    if only.score is None:
        raise InputError(f"{judge.label or judge.text} has no score of {only.model}: {only.invalid}")
    return only.score


def _of_other_libraries() -> Callable[..., float | Invalid]:
    try:
        module = import_module("autoprox.models")
    except ModuleNotFoundError as error:
        if error.name != "autoprox.models":
            raise
        raise InputError(
            "this version scores architectures only; for a module export the proxy as a Python file, as in "
            "examples/score_your_model.py"
        ) from None
    found: Callable[..., float | Invalid] = module.score
    return found


def _architectures(
    models: list[Any], judge: Proxy, settings: CaptureSettings, workers: int | Workers | None
) -> list[tuple[str, float | Invalid]]:
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.store import FeatureStore
    from autoprox.proxies.scoring import score_architectures

    networks = [_network(one) for one in models]
    check_text(settings, [space for space, _ in networks])
    with FeatureStore(memo()) as store, pool_of(workers) as pool:
        scores = score_architectures(judge.expression, networks, settings, store, pool, silent)
    return [(_name(one), value) for one, (_, value) in zip(models, scores, strict=True)]


def _network(model: Any) -> tuple[str, str]:
    from autoprox.api.results import Searched
    from autoprox.spaces.architecture_file import ArchitectureFile, load_architecture

    if isinstance(model, Searched):
        return model.found.network
    if isinstance(model, ArchitectureFile):
        return model.network
    if isinstance(model, str | PathLike):
        return load_architecture(Path(model)).network
    if isinstance(model, tuple) and len(model) == 2 and all(isinstance(part, str) for part in model):
        from autoprox.spaces import get_space

        space = get_space(model[0])
        return space.name, space.key(space.parse(json.loads(model[1])))
    raise InputError(
        f"a {type(model).__name__} cannot be scored; expected an architecture file, the result of a search, a pair of space "
        "and architecture key, a torch.nn.Module, 'timm:NAME' or 'hf:CONFIG'"
    )


def _is_foreign(model: Any) -> bool:
    """Whether a model is of another library; looks for torch only where something has loaded it already."""
    if isinstance(model, str):
        return model.startswith(_FOREIGN)
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _name(model: Any) -> str:
    if isinstance(model, str | PathLike):
        return str(model)
    if isinstance(model, tuple):
        return " ".join(model)
    return str(getattr(model, "out", type(model).__name__))


def _scored(name: str, value: float | Invalid) -> Score:
    from autoprox.api.results import Score
    from autoprox.proxies.evaluation import Invalid

    return Score(name, None, value.reason) if isinstance(value, Invalid) else Score(name, value)
