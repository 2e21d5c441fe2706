"""Small things that add up: two workers, the memo, Kendall's τ, the start of the command."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from autoprox.discovery.evolution import TERMINALS
from autoprox.language.expression import features
from autoprox.measuring.measure import measured
from autoprox.measuring.screening import take_samples
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.ranking.agreement import KendallTargets
from tests.performance.discovering import candidates
from tests.performance.figures import SETTINGS, keep, median, networks_of, once, seconds


def two_workers(folder: Path, networks: int, rounds: int, quick: bool) -> None:
    """The same captures with one worker and with two, in turn; their processes run already."""
    some = networks_of(networks, seed=7)
    ratios = []
    for i in range(rounds):
        spent = {}
        for count in (1, 2):
            with Workers(count) as workers:
                take_samples(some[:2], TERMINALS, SETTINGS, folder / f"first{count}.{i}", workers)
                started = time.perf_counter()
                take_samples(some, TERMINALS, SETTINGS, folder / f"{count}.{i}", workers)
                spent[count] = time.perf_counter() - started
        ratios.append(spent[1] / spent[2])
    keep({"two_worker_speedup": median(ratios)}, quick)


def details(folder: Path, quick: bool) -> None:
    some = networks_of(12, "pit-tiny")
    wanted = list(dict.fromkeys(feature for e in candidates(10) for feature in features(e)))
    with Workers(1) as workers, FeatureStore(folder / "memo.sqlite") as store:
        cold = seconds(lambda: measured(some, wanted, SETTINGS, store, workers), times=1)
        warm = seconds(lambda: measured(some, wanted, SETTINGS, store, workers))
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(200, 60)), rng.normal(size=(6, 60))
    targets = KendallTargets(labels)
    slow = seconds(lambda: [kendalltau(x, y).statistic for x in scores for y in labels], times=1)
    answer = [sys.executable, "-m", "autoprox", "--help"]
    shown = seconds(lambda: subprocess.run(answer, check=True, stdout=subprocess.DEVNULL))
    plain = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    keep(
        {
            "kendall_speedup": once(slow / seconds(lambda: targets.of(scores))),
            "memo_speedup": once(cold / warm),
            "help_ratio": once(shown / plain),
        },
        quick,
    )
