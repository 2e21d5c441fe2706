"""The whole chain against truth: `make truth`.

Five discoveries on a part of the embedded benchmark; for each, one search in every space under a parameter budget with the
discovered proxy, and one each with the counts of parameters and FLOPs; random architectures within the budget. All winners
are then trained with seeds that the benchmark has not seen, and their test accuracies compared. Everything is kept in a
folder, and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from autoprox.building import Key, train_all
from autoprox.datasets import load_dataset
from autoprox.files import write_json
from autoprox.measuring.workers import Workers
from autoprox.report import work_view
from autoprox.run_folder import SETTINGS
from autoprox.spaces import Space, get_space
from autoprox.training import Task, recipe_for
from benchdata import load_benchmark

BUDGETS = {"autoformer-nano": 20_000, "pit-nano": 20_000}
FRESH = (1000, 1001)
"""Seeds of the trainings; the benchmark's are 0, 1 and 2."""

COUNTED = ("params", "flops")
RANDOM = "random"


@dataclass(frozen=True)
class Chosen:
    """An architecture that a method chose in a space."""

    method: str
    space: str
    key: str


def command(*arguments: str) -> dict[str, Any]:
    """What a command of the program prints with --json."""
    done = subprocess.run(
        [sys.executable, "-m", "autoprox", *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def continued(folder: Path, out: str, *arguments: str) -> dict[str, Any]:
    """The result of a run in a folder: read if it is there, else made, going on with what was begun."""
    result = folder / out
    if not result.exists():
        folder.mkdir(parents=True, exist_ok=True)
        begun = ("--resume",) if (folder / SETTINGS).exists() else ()
        command(*arguments, "--run-dir", str(folder), "--out", str(result), *begun)
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def chosen(home: Path, bench: str, seeds: int, evaluations: int, scored: int) -> tuple[list[Chosen], list[str]]:
    """What proxies and counting choose within the budgets, and the discovered expressions."""
    found, expressions = [], []
    for seed in range(seeds):
        asked = ("--bench", bench, "--evaluations", str(evaluations), "--seed", str(seed))
        proxy = continued(home / f"discover-{seed}", "best.json", "discover", *asked)
        expressions.append(proxy["expression"])
        for space, budget in BUDGETS.items():
            for method in ("discovered", *COUNTED):
                judge = method if method in COUNTED else str(home / f"discover-{seed}" / "best.json")
                asked = (
                    "--space",
                    space,
                    "--max-params",
                    str(budget),
                    "--evaluations",
                    str(scored),
                    "--seed",
                    str(seed),
                )
                folder = home / f"search-{space}-{method}-{seed}"
                winner = continued(folder, "arch.json", "search", "--proxy", judge, *asked)
                found.append(
                    Chosen(method, space, get_space(space).key(get_space(space).parse(winner["architecture"])))
                )
    return found, expressions


def at_random(space: Space, budget: int, count: int) -> Iterable[Chosen]:
    """Uniform draws within the budget."""
    rng = np.random.default_rng([7, budget])
    while count:
        architecture = space.sample(rng)
        if space.params(architecture) <= budget:
            count -= 1
            yield Chosen(RANDOM, space.name, space.key(architecture))


def trainings(choices: Sequence[Chosen], datasets: Sequence[str], seeds: Sequence[int]) -> dict[Key, Task]:
    """All tasks; an architecture that was chosen twice is trained once."""
    return {
        (c.space, c.key, dataset, seed): Task(
            c.space, get_space(c.space).parse(json.loads(c.key)), dataset, recipe_for(get_space(c.space)), seed
        )
        for seed in seeds
        for dataset in datasets
        for c in choices
    }


def trained(
    choices: Sequence[Chosen], folder: Path, datasets: Sequence[str], seeds: Sequence[int], workers: int | None
) -> dict[Key, float]:
    """Test accuracies in percent of all choices, on all data sets, with all seeds; what a folder has is not trained again."""
    identity = {"data": {name: load_dataset(name).key for name in datasets}}
    tasks = trainings(choices, datasets, seeds)
    with work_view() as view, Workers(workers) as pool:
        records = train_all(tasks, folder, identity, (folder / SETTINGS).exists(), pool, view.progress)
    accuracy = {key: value for key in tasks if (value := records[key].accuracy) is not None}
    if failed := [key for key in tasks if key not in accuracy]:
        sys.exit(f"{len(failed)} trainings failed: {failed[0]}")
    return accuracy


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % t interval; the units are architectures."""
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return float(np.mean(values)), half


def difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Difference of two means with its 95 % interval (Welch, 1947)."""
    found = stats.ttest_ind(a, b, equal_var=False)
    low, high = found.confidence_interval(0.95)
    return float(np.mean(a) - np.mean(b)), float(low), float(high)


def report(choices: Sequence[Chosen], accuracy: dict[Key, float], datasets: Sequence[str]) -> Iterable[str]:
    """A table in Markdown: what each method's architectures reach."""
    yield f"| space, method | architectures (distinct) | mean parameters | {' | '.join(datasets)} | mean of the data sets |"
    yield f"|---|---|---|{'---|' * len(datasets)}---|"
    for space in BUDGETS:
        means: dict[str, list[float]] = {}
        for method in ("discovered", *COUNTED, RANDOM):
            mine = [c for c in choices if (c.method, c.space) == (method, space)]
            rows = [[np.mean([accuracy[space, c.key, d, s] for s in FRESH]) for d in datasets] for c in mine]
            means[method] = [float(np.mean(row)) for row in rows]
            columns = [mean_and_interval([float(v) for v in column]) for column in zip(*rows, strict=True)]
            size = np.mean([get_space(space).params(get_space(space).parse(json.loads(c.key))) for c in mine])
            cells = [f"{mean:.1f} ± {half:.1f}" for mean, half in (*columns, mean_and_interval(means[method]))]
            yield f"| {space}, {method} | {len(mine)} ({len(set(mine))}) | {size:.0f} | {' | '.join(cells)} |"
        for other in (*COUNTED, RANDOM):
            gain, low, high = difference(means["discovered"], means[other])
            yield f"| {space}, discovered − {other} | | | {'| ' * len(datasets)}{gain:+.1f} [{low:+.1f}, {high:+.1f}] |"


def main() -> None:
    """Everything, in one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("truth"))
    parser.add_argument("--bench", default="nano")
    parser.add_argument("--seeds", type=int, default=5, help="of discovery and search")
    parser.add_argument("--evaluations", type=int, default=3000, help="of one discovery")
    parser.add_argument("--scored", type=int, default=200, help="architectures of one search")
    parser.add_argument("--random", type=int, default=8, help="architectures chosen at random in each space")
    parser.add_argument("--workers", type=int, default=None)
    asked = parser.parse_args()
    datasets = list(load_benchmark(asked.bench).default_datasets)
    asked.folder.mkdir(exist_ok=True)
    choices, expressions = chosen(asked.folder, asked.bench, asked.seeds, asked.evaluations, asked.scored)
    for space, budget in BUDGETS.items():
        choices += at_random(get_space(space), budget, asked.random)
    accuracy = trained(choices, asked.folder / "trainings", datasets, FRESH, asked.workers)
    lines = list(report(choices, accuracy, datasets))
    found = [{"method": c.method, "space": c.space, "architecture": json.loads(c.key)} for c in choices]
    write_json(asked.folder / "truth.json", {"expressions": expressions, "chosen": found, "table": lines})
    sys.stdout.write("\n".join((*(f"seed {i}: {text}" for i, text in enumerate(expressions)), "", *lines, "")))


if __name__ == "__main__":
    main()
