"""`autoprox.search`, and what the command of that name does once its options are known."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprox.api.captures import capture_settings, memo, result_kept
from autoprox.api.remembered import changed, recall, running
from autoprox.api.watching import Watching, never, pool_of, unseen, watching
from autoprox.errors import InputError
from autoprox.measuring.workers import Notice, Progress, Workers

if TYPE_CHECKING:
    from autoprox.api.results import Searched
    from autoprox.proxies.proxy import Proxy

__all__ = ["SPACE", "completed", "search", "searched"]

SPACE = "autoformer-sub"
"""Where a proxy is searched with that was discovered nowhere."""

_USUAL = {"algorithm": "evolution", "evaluations": 300}


def search(
    proxy: str | PathLike[str] | Proxy | None = None,
    *,
    space: str | None = None,
    preset: str | None = None,
    algorithm: str | None = None,
    positions: str = "blockwise",
    max_params: int | str | None = None,
    max_flops: int | str | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    batch_size: int = 8,
    dataset: str | PathLike[str] | None = None,
    data_root: str | PathLike[str] | None = None,
    augment: bool = False,
    text: str | PathLike[str] | None = None,
    device: str = "cpu",
    workers: int | Workers | None = None,
    out: str | PathLike[str] = "arch.json",
    run_dir: str | PathLike[str] | None = None,
    resume: bool = False,
    track: str | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = never,
) -> Searched:
    """Find the architecture with the highest score in a search space, within budgets; nothing is trained.

    The same as ``autoprox search``, whose options these arguments are; `autoprox.discover` explains those that both have.

    Args:
        proxy: a proxy, a proxy file, a known name or an expression; a preset has its own.
        space: where. Default: the first space that the proxy was discovered on, or autoformer-sub.
        preset: ``tf-tas`` or ``t-razor``, published procedures, for what is not given.
        algorithm: ``random``, ``evolution`` (the default) or ``blockwise``.
        positions: of ``blockwise``: ``uniform`` leaves to chance where it varies.
        max_params, max_flops: budgets, as numbers or as texts like ``6.2M``.
        evaluations: architectures to score. Default: 300.
        dataset: images that networks are measured on, and whose classes they get: a name, a folder of images, or `hf:` and a
            folder that Hugging Face `datasets` has written. Default: noise.
        out: architecture file to write.

    Raises:
        InputError: what was given is wrong; says what, and what to do.
        MissingError: something outside is missing.
        InterruptedRunError: `stop` said so.
    """
    if proxy is not None and not isinstance(proxy, str | PathLike):
        space = _space_of(proxy) if space is None else space
        proxy = proxy.text
    given: dict[str, Any] = {
        "proxy": _text(proxy),
        "space": space,
        "preset": preset,
        "algorithm": algorithm,
        "positions": positions,
        "max_params": _text(max_params),
        "max_flops": _text(max_flops),
        "evaluations": evaluations,
        "seed": seed,
        "batch_size": batch_size,
        "dataset": _text(dataset),
        "data_root": _text(data_root),
        "augment": augment,
        "device": device,
        "text": _text(text),
        "track": track,
        "out": str(out),
    }
    place = None if run_dir is None else Path(run_dir)
    asked = recall(changed(search, given), "search", place, resume, given | completed(given, told=not resume))
    with pool_of(workers) as pool:
        return searched(asked, place, resume, pool, watching(progress, unseen, stop))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def completed(given: Mapping[str, Any], told: bool) -> dict[str, Any]:
    """Values of the options that were not given; what a preset sets is told."""
    if given["preset"] is None:
        return {name: value for name, value in _USUAL.items() if given[name] is None}
    from autoprox.search import PRESETS

    if given["preset"] not in PRESETS:
        raise InputError(f"there is no preset {given['preset']!r}; choose one of {', '.join(PRESETS)}")
    published = PRESETS[given["preset"]]
    budget = published.max_params.get(given["space"] or published.space)
    values = {
        "proxy": published.proxy,
        "space": published.space,
        "algorithm": published.algorithm,
        "evaluations": published.evaluations,
        "max_params": None if budget is None else str(budget),
    }
    missing = {name: value for name, value in values.items() if given[name] is None}
    if told:
        options = " ".join(f"--{name.replace('_', '-')} {v}" for name, v in missing.items() if v is not None)
        warnings.warn(f"{published.name} sets {options or 'nothing'} ({published.source})", Notice, stacklevel=3)
    return missing


def searched(
    asked: Mapping[str, Any], run_dir: Path | None, resume: bool, workers: Workers, watched: Watching
) -> Searched:
    """A search from its options to its architecture file; see `search`."""
    from autoprox.api.results import Searched
    from autoprox.api.tracking import tracker
    from autoprox.files import check_writable
    from autoprox.measuring.capture import check_text
    from autoprox.measuring.store import FeatureStore
    from autoprox.proxies.proxy import resolve_proxy
    from autoprox.search import SearchSettings
    from autoprox.search import search as run
    from autoprox.spaces.architecture_file import save_architecture
    from autoprox.spaces.budget import parse_size

    if asked["proxy"] is None:
        raise InputError("search needs a proxy: give a file, a known name or an expression with --proxy")
    target, judge = Path(asked["out"]), resolve_proxy(asked["proxy"])
    check_writable(target)
    settings = SearchSettings(
        space=_space_of(judge) if asked["space"] is None else asked["space"],
        preset=asked["preset"],
        algorithm=asked["algorithm"],
        positions=asked["positions"],
        max_params=None if asked["max_params"] is None else parse_size(asked["max_params"]),
        max_flops=None if asked["max_flops"] is None else parse_size(asked["max_flops"]),
        evaluations=asked["evaluations"],
        seed=asked["seed"],
        capture=capture_settings(
            asked["batch_size"], 0, asked["data_root"], asked["device"], asked["text"],
            dataset=asked["dataset"], augment=asked["augment"], workers=workers,
        ),
    )  # fmt: skip
    settings.check()
    check_text(settings.capture, [settings.space])
    with (
        tracker(asked["track"]) as log,
        running("search", run_dir, resume, dict(asked)) as folder,
        FeatureStore(memo()) as store,
        watched(folder) as watch,
    ):
        found = run(
            judge.expression, settings, run_dir=folder, store=store, workers=workers,
            resume=resume, progress=watch.progress, observe=log.search, stop=watch.stop,
        )  # fmt: skip
        log.searched(found)
    with result_kept(folder / "arch.json"):
        save_architecture(target, found.file())
    return Searched(found.file(), target, folder)


def _space_of(proxy: Proxy) -> str:
    """The first space that the proxy was discovered on."""
    spaces = proxy.provenance.get("spaces")
    return str(spaces[0]) if isinstance(spaces, list) and spaces else SPACE
