"""Speed, as ratios within one run: `make perf`. Nothing here passes or fails; the figures are for people."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from autoprox.discovery.evolution import TERMINALS, expressible, random_expression
from autoprox.discovery.judging import Judge
from autoprox.language.expression import Expression, features
from autoprox.measuring.capture import CaptureSettings, block_features
from autoprox.measuring.measure import measured
from autoprox.measuring.screening import take_samples
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.ranking.agreement import KendallTargets
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import Group, numbers_of
from autoprox.spaces import get_space

NETWORKS = 12
SETTINGS = CaptureSettings()


def seconds(job: Callable[[], object], times: int = 3) -> float:
    """Shortest of a few runs: the least disturbed one."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        job()
        spent.append(time.perf_counter() - start)
    return min(spent)


def show(what: str, slow: float, fast: float) -> None:
    sys.stdout.write(f"{what:62} {slow * 1e3:10.2f} ms {fast * 1e3:10.3f} ms {slow / fast:10.0f} x\n")


def group(space_name: str) -> Group:
    space, rng = get_space(space_name), np.random.default_rng(0)
    keys = list(dict.fromkeys(space.key(space.sample(rng)) for _ in range(2 * NETWORKS)))[:NETWORKS]
    networks = tuple((space.name, key) for key in keys)
    numbers = numbers_of(networks)
    labels = np.log(numbers["params"]) + rng.normal(size=len(networks))
    return Group(space.name, networks, {"a": labels, "b": labels + 1}, {"a": "kd", "b": "kd"}, numbers)


def candidates(count: int) -> list[Expression]:
    rng = random.Random(0)
    found: dict[Expression, None] = {}
    while len(found) < count:
        candidate = random_expression(rng, rng.randint(3, 6))
        if features(candidate) and expressible(candidate):
            found[candidate] = None
    return list(found)


def help_command() -> None:
    plain = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    answer = [sys.executable, "-m", "autoprox", "--help"]
    shown = seconds(lambda: subprocess.run(answer, check=True, stdout=subprocess.DEVNULL))
    show("autoprox --help, against starting Python", shown, plain)


def discovery(folder: Path, space: str) -> None:
    part = group(space)
    with Workers(1) as workers:
        screen = take_samples(part.networks, TERMINALS, SETTINGS, folder, workers)
        some = candidates(400)
        judge = Judge([part], [screen], Fitness([part]), orient=True)
        judge(some[:100])  # reads the samples
        screened = seconds(lambda: judge(some[100:]), times=1) / 300 / NETWORKS
        probe = some[100:106]
        rebuilt = seconds(
            lambda: [block_features(n, features(e), SETTINGS) for e in probe for n in part.networks[:4]], times=1
        ) / (len(probe) * 4)
    show(f"{space}: a network rebuilt for a candidate, against screened", rebuilt, screened)


def memo(folder: Path) -> None:
    part = group("pit-tiny")
    wanted = [feature for e in candidates(10) for feature in features(e)]
    with Workers(1) as workers, FeatureStore(folder / "memo.sqlite") as store:
        cold = seconds(lambda: measured(part.networks, wanted, SETTINGS, store, workers), times=1)
        warm = seconds(lambda: measured(part.networks, wanted, SETTINGS, store, workers))
    show(f"{len(wanted)} features of {NETWORKS} networks: captured, against the memo", cold, warm)


def kendall() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(200, 60)), rng.normal(size=(6, 60))
    targets = KendallTargets(labels)
    slow = seconds(lambda: [kendalltau(x, y).statistic for x in scores for y in labels], times=1)
    show("Kendall of 200 candidates on 6 labels: scipy, against ours", slow, seconds(lambda: targets.of(scores)))


if __name__ == "__main__":
    sys.stdout.write(f"{'':62} {'slow':>13} {'fast':>13} {'ratio':>12}\n")
    help_command()
    kendall()
    with tempfile.TemporaryDirectory() as name:
        for space_name in ("pit-tiny", "autoformer-sub"):
            discovery(Path(name), space_name)
        memo(Path(name))
