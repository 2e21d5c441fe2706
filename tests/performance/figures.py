"""Figures of a run: kept in build/perf.json as they come, shown as a table, and made into the page docs/performance.md."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from autoprox.files import read_json, write_json, write_text
from autoprox.measuring.capture import CaptureSettings, Network
from autoprox.ranking.problem import Group, numbers_of
from autoprox.spaces import get_space

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "build" / "perf.json"
PAGE = ROOT / "docs" / "performance.md"
SPACE = "autoformer-sub"
SETTINGS = CaptureSettings()


@dataclass(frozen=True)
class Figure:
    """A measured number: the median, of how many, and between which (5th and 95th percentile, or all where they are few)."""

    value: float
    n: int
    spread: tuple[float, float]


def median(values: Sequence[float]) -> Figure:
    ends = (min(values), max(values)) if len(values) < 20 else tuple(map(float, np.percentile(values, [5, 95])))
    return Figure(float(np.median(values)), len(values), (ends[0], ends[1]))


def once(value: float) -> Figure:
    return Figure(value, 1, (value, value))


def seconds(job: Callable[[], object], times: int = 3) -> float:
    """Shortest of a few runs: the least disturbed one."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        job()
        spent.append(time.perf_counter() - start)
    return min(spent)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def networks_of(count: int, space_name: str = SPACE, seed: int = 0) -> tuple[Network, ...]:
    """Distinct random architectures of a space."""
    space, rng = get_space(space_name), np.random.default_rng(seed)
    keys = dict.fromkeys(space.key(space.sample(rng)) for _ in range(4 * count))
    return tuple((space.name, key) for key in list(keys)[:count])


def group(count: int, space_name: str = SPACE) -> Group:
    """Random architectures with labels that follow their size, with noise; speed does not depend on labels."""
    networks = networks_of(count, space_name)
    numbers = numbers_of(networks)
    labels = np.log(numbers["params"]) + 0.2 * np.random.default_rng(1).normal(size=count)
    return Group(space_name, networks, {"a": labels, "b": labels**2}, {"a": "kd", "b": "kd"}, numbers)


def keep(figures: dict[str, Figure], quick: bool, tables: dict[str, list[list[float]]] | None = None) -> None:
    """Add figures and tables to the file; those of other parts stay, unless they were taken at another size."""
    RESULT.parent.mkdir(exist_ok=True)
    record = read_json(RESULT, "performance figures") if RESULT.exists() else {}
    if record.get("setting", {}).get("quick", quick) != quick:
        record = {}
    record["setting"] = {
        "quick": quick,
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    record.update({name: asdict(figure) for name, figure in figures.items()})
    record.update(tables or {})
    write_json(RESULT, record)
    for name, figure in figures.items():
        say(f"{name:34} {figure.value:12.4g}   n {figure.n:<6} {figure.spread[0]:.4g} to {figure.spread[1]:.4g}")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


# name: (what it is, what it should be)
WANTED = {
    "discovery_ratio": ("rebuilding every network for a candidate, against a candidate of a discovery", "≥ 1,000"),
    "discovery_ratio_mean": ("the same, of the mean of these candidates instead of their median", ""),
    "discovery_minutes": ("a discovery of 4,000 candidates on 60 networks from nothing, minutes", "< 8"),
    "warm_minutes": ("the same again with another seed, minutes", "< 3"),
    "screening_tau_median": ("Kendall τ of screened and exact scores, random candidates, median", "≥ .99"),
    "screening_tau_p05": ("the same, 5th percentile", "≥ .95"),
    "screening_declined": (
        "of those with exact scores, the share that samples say too little of, so that it is not judged",
        "",
    ),
    "screening_tau_sampled_median": ("the same, only candidates with something to estimate, median", ""),
    "screening_tau_sampled_p05": ("the same, 5th percentile", ""),
    "screening_tau_evolved_median": ("the same for the best candidates of a discovery, median", ""),
    "screening_tau_evolved_p05": ("the same, 5th percentile", ""),
    "search_overhead": ("scoring one architecture, against one forward and backward of it", "≤ 1.15"),
    "search_overhead_weights": ("scoring by weights alone, against building the network and reading them", "≤ 1"),
    "search_speedup": (
        "building anew for each of six proxies (grad_norm, snip, plain, fisher, synflow, dss), against one capture for all",
        "≥ 3",
    ),
    "search_speedup_single": ("the same with one proxy", ""),
    "two_worker_speedup": ("captures with two workers, against one", "≥ 1.7"),
    "peak_memory_gib": ("all processes of the discovery from nothing together, GiB", ""),
    "samples_mb": ("samples kept of one network, MB", ""),
    "kendall_speedup": ("Kendall τ of 200 candidates on 6 labels: scipy, against ours", ""),
    "memo_speedup": ("features of 12 networks: captured, against the memo", ""),
    "help_ratio": ("autoprox --help, against starting Python", ""),
}


TABLES = {
    "growth_networks": (
        "Growth with networks",
        (
            "networks",
            "capture, seconds (2 workers)",
            "samples read and 500 candidates judged, seconds",
            "500 others judged, seconds",
            "samples, MB",
        ),
    ),
    "growth_candidates": (
        "Growth with candidates, on 60 networks",
        ("distinct candidates", "judged, seconds", "distinct features so far", "memory of the process, GiB"),
    ),
}


def number(value: float) -> str:
    """Three digits, or all of a larger one.

    >>> number(0.12345), number(1478.2)
    ('0.123', '1,478')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def page() -> None:
    """Write docs/performance.md from the kept figures."""
    record = read_json(RESULT, "performance figures")
    setting = record["setting"]
    lines = [
        "# Performance",
        "",
        f"Made by `make perf` (full size, {setting['cores']} cores, {setting['processor']}, Python {setting['python']}, torch "
        f"{setting['torch']}), {SPACE} at 224 px, batch of 8, one thread a process. Each ratio is of times of the same "
        "run; spread is the 5th to 95th percentile, or all values where they are fewer than 20. What is compared with a "
        "discovery, rebuilding, runs on one core, as a loop over candidates does; a discovery is two processes.",
        "",
        "| | value | n | spread | target |",
        "|---|---|---|---|---|",
    ]
    for name, (what, target) in WANTED.items():
        if name in record:
            figure = record[name]
            low, high = figure["spread"]
            lines.append(
                f"| {what} (`{name}`) | {number(figure['value'])} | {figure['n']} | {number(low)} to {number(high)} | {target} |"
            )
    for name, (title, heads) in TABLES.items():
        if name in record:
            lines += ["", f"## {title}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
            lines += [f"| {' | '.join(map(number, row))} |" for row in record[name]]
    write_text(PAGE, "\n".join(lines) + "\n")
