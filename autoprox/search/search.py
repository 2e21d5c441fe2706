"""Search: architectures of one space with a high score by a proxy, within budgets, without training anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoprox.errors import InterruptedRunError
from autoprox.language.expression import Expression
from autoprox.language.text import to_text
from autoprox.measuring.capture import Network, batch_key
from autoprox.measuring.losses import left_out
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.scoring import Measurement, Scorer
from autoprox.run_folder import RunFolder
from autoprox.search.algorithms import propose
from autoprox.search.archive import Archive
from autoprox.search.blockwise import check_block_level
from autoprox.search.settings import SearchSettings
from autoprox.spaces import Architecture, get_space
from autoprox.spaces.architecture_file import ArchitectureFile, save_architecture
from autoprox.spaces.budget import Budget
from autoprox.versions import versions

__all__ = ["Found", "Progression", "search"]

BATCH = 8
"""Architectures measured at a time; the number of workers has no say in it, so that it does not change the result."""

_VERDICT = 50  # architectures without a difference in score after which a proxy is not given more of them
_PICKS = 10
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Progression:
    """Where a search stands: architectures scored, and the best of them so far; None without a score."""

    evaluations: int
    score: float | None
    params: int | None
    flops: int | None


@dataclass(frozen=True)
class Found:
    """The best architecture of a search.

    Attributes:
        architecture: as the space writes it.
        score: among all scored architectures, where the proxy is population-relative.
        evaluations: architectures scored, ``invalid`` ones among them.
        exhausted: the search ended early, since no further architecture within the budget could be found.
        lost: architectures without a score since their processes died twice, and how.
        random: as many random picks beside the winner; see ``provenance["random"]`` of the architecture file.
        seconds: of work, all sittings together.
    """

    settings: SearchSettings
    proxy: Expression
    architecture: dict[str, Any]
    params: int
    flops: int
    score: float
    evaluations: int
    invalid: int
    lost: dict[Network, str]
    exhausted: bool
    random: dict[str, Any]
    seconds: float

    def file(self) -> ArchitectureFile:
        """What ``arch.json`` holds."""
        provenance = {
            "proxy": to_text(self.proxy),
            **self.settings.to_json(),
            "classes": get_space(self.settings.space).outputs(self.settings.capture.classes),
            "evaluated": self.evaluations,
            "invalid": self.invalid,
            **({"left_out": left_out(self.lost)} if self.lost else {}),
            "exhausted": self.exhausted,
            "random": self.random,
            "seconds": round(self.seconds, 3),
            "versions": versions(),
        }
        return ArchitectureFile(self.settings.space, self.architecture, self.params, self.flops, self.score, provenance)


def search(
    proxy: Expression,
    settings: SearchSettings,
    *,
    run_dir: Path,
    store: FeatureStore,
    workers: Workers,
    resume: bool = False,
    progress: Progress = silent,
    observe: Callable[[Progression], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Found:
    """Search for the architecture with the highest score.

    Every scored architecture is kept, in ``run_dir/journal.jsonl`` at once and in ``run_dir/scores.jsonl`` with its
    final score, the winner in ``run_dir/arch.json``; nothing is scored twice. The result depends on the proxy and the
    settings alone: not on the number of workers, and not on whether the run was ever interrupted.

    Args:
        run_dir: where the run is kept; it must not hold a run yet, unless it is resumed.
        resume: continue the run in ``run_dir``.
        observe: told after every batch where the search stands.
        stop: asked after every batch; true ends the search where it can be resumed.

    Raises:
        InputError: the settings, the budgets, the proxy or the run folder are wrong; says how.
        InterruptedRunError: ``stop`` was true.
    """
    settings.check()
    if settings.algorithm == "blockwise" and settings.positions == "blockwise":
        check_block_level(proxy)
    space = get_space(settings.space)
    budget = Budget(space, space.outputs(settings.capture.classes), settings.max_params, settings.max_flops)
    budget.check(np.random.default_rng([settings.seed, 1]))
    scorer = Scorer(proxy, settings.capture, store, workers)
    folder = RunFolder(run_dir, "search", _identity(scorer.proxy, settings), resume)
    state, journal = folder.load()
    rng = np.random.default_rng(settings.seed)
    batches, before, exhausted = 0, 0.0, False
    if state is not None:
        rng.bit_generator.state = state["random"]
        batches, before, exhausted = state["batches"], state["seconds"], state["exhausted"]
    started = time.monotonic()

    archive = Archive(scorer, settings, progress)
    keys = [space.key(space.parse(record["architecture"])) for record in journal]
    known_lost = {(space.name, k): r["reason"] for k, r in zip(keys, journal, strict=True) if "lost" in r}
    archive.add(keys, 0, known_lost)
    archive.batches = [record["batch"] for record in journal]
    while len(archive) < settings.evaluations and not exhausted:
        if len(archive) >= _VERDICT:
            archive.check_usable()
        wanted = min(BATCH, settings.evaluations - len(archive))
        keys = propose(budget, settings, archive, wanted, rng)
        exhausted = len(keys) < wanted
        archive.add(keys, batches)
        batches += 1
        seconds = before + time.monotonic() - started
        state = {
            "random": rng.bit_generator.state, "batches": batches, "seconds": seconds, "exhausted": exhausted
        }  # fmt: skip
        folder.save(state, archive.records(len(archive) - len(keys)))
        observe(_standing(archive))
        if stop() and len(archive) < settings.evaluations and not exhausted:
            archive.write(run_dir)
            raise InterruptedRunError(
                f"stopped after {len(archive)} of {settings.evaluations} architectures; continue with the same command "
                f"and --resume --run-dir {run_dir}"
            )
    archive.write(run_dir)
    archive.check_usable()
    best = archive.best()
    winner = archive.records()[best]
    found = Found(
        settings=settings,
        proxy=proxy,
        architecture=winner["architecture"],
        params=winner["params"],
        flops=winner["flops"],
        score=winner["score"],
        evaluations=len(archive),
        invalid=len(archive) - len(archive.valid()),
        lost=archive.lost(),
        exhausted=exhausted,
        random=_random_picks(budget, settings, scorer, archive.measurements, best),
        seconds=before + time.monotonic() - started,
    )
    save_architecture(run_dir / "arch.json", found.file())
    return found


def _standing(archive: Archive) -> Progression:
    if not archive.valid():
        return Progression(len(archive), None, None, None)
    best = archive.best()
    numbers = archive.measurements[best].numbers
    return Progression(len(archive), archive.valid()[best], int(numbers["params"]), int(numbers["flops"]))


def _identity(proxy: Expression, settings: SearchSettings) -> dict[str, Any]:
    """All that a resumed run must have in common with the one it continues."""
    record = settings.to_json()
    capture = {f"capture {name}": value for name, value in record.pop("capture").items()}
    images = {} if settings.capture.dataset is None else {"images": batch_key(settings.capture)}
    return {"proxy": to_text(proxy), **record, **capture, **images, "batch": BATCH}


def _random_picks(
    budget: Budget, settings: SearchSettings, scorer: Scorer, archive: Sequence[Measurement], best: int
) -> dict[str, Any]:
    """What random picks of the winner's size score: a proxy that only follows size shows no lead over them."""
    winner = archive[best]
    params = winner.numbers["params"]
    rng = np.random.default_rng([settings.seed, 2])

    def alike(architecture: Architecture) -> bool:
        return abs(budget.space.params(architecture, budget.classes) - params) <= _TOLERANCE * params

    def draw(fits: Callable[[Architecture], bool]) -> list[str]:
        known = {winner.network[1]}
        while len(known) <= _PICKS and (key := budget.draw(rng, known, fits)) is not None:
            known.add(key)
        return sorted(known - {winner.network[1]})

    matched, picks = f"parameters within {_TOLERANCE:.0%} of the winner's", draw(alike)
    if len(picks) < _PICKS:
        matched, picks = "the same budget", draw(lambda _: True)
    taken = {m.network: m for m in archive}
    networks = [(budget.space.name, key) for key in picks]
    fresh = [network for network in networks if network not in taken]
    taken.update(zip(fresh, scorer.measure(fresh), strict=True))
    scores = dict(zip(taken, scorer.scores(list(taken.values())), strict=True))  # ranks are among all of these
    valid = [score for network in networks if not isinstance(score := scores[network], Invalid)]
    return {
        "matched": matched,
        "count": len(networks),
        "invalid": len(networks) - len(valid),
        "score_mean": float(np.mean(valid)) if valid else None,
        "score_max": max(valid, default=None),
        "params_mean": float(np.mean([taken[network].numbers["params"] for network in networks])) if networks else None,
        "score_winner": scores[winner.network],
        "picks": [
            {"params": int(taken[n].numbers["params"]), "flops": int(taken[n].numbers["flops"]), "score": score}
            for n in networks
            if not isinstance(score := scores[n], Invalid)
        ],
    }
