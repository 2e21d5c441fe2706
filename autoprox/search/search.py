"""Search: architectures of one space with a high score by a proxy, within budgets, without training anything.

``random`` draws every architecture anew. ``evolution`` is regularised evolution (Real et al. 2019, arXiv 1802.01548,
algorithm 1): the population is the latest scored architectures, so that every one dies of age, and a parent is the best
of a random sample of it. Two departures: a child is, with probability one half, the crossover of two such parents
instead of a mutation of one; and children are made and measured in batches of a fixed size.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autoprox.errors import InputError, InterruptedRunError
from autoprox.files import write_text
from autoprox.language.expression import Expression
from autoprox.language.text import to_text
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.scoring import Measurement, Scorer, is_constant
from autoprox.run_folder import RunFolder
from autoprox.spaces import Architecture, get_space
from autoprox.spaces.architecture_file import ArchitectureFile, save_architecture
from autoprox.spaces.budget import Budget
from autoprox.versions import versions

__all__ = ["ALGORITHMS", "Found", "SearchSettings", "search"]

ALGORITHMS = ("random", "evolution")

BATCH = 8
"""Architectures measured at a time; the number of workers has no say in it, so that it does not change the result."""

_CROSSOVER = 0.5
_TRIES = 100  # children that are known already or too large before a random architecture takes the place of one
_VERDICT = 50  # architectures without a difference in score after which a proxy is not given more of them
_PICKS = 10
_TOLERANCE = 0.05


@dataclass(frozen=True)
class SearchSettings:
    """All that the result of a search depends on besides the proxy.

    Attributes:
        max_params: most parameters, with the classifier of ``capture.classes`` classes; None: no limit.
        max_flops: most multiply-accumulates of one 224 px image; None: no limit.
        evaluations: architectures to score.
        seed: of what is drawn here; the initial weights and the batch have ``capture.seed``.
    """

    space: str
    algorithm: str = "evolution"
    max_params: int | None = None
    max_flops: int | None = None
    evaluations: int = 300
    seed: int = 0
    capture: CaptureSettings = field(default_factory=CaptureSettings)

    @property
    def population(self) -> int:
        """Real et al.'s 50 for 300 evaluations and more; a sixth of fewer, so that most are children."""
        return min(50, max(4, self.evaluations // 6))

    @property
    def tournament(self) -> int:
        """Real et al.'s share: the best of a fifth of the population becomes a parent."""
        return max(2, self.population // 5)

    def check(self) -> None:
        """InputError names the first setting that is wrong."""
        get_space(self.space)
        if self.algorithm not in ALGORITHMS:
            raise InputError(f"there is no search algorithm {self.algorithm!r}; choose one of {', '.join(ALGORITHMS)}")
        if self.evaluations < 1:
            raise InputError(f"the number of evaluations is {self.evaluations}; expected 1 or more")
        if self.seed < 0:
            raise InputError(f"the seed is {self.seed}; expected 0 or more")

    def to_json(self) -> dict[str, Any]:
        names = ("space", "algorithm", "max_params", "max_flops", "evaluations", "seed", "population", "tournament")
        return {**{name: getattr(self, name) for name in names}, "capture": self.capture.to_json()}


@dataclass(frozen=True)
class Found:
    """The best architecture of a search.

    Attributes:
        architecture: as the space writes it.
        score: among all scored architectures, where the proxy is population-relative.
        evaluations: architectures scored, ``invalid`` ones among them.
        exhausted: the search ended early, since no further architecture within the budget could be found.
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
    stop: Callable[[], bool] = lambda: False,
) -> Found:
    """Search for the architecture with the highest score.

    Every scored architecture is kept, in ``run_dir/journal.jsonl`` at once and in ``run_dir/scores.jsonl`` with its
    final score, the winner in ``run_dir/arch.json``; nothing is scored twice. The result depends on the proxy and the
    settings alone: not on the number of workers, and not on whether the run was ever interrupted.

    Args:
        run_dir: where the run is kept; it must not hold a run yet, unless it is resumed.
        resume: continue the run in ``run_dir``.
        stop: asked after every batch; true ends the search where it can be resumed.

    Raises:
        InputError: the settings, the budgets, the proxy or the run folder are wrong; says how.
        InterruptedRunError: ``stop`` was true.
    """
    settings.check()
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

    archive = _Archive(scorer, settings, progress)
    archive.add([space.key(space.parse(record["architecture"])) for record in journal], 0)
    archive.batches = [record["batch"] for record in journal]
    while len(archive) < settings.evaluations and not exhausted:
        if len(archive) >= _VERDICT:
            archive.check_usable()
        wanted = min(BATCH, settings.evaluations - len(archive))
        keys = _propose(budget, settings, archive, wanted, rng)
        exhausted = len(keys) < wanted
        archive.add(keys, batches)
        batches += 1
        seconds = before + time.monotonic() - started
        state = {
            "random": rng.bit_generator.state, "batches": batches, "seconds": seconds, "exhausted": exhausted
        }  # fmt: skip
        folder.save(state, archive.records()[len(archive) - len(keys) :])
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
        exhausted=exhausted,
        random=_random_picks(budget, settings, scorer, archive.measurements, best),
        seconds=before + time.monotonic() - started,
    )
    save_architecture(run_dir / "arch.json", found.file())
    return found


def _identity(proxy: Expression, settings: SearchSettings) -> dict[str, Any]:
    """All that a resumed run must have in common with the one it continues."""
    record = settings.to_json()
    capture = {f"capture {name}": value for name, value in record.pop("capture").items()}
    return {"proxy": to_text(proxy), **record, **capture, "batch": BATCH}


class _Archive:
    """Every scored architecture, in order, always scored by one yardstick: a relative proxy ranks among all of them."""

    def __init__(self, scorer: Scorer, settings: SearchSettings, progress: Progress) -> None:
        self.measurements: list[Measurement] = []
        self.scores: list[float | Invalid] = []
        self.batches: list[int] = []
        self._scorer, self._settings, self._progress = scorer, settings, progress

    def __len__(self) -> int:
        return len(self.measurements)

    def add(self, keys: Sequence[str], batch: int) -> None:
        """Measure new architectures and score all anew."""
        before, total = len(self), self._settings.evaluations

        def tell(_: str, done: int, tasks: int) -> None:
            self._progress("search", before + len(keys) * done // tasks, total)

        self.measurements += self._scorer.measure([(self._settings.space, key) for key in keys], tell)
        self.scores = self._scorer.scores(self.measurements)
        self.batches += [batch] * len(keys)
        self._progress("search", len(self), total)

    def records(self) -> list[dict[str, Any]]:
        """What is kept of each architecture; one without a score has a reason."""
        return [
            {
                "batch": batch,
                "architecture": json.loads(m.network[1]),
                "params": int(m.numbers["params"]),
                "flops": int(m.numbers["flops"]),
                **({"reason": score.reason} if isinstance(score, Invalid) else {"score": score}),
            }
            for m, score, batch in zip(self.measurements, self.scores, self.batches, strict=True)
        ]

    def write(self, run_dir: Path) -> None:
        """All scores as they are now; in the journal a relative one is among those that were known then."""
        lines = [json.dumps(record, allow_nan=False) + "\n" for record in self.records()]
        write_text(run_dir / "scores.jsonl", "".join(lines))

    def valid(self) -> dict[int, float]:
        """{place: score} of the architectures that have one."""
        return {i: score for i, score in enumerate(self.scores) if not isinstance(score, Invalid)}

    def best(self) -> int:
        """The place of the highest score; of equals the smallest architecture, then the first."""
        return -max((score, -self.measurements[i].numbers["params"], -i) for i, score in self.valid().items())[2]

    def check_usable(self) -> None:
        """InputError where the proxy cannot tell the scored architectures apart."""
        valid = list(self.valid().values())
        where = f"the {len(self)} architectures of {self._settings.space} that were scored"
        advice = "choose another proxy or another budget"
        if not valid:
            reasons = sorted({score.reason for score in self.scores if isinstance(score, Invalid)})
            raise InputError(f"the proxy has no usable score on any of {where} ({'; '.join(reasons)}); {advice}")
        if len(valid) > 1 and is_constant(valid):
            raise InputError(f"the proxy is constant ({valid[0]:g}) over {where}, so that it cannot choose; {advice}")


def _propose(
    budget: Budget, settings: SearchSettings, archive: _Archive, wanted: int, rng: np.random.Generator
) -> list[str]:
    """Keys of new architectures within the budget; fewer than wanted where there are no more."""
    known = {m.network[1] for m in archive.measurements}
    population = [
        (score, budget.space.parse(json.loads(archive.measurements[i].network[1])))
        for i, score in list(archive.valid().items())[-settings.population :]
    ]
    batch: list[str] = []
    for place in range(len(archive), len(archive) + wanted):
        key = None
        if settings.algorithm == "evolution" and place >= settings.population and len(population) > 1:
            key = _child(population, budget, settings.tournament, known, rng)
        key = key or budget.draw(rng, known)
        if key is None:
            break
        known.add(key)
        batch.append(key)
    return batch


def _child(
    population: Sequence[tuple[float, Architecture]],
    budget: Budget,
    size: int,
    known: set[str],
    rng: np.random.Generator,
) -> str | None:
    """The key of a new child within the budget; None where many tries gave none."""

    def parent() -> Architecture:
        chosen = rng.choice(len(population), min(size, len(population)), replace=False)
        return population[max(chosen.tolist(), key=lambda i: population[i][0])][1]

    for _ in range(_TRIES):
        if rng.random() < _CROSSOVER:
            child = budget.space.crossover(parent(), parent(), rng)
        else:
            child = budget.space.mutate(parent(), rng)
        key = budget.space.key(child)
        if key not in known and budget.holds(child):
            return key
    return None


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
    }
