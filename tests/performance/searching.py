"""Search: one architecture scored, against its bare passes and against one proxy at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features
from autoprox.language.text import parse
from autoprox.measuring.capture import Network, block_features
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.proxies.scoring import Scorer
from autoprox.spaces import get_space
from tests.performance.figures import SETTINGS, Figure, keep, median, networks_of, say
from tests.performance.peers import all_recomputed, built, forward_backward

DATA = ("snip", "grad_norm", "fisher", "plain")
COMPARED = ("grad_norm", "snip", "plain", "fisher", "synflow", "dss")
WEIGHTS = "sum(l1(linear.weight))"


def expression_of(name: str) -> Expression:
    return canonical(KNOWN_PROXIES[name].expression)


def once_each(jobs: dict[str, Callable[[], object]], before: Callable[[], object]) -> dict[str, float]:
    """Seconds of jobs, in turn: the shorter of two rounds, so that a disturbance hits none of them alone."""
    spent: dict[str, float] = {}
    for _ in range(2):
        for name, job in jobs.items():
            before()
            started = time.perf_counter()
            job()
            spent[name] = min(spent.get(name, 9e9), time.perf_counter() - started)
    return spent


def scored(name: str, network: Network, store: FeatureStore) -> None:
    """What a search does with one architecture that it does not know yet."""
    Scorer(canonical(parse(name)) if name == WEIGHTS else expression_of(name), SETTINGS, store, WORKERS).measure(
        [network]
    )


WORKERS = Workers(1)


def read_weights(network: Network) -> None:
    space = get_space(network[0])
    model = space.network(space.parse(json.loads(network[1])), SETTINGS.classes, SETTINGS.seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs().sum().item()


def search(folder: Path, networks: int, quick: bool) -> None:
    torch.set_num_threads(1)
    overhead: dict[str, list[float]] = {name: [] for name in DATA}
    weights, together, single = [], [], []
    store = FeatureStore(folder / "searching.sqlite")
    everything = [f for name in COMPARED for f in features(expression_of(name))]
    for i, network in enumerate(networks_of(networks + 1, seed=5)):
        model = built(network)
        jobs: dict[str, Callable[[], object]] = {"bare": lambda m=model, n=network: forward_backward(m, n)}
        for name in DATA:
            jobs[name] = lambda n=network, p=name: scored(p, n, store)
        jobs["weights"] = lambda n=network: scored(WEIGHTS, n, store)
        jobs["read"] = lambda n=network: read_weights(n)
        jobs["apart"] = lambda n=network: all_recomputed([expression_of(name) for name in COMPARED], n)
        jobs["together"] = lambda n=network: block_features(n, everything, SETTINGS)
        jobs["apart, one"] = lambda n=network: all_recomputed([expression_of("snip")], n)
        spent = once_each(jobs, lambda: store.shrink(0))
        if i == 0:
            continue  # draws the shared noise of the space, once a search
        for name in DATA:
            overhead[name].append(spent[name] / spent["bare"])
        weights.append(spent["weights"] / spent["read"])
        together.append(spent["apart"] / spent["together"])
        single.append(spent["apart, one"] / spent["snip"])
    store.close()
    figures: dict[str, Figure] = {f"search_overhead_{name}": median(values) for name, values in overhead.items()}
    for name, figure in figures.items():
        say(f"{name}: {figure.value:.3f}")
    keep(
        {
            "search_overhead": median([value for values in overhead.values() for value in values]),
            **figures,
            "search_overhead_weights": median(weights),
            "search_speedup": median(together),
            "search_speedup_single": median(single),
        },
        quick,
    )
