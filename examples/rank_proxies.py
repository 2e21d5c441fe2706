"""Rank proxies on a table of your own: a CSV file with one architecture a row and one accuracy column a data set."""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.workers import Workers
from autoprox.proxies.proxy import resolve_proxy
from autoprox.ranking.comparison import compare
from autoprox.ranking.problem import gather
from autoprox.spaces import get_space
from benchdata import load_benchmark


def made_up_table(path: Path) -> Path:
    """Twelve architectures with made-up accuracies, in the format that ``--bench FILE`` reads."""
    space, rng = get_space("pit-tiny"), np.random.default_rng(2)
    rows = ["space,architecture,cifar100.kd"]
    for _ in range(12):
        architecture = space.sample(rng)
        accuracy = 60 + 2 * np.log(space.params(architecture) / 1e6) + rng.normal()
        rows.append(
            f'pit-tiny,"{json.dumps(space.to_json(architecture)).replace(chr(34), chr(34) * 2)}",{accuracy:.2f}'
        )
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


with tempfile.TemporaryDirectory() as folder, Workers(1) as workers:
    table = Path(sys.argv[1]) if len(sys.argv) > 1 else made_up_table(Path(folder) / "mine.csv")
    groups = gather([load_benchmark(table)])
    proxies = [resolve_proxy(text) for text in ("depth * width", "sum(l2(proj.weight))")]
    for row in compare(groups, proxies, CaptureSettings(), Path(folder) / "memo.sqlite", workers).rows:
        print(
            f"{row['proxy']:22} {row['space']} {row['dataset']:10} n={row['n']:3} tau={row['kendall']:.3f} {row['kendall_ci']}"
        )
