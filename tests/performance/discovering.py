"""Discovery: throughput against recomputing, whether screening stays true, growth, memory."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
from scipy.stats import kendalltau

from autoprox.discovery.engines import ParetoEngine
from autoprox.discovery.evolution import TERMINALS, random_expression
from autoprox.discovery.judging import Judge
from autoprox.discovery.run import discover
from autoprox.discovery.settings import DiscoverySettings
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features
from autoprox.language.text import parse
from autoprox.measuring.measure import measured
from autoprox.measuring.screening import SAMPLES, Screen, take_samples
from autoprox.measuring.store import MEMO, FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.evaluation import Invalid
from autoprox.ranking import problem
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import Group
from tests.performance.figures import SETTINGS, Figure, group, keep, median, once, say
from tests.performance.peers import recomputed

WORKERS = 2


class Memory(threading.Thread):
    """The largest sum of the resident memory of this process and its children, sampled while a block runs (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._ended = 0, threading.Event()

    def __enter__(self) -> Memory:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self.peak = max(self.peak, sum(map(resident, family())))

    @property
    def gib(self) -> float:
        return self.peak / 2**30


def family() -> list[str]:
    """This process and those that it started."""
    return [
        "self",
        *(Path("/proc/self/task") / str(threading.main_thread().native_id) / "children").read_text().split(),
    ]


def resident(process: str) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def candidates(count: int, seed: int = 0) -> list[Expression]:
    """Random expressions as the first generations of discovery draw them."""
    rng = random.Random(seed)
    found: dict[Expression, None] = {}
    while len(found) < count:
        candidate = canonical(random_expression(rng, rng.randint(3, 7)))
        if features(candidate):
            found[candidate] = None
    return list(found)


def throughput(home: Path, networks: int, evaluations: int, sample: int, quick: bool) -> None:
    """A whole discovery from nothing, and again with another seed; peers on a sample of its own candidates.

    The split is set so that candidates are judged on ``networks`` architectures; five more are for selection and for test each.
    """
    shares = {"discovery": 1.0, "selection": 5 / (networks + 10), "test": 5 / (networks + 10)}
    everything = group(networks + 10)
    minutes = []
    with mock.patch.dict(problem.FRACTIONS, shares), Memory() as memory, Workers(WORKERS) as workers:
        for seed in (0, 1):
            started = time.perf_counter()
            discover(
                [everything],
                DiscoverySettings(seed=seed, evaluations=evaluations),
                run_dir=home / f"run{seed}",
                home=home,
                workers=workers,
            )
            minutes.append((time.perf_counter() - started) / 60)
            say(f"discovery with seed {seed}: {minutes[-1]:.2f} minutes")
        judged = len(everything.part("discovery").networks)
    lines = (home / "run0" / "journal.jsonl").read_text().splitlines()
    tried = [parse(json.loads(line)["expression"]) for line in lines]
    chosen = random.Random(0).sample(tried, sample)
    batch = everything.networks[:: max(1, len(everything.networks) // 5)]
    per_candidate = []
    for expression in chosen:
        started = time.perf_counter()
        for network in batch:
            recomputed(expression, network)
        per_candidate.append((time.perf_counter() - started) / len(batch) * judged)
    ours = minutes[0] * 60 / len(lines)
    sizes = [path.stat().st_size / 1e6 for path in (home / SAMPLES).rglob("*.safetensors")]
    keep(
        {
            "discovery_ratio": median([spent / ours for spent in per_candidate]),
            "discovery_ratio_mean": once(float(np.mean(per_candidate)) / ours),
            "discovery_minutes": once(minutes[0]),
            "warm_minutes": once(minutes[1]),
            "peak_memory_gib": once(memory.gib),
            "samples_mb": median(sizes),
        },
        quick,
    )


def taus(
    expressions: list[Expression], part: Group, screen: Screen, home: Path
) -> tuple[list[float], list[float], float]:
    """Kendall τ over networks of screened and exact scores, of the candidates that have both.

    Returns:
        τ of all of them, τ of those that are not all kept exactly, and the share of those with exact scores that
        screening declines to judge.
    """
    wanted = list(dict.fromkeys(feature for e in expressions for feature in features(e)))
    exact = part.population()
    with Workers(WORKERS) as workers, FeatureStore(home / MEMO) as store:
        rows = measured(part.networks, wanted, SETTINGS, store, workers)
    exact.add({feature: [row[feature] for row in rows] for feature in wanted})
    guesses = Judge([part], [screen], Fitness([part]), threads=WORKERS).scores(expressions)
    pairs = [(e, exact.score(e, strict=True), guess) for e, guess in zip(expressions, guesses, strict=True)]
    true = [(e, truth, guess) for e, truth, guess in pairs if not isinstance(truth, Invalid)]
    judged = [
        (e, float(kendalltau(truth, guess[0]).statistic)) for e, truth, guess in true if not isinstance(guess, str)
    ]
    return [tau for _, tau in judged], [tau for e, tau in judged if screen.estimates(e)], 1 - len(judged) / len(true)


def screening(home: Path, networks: int, count: int, quick: bool) -> None:
    """Random candidates, and the best of an evolution, screened and exact."""
    part = group(networks)
    with Workers(WORKERS) as workers:
        screen = take_samples(part.networks, TERMINALS, SETTINGS, home / SAMPLES, workers)
    found, estimated, declined = taus(candidates(count), part, screen, home)
    best = json.loads((home / "run0" / "finalists.json").read_text())
    evolved, _, _ = taus([parse(record["expression"]) for record in best], part, screen, home)

    def figures(name: str, values: list[float]) -> dict[str, Figure]:
        low = float(np.percentile(values, 5))
        return {f"{name}_median": median(values), f"{name}_p05": Figure(low, len(values), (min(values), max(values)))}

    keep(
        {"screening_declined": once(declined)}
        | figures("screening_tau", found)
        | figures("screening_tau_sampled", estimated)
        | figures("screening_tau_evolved", evolved),
        quick,
    )


def growth(home: Path, counts: list[int], steps: list[int], quick: bool) -> None:
    """Time with the number of networks (captured in one go, so that each row holds the ones before) and of candidates."""
    whole = group(counts[-1])
    some = candidates(1000)
    rows = []
    with Workers(WORKERS) as workers:
        spent = 0.0
        for count in counts:
            part = whole.take(range(count))
            started = time.perf_counter()
            screen = take_samples(part.networks, TERMINALS, SETTINGS, home / SAMPLES, workers)
            spent += time.perf_counter() - started
            judge = Judge([part], [screen], Fitness([part]), threads=WORKERS)
            times = [time.perf_counter()]
            for half in (some[:500], some[500:]):
                judge(half)
                times.append(time.perf_counter())
            first, then = np.diff(times)
            size = sum(path.stat().st_size for path in (home / SAMPLES).rglob("*.safetensors")) / 1e6
            rows.append([float(count), spent, float(first), float(then), size])
            say(
                f"{count} networks: {spent:.1f} s of capture; 500 candidates in {first:.2f} s, 500 others in {then:.2f} s"
            )
    part = whole.take(range(min(60, counts[-1])))
    with Workers(1) as workers:
        screen = take_samples(part.networks, TERMINALS, SETTINGS, home / SAMPLES, workers)
    judge = Judge([part], [screen], Fitness([part]), threads=WORKERS)
    engine = ParetoEngine(random.Random(0), judge.known)
    table, distinct, spent = [], set[Expression](), 0.0
    for step in steps:
        while len(judge.verdicts) < step:
            proposed = engine.propose()[: step - len(judge.verdicts)]
            distinct.update(feature for e in proposed for feature in features(e))
            started = time.perf_counter()
            verdicts = judge(proposed)
            spent += time.perf_counter() - started
            engine.accept(verdicts)
        table.append([float(step), spent, float(len(distinct)), resident("self") / 2**30])
        say(f"{step} candidates: {spent:.1f} s, {len(distinct)} features, {table[-1][3]:.2f} GiB")
    keep({}, quick, {"growth_networks": rows, "growth_candidates": table})
