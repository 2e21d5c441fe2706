"""The figure of the README, drawn from a discovery: `make figure` writes docs/figures/nano.svg.

Each architecture that the discovery did not see, by its accuracy and by its rank among the others of its space: as the discovered
proxy ranks them, and as parameters do.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from autoprox.files import write_text
from autoprox.language.text import parse_proxy
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.store import MEMO, FeatureStore, home_folder
from autoprox.measuring.workers import Workers
from autoprox.proxies.scoring import score_architectures
from autoprox.ranking.problem import gather
from autoprox.report.figures import correlation, interval, signed
from autoprox.report.pages.drawing import COLOURS, INK, MUTED, PROXY, RULE, SIZE
from benchdata import load_benchmark
from tests.truth import command

DISCOVERY = ("discover", "--evaluations", "3000", "--seed", "0")
"""The one of the README's first steps."""

STYLE = {
    "font.size": 8, "text.color": INK, "axes.labelcolor": MUTED, "xtick.color": RULE, "ytick.color": RULE,
    "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED, "axes.edgecolor": RULE, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": RULE, "grid.linewidth": 0.5,
    "figure.facecolor": "#ffffff", "axes.facecolor": "none", "legend.frameon": False, "svg.fonttype": "path",
    "svg.hashsalt": "autoprox",
}  # fmt: skip
DARK = {
    "paper": "#15181c", "ink": "#e4e7eb", "muted": "#9ba5b0", "rule": "#343a42", "faint": "#6b7580", "proxy": "#79b0ec",
    "size": "#e59a57", "band": "#1f3350",
}  # fmt: skip


def drawn(record: dict[str, Any]) -> Figure:
    """One pair of axes a space and data set; record is that of the proxy file."""
    metrics = record["metrics"]
    groups = [group.part("test") for group in gather([load_benchmark("nano")])]
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    figure.get_layout_engine().set(hspace=0.08)
    rows = figure.subplots(len(groups), len(groups[0].labels), squeeze=False)
    with FeatureStore(home_folder() / MEMO) as store, Workers(1) as workers:
        for group, row in zip(groups, rows, strict=True):
            found = score_architectures(
                parse_proxy(record["expression"]), group.networks, CaptureSettings(), store, workers
            )
            measures = {
                "discovered proxy": (np.array([score for _, score in found]), PROXY, "o"),
                "parameter count": (np.array(group.numbers["params"]), SIZE, "D"),
            }
            for (dataset, accuracies), ax in zip(group.labels.items(), row, strict=True):
                told = metrics[group.space][dataset]
                ax.set_title(f"{group.space}, {dataset}", loc="left", fontsize=9, fontweight="bold", pad=29)
                for line, (name, (values, colour, marker)) in enumerate(measures.items()):
                    ranks = stats.rankdata(values)
                    filled = colour if name == "discovered proxy" else "none"
                    ax.scatter(ranks, accuracies, s=18, marker=marker, facecolors=filled, edgecolors=colour, label=name)
                    mine = told if filled == colour else told["params"]
                    text = f"{name}: τ {correlation(mine['kendall'])} {interval(mine['kendall_ci'])}"
                    ax.text(0, 1.12 - 0.075 * line, text, transform=ax.transAxes, color=colour, fontsize=8)
                ax.set_xlabel(f"rank among the {told['n']} test architectures")
                ax.set_ylabel("accuracy, %")
    joint = metrics["joint"]["mean"]
    figure.suptitle(
        f"discovered: {record['expression']}\nmean τ {correlation(joint['kendall'])} {interval(joint['kendall_ci'])}, "
        f"parameter count {correlation(joint['params']['kendall'])}, difference {signed(joint['difference'])} "
        f"{interval(joint['difference_ci'], sign=True)}",
        x=0.01, ha="left", fontsize=9,
    )  # fmt: skip
    return figure


def svg(figure: Figure) -> str:
    """As a file that is dark on a dark screen; it brings its background along, so it is readable on any."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(
        r"#[0-9a-f]{6}\b", lambda m: f"var(--{COLOURS[m[0]]})" if m[0] in COLOURS else m[0], buffer.getvalue()
    )
    light, dark = (
        " ".join(f"--{name}: {colour};" for name, colour in colours.items())
        for colours in ({name: colour for colour, name in COLOURS.items()}, DARK)
    )
    style = f"<style>svg {{ {light} }} @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}</style>"
    return text.replace("<defs>", f"{style}\n <defs>", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proxy", type=Path, help="the proxy file of the discovery; default: it is made again")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/nano.svg"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, matplotlib.rc_context(STYLE):
        place = Path(folder)
        if asked.proxy is None:
            command(*DISCOVERY, "--out", str(place / "best.json"), "--run-dir", str(place / "run"))
        record = json.loads((asked.proxy or place / "best.json").read_text(encoding="utf-8"))
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(asked.out, svg(drawn(record)))


if __name__ == "__main__":
    main()
