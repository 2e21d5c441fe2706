"""Does block-wise evolution find better architectures? `make results` runs this and puts it on the results page.

Block-wise positions, uniform positions, regularised evolution and random search, with equal evaluations, the same proxy and
the same budget, with several seeds on both embedded spaces; every winner is trained on all data sets with a seed that
the benchmark has not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from autoprox.building import Key
from autoprox.cli.options import memo
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.proxy import resolve_proxy
from autoprox.proxies.scoring import score_architectures
from autoprox.spaces import get_space
from benchdata import load_benchmark
from tests.truth import BUDGETS, FRESH, Chosen, continued, mean_and_interval, trained

PROXY = "dss++"
METHODS = {
    "block-wise": ("--algorithm", "blockwise"),
    "uniform": ("--algorithm", "blockwise", "--positions", "uniform"),
    "evolution": ("--algorithm", "evolution"),
    "random": ("--algorithm", "random"),
}
SEEDS = range(10)
EVALUATIONS = 200


def searched(folder: Path) -> list[Chosen]:
    """The winner of every search: by method, space and seed."""
    found = []
    for space, budget in BUDGETS.items():
        asked = ("--proxy", PROXY, "--space", space, "--max-params", str(budget), "--evaluations", str(EVALUATIONS))
        for method, options in METHODS.items():
            for seed in SEEDS:
                place = folder / f"{space}-{method}-{seed}"
                winner = continued(place, "arch.json", "search", *asked, *options, "--seed", str(seed))
                key = get_space(space).key(get_space(space).parse(winner["architecture"]))
                found.append(Chosen(method, space, key))
    return found


def proxy_scores(choices: Sequence[Chosen]) -> dict[tuple[str, str], float]:
    """The proxy of all winners among each other: what the searches were to maximise."""
    networks = sorted({(c.space, c.key) for c in choices})
    with FeatureStore(memo()) as store, Workers(1) as workers:
        found = score_architectures(resolve_proxy(PROXY).expression, networks, CaptureSettings(), store, workers)
    return {network: float(score) for network, (_, score) in zip(networks, found, strict=True)}  # type: ignore[arg-type]


def paired(a: Sequence[float], b: Sequence[float]) -> str:
    """Mean difference with its 95 % t interval over seeds; searches of one seed begin with the same architectures."""
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    return f"{np.mean(np.subtract(a, b)):+.2f} [{low:+.2f}, {high:+.2f}]"


def table(choices: Sequence[Chosen], accuracy: dict[Key, float], datasets: Sequence[str]) -> Iterable[str]:
    """Markdown: what each method's winners reach."""
    scores = proxy_scores(choices)
    yield f"| space, method | distinct winners | {PROXY} | {' | '.join(datasets)} | mean | against block-wise |"
    yield f"|---|---|---|{'---|' * len(datasets)}---|---|"
    for space in BUDGETS:
        means: dict[str, list[float]] = {}
        for method in METHODS:
            mine = [c for c in choices if (c.method, c.space) == (method, space)]
            rows = np.array([[accuracy[space, c.key, d, FRESH[0]] for d in datasets] for c in mine])
            means[method] = rows.mean(axis=1).tolist()
            reached = mean_and_interval([scores[c.space, c.key] for c in mine])
            cells = ["{:.1f} ± {:.1f}".format(*mean_and_interval(list(v))) for v in (*rows.T, means[method])]
            against = "" if method == "block-wise" else paired(means[method], means["block-wise"])
            shown = [f"{space}, {method}", str(len(set(mine))), "{:.3f} ± {:.3f}".format(*reached), *cells, against]
            yield f"| {' | '.join(shown)} |"


def study(folder: Path, workers: int | None) -> list[str]:
    """All searches and trainings, or what a folder lacks of them; then the table."""
    datasets = list(load_benchmark("nano").default_datasets)
    choices = searched(folder)
    accuracy = trained(choices, folder / "trainings", datasets, FRESH[:1], workers)
    return list(table(choices, accuracy, datasets))
