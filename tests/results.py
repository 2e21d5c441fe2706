"""The results page: `make results` writes docs/results.md and docs/results.csv, and keeps what it measured in build/results.

Every known proxy on every benchmark that is there; DSS as published against DSS as its code computes it; block-wise
evolution against its ablation. Public benchmarks are looked for in $AUTOPROX_BENCHMARKS and among the installed ones; the
page says which were there. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoprox.files import write_json, write_text
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.store import MEMO, FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.proxies.proxy import resolve_proxy
from autoprox.proxies.scoring import score_architectures
from autoprox.ranking.agreement import agreement
from autoprox.report.figures import correlation, interval
from autoprox.spaces import get_space
from tests.blockwise_study import EVALUATIONS, PROXY, SEEDS, study
from tests.truth import BUDGETS, command

Row = Mapping[str, Any]

ALL = tuple(KNOWN_PROXIES)
GLUE = ("glue", "cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst", "sts")
RANKINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "nano": (ALL, ("--bench", "nano"), "the benchmark that comes along: small networks, three seeds each"),
    "vit-bench-101, kd": (
        ALL,
        ("--bench", "vit-bench-101", "--labels", "kd"),
        "200 networks at 224 px, trained with distillation",
    ),
    "vit-bench-101, base": (
        ALL,
        ("--bench", "vit-bench-101", "--labels", "base"),
        "the same networks, trained without distillation",
    ),
    "vit-bench-101, kd, batch of 32": (
        ("swap", "nwot"),
        ("--bench", "vit-bench-101", "--labels", "kd", "--batch-size", "32"),
        "proxies that count activation patterns, of which 8 images have at most 256",
    ),
    "nas-bench-bert": (
        ALL,
        ("--bench", "nas-bench-bert", "--datasets", ",".join(GLUE)),
        "BERT encoders scored on the GLUE tasks, measured on seeded synthetic tokens at their own hidden size, which parameter "
        "counts and FLOPs follow too (in the file of metrics that was published with them, they do not). meco is the rounding "
        "error of a singular matrix here (1e-14: these blocks end with a normalisation, so that channels depend on each other), "
        "and says nothing",
    ),
}
COLUMNS = (
    "benchmark", "proxy", "space", "dataset", "label", "n", "kendall", "kendall_low", "kendall_high", "partial_kendall",
    "partial_low", "partial_high", "kendall_params", "spearman", "invalid",
)  # fmt: skip
SHOWN = {"nas-bench-bert": ("glue",)}
"""Data sets on the page, where not all of them fit; the CSV file has all."""

NETWORKS = 60
DSS_SPACE = "autoformer-tiny"


def ranked(folder: Path) -> dict[str, list[Row]]:
    """The rows of `autoprox rank` with all known proxies, benchmark by benchmark."""
    found: dict[str, list[Row]] = {}
    for name, (proxies, options, _) in RANKINGS.items():
        kept = folder / f"rank {name}.json"
        if not kept.exists():
            write_json(kept, command("rank", "--proxy", *proxies, *options))
        found[name] = json.loads(kept.read_text(encoding="utf-8"))["rows"]
    return found


def table(rows: Sequence[Row], datasets: Sequence[str]) -> Iterable[str]:
    """Markdown: one line a proxy, the highest mean tau first."""
    cells = {(row["proxy"], row["dataset"]): row for row in rows}
    proxies = dict.fromkeys(row["proxy"] for row in rows)

    def mean(proxy: str) -> float:
        taus = [cells[proxy, dataset]["kendall"] for dataset in datasets]
        return -np.inf if None in taus else float(np.mean(taus))

    yield f"| proxy | size τ | {' | '.join(f'{d} τ [95 %] | partial τ [95 %]' for d in datasets)} |"
    yield f"|---|---|{'---|---|' * len(datasets)}"
    for proxy in sorted(proxies, key=mean, reverse=True):
        first = cells[proxy, datasets[0]]
        if "invalid" in first:
            yield f"| {proxy} | no usable score: {first['invalid']} |{' |' * 2 * len(datasets)}"
            continue
        figures = [
            f"{correlation(row['kendall'])} {interval(row['kendall_ci'])} | "
            f"{correlation(row['partial_kendall'])} {interval(row['partial_kendall_ci'])}"
            for row in (cells[proxy, dataset] for dataset in datasets)
        ]
        yield f"| {proxy} | {correlation(first['kendall_params'])} | {' | '.join(figures)} |"


def flat(benchmark: str, row: Row) -> dict[str, Any]:
    """A row of the CSV file."""
    spans = {
        f"{name}_{end}": value
        for name, key in (("kendall", "kendall_ci"), ("partial", "partial_kendall_ci"))
        for end, value in zip(("low", "high"), row[key] or (None, None), strict=True)
    }
    numbers = {**row, **spans}
    return {"benchmark": benchmark} | {
        name: f"{value:.4f}" if isinstance(value, float) else value
        for name in COLUMNS[1:]
        if (value := numbers.get(name)) is not None
    }


def as_csv(rankings: Mapping[str, Sequence[Row]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat(name, row) for name, rows in rankings.items() for row in rows)
    return out.getvalue()


def released_score(space_name: str, key: str) -> float:
    """DSS as TF-TAS's code computes it, written out: absolute values of position embedding and class token alone, an image of
    ones, the sum of the logits; nuclear norms of the projection, saliency of the MLP, nothing of qkv and head.
    """
    space = get_space(space_name)
    model = space.network(space.parse(json.loads(key)), classes=None, seed=0).eval()

    def nuclear(matrix: Tensor) -> float:
        return float(torch.linalg.svdvals(matrix.double()).sum())

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in ("pos_embed", "cls_token"):
                parameter.abs_()
    model(torch.ones(1, 3, space.image_size, space.image_size)).sum().backward()
    total = 0.0
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer.weight.grad is not None:
            weight, grad = layer.weight.detach(), layer.weight.grad
            if name.endswith("attn.proj"):
                total += nuclear(weight) * nuclear(grad)
            elif name.endswith(("mlp.fc1", "mlp.fc2")):
                total += float((weight * grad).abs().double().sum())
    return total


def dss_scores(folder: Path) -> dict[str, list[float]]:
    """Scores of random architectures by the proxies dss and dss-released and by the code as it was released, and their size."""
    kept = folder / "dss.json"
    if not kept.exists():
        space, rng = get_space(DSS_SPACE), np.random.default_rng(0)
        keys: dict[str, None] = {}
        while len(keys) < NETWORKS:
            keys[space.key(space.sample(rng))] = None
        networks = [(DSS_SPACE, key) for key in keys]
        scores: dict[str, list[float]] = {}
        with FeatureStore(folder / MEMO.name) as store, Workers() as workers:
            for name in ("dss", "dss-released", "params"):
                proxy = resolve_proxy(name).expression
                found = score_architectures(proxy, networks, CaptureSettings(), store, workers)
                scores[name] = [float(score) for _, score in found]  # type: ignore[arg-type]
        scores["released code"] = [released_score(*network) for network in networks]
        write_json(kept, scores)
    known: dict[str, list[float]] = json.loads(kept.read_text(encoding="utf-8"))
    return known


def dss_table(scores: Mapping[str, Sequence[float]]) -> Iterable[str]:
    """Kendall's tau between the ways to compute DSS."""
    yield "| | and | τ [95 %] | Spearman |"
    yield "|---|---|---|---|"
    for a, b in (
        ("dss-released", "released code"),
        ("dss", "dss-released"),
        ("dss", "params"),
        ("dss-released", "params"),
    ):
        found = agreement(scores[a], scores[b], scores["params"])
        span = interval(found.kendall_ci)
        yield f"| {a} | {b} | {correlation(found.kendall)} {span} | {correlation(found.spearman)} |"


def page(rankings: Mapping[str, Sequence[Row]], scores: Mapping[str, Sequence[float]], lines: Sequence[str]) -> str:
    """The page in Markdown."""
    parts = [
        "# Results",
        "Written by `make results`, about an hour on 2 cores for what is not known yet. It needs ViT-Bench-101 and "
        "NAS-Bench-BERT, installed with `autoprox bench add` or named by `$AUTOPROX_BENCHMARKS`. Nothing here was selected: "
        "each known proxy is measured on all architectures of a table, at initialisation, with seed 0, on a batch of 8.",
        "τ is Kendall's tau-b with a 95 % bootstrap interval over architectures (2,000 resamples); *partial τ* is given the "
        "parameter count (a noisy copy of the parameter count has one above 0 too, so a small one shows nothing); "
        "*size τ* is its correlation with the parameter count, so that a proxy near 1 counts parameters. Sorted by mean τ. "
        "All figures, Spearman's and further data sets among them: "
        "[results.csv](results.csv). What each proxy is: `autoprox proxies`.",
    ]
    for name, rows in rankings.items():
        _, options, what = RANKINGS[name]
        parts += [f"## {name}", f"{what[0].upper()}{what[1:]}. `autoprox rank --proxy ... {' '.join(options)}`"]
        for space in dict.fromkeys(row["space"] for row in rows):
            mine = [row for row in rows if row["space"] == space]
            datasets = SHOWN.get(name) or tuple(dict.fromkeys(row["dataset"] for row in mine))
            parts += [f"### {space}, n = {mine[0]['n']}", "\n".join(table(mine, datasets))]
    budgets = " and ".join(f"{budget:,} parameters on {space}" for space, budget in BUDGETS.items())
    parts += [
        "## DSS as published and as released",
        f"{NETWORKS} random architectures of {DSS_SPACE} at 224 px with 1,000 classes, weights from one shared source. "
        "*dss* is the indicator of the paper (Zhou et al. 2022, TF-TAS): absolute weights everywhere, diversity of qkv and "
        "projection, saliency of the MLP. *released code* does what the public code does: qkv and head contribute nothing, and "
        "sampled weights keep their signs. *dss-released* is that as an expression, Σ nuc(proj) nuc(∂proj) + Σ |g·W| over fc1 "
        "and fc2, without the absolute values of position embedding and class token.",
        "\n".join(dss_table(scores)),
        "## Block-wise evolution against its ablation",
        f"`autoprox search --proxy {PROXY} --evaluations {EVALUATIONS}` below {budgets}, {len(SEEDS)} seeds a method. Each "
        "winner is trained on all data sets of nano with a seed that the benchmark has not seen; test accuracies in percent, ± "
        f"half the 95 % t interval over seeds of the search. *{PROXY}* is the proxy's value among all winners of a space, from 0 "
        "to 2. *Against block-wise*: paired difference of the mean accuracy, with its 95 % interval.",
        "\n".join(lines),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/results"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--workers", type=int, default=None)
    asked = parser.parse_args()
    for folder in (asked.folder, asked.docs):
        folder.mkdir(parents=True, exist_ok=True)
    rankings = ranked(asked.folder)
    blockwise = asked.folder / "blockwise"
    blockwise.mkdir(exist_ok=True)
    lines = study(blockwise, asked.workers)
    write_text(asked.docs / "results.md", page(rankings, dss_scores(asked.folder), lines))
    write_text(asked.docs / "results.csv", as_csv(rankings))
    sys.stdout.write(f"written: {asked.docs / 'results.md'}\n")


if __name__ == "__main__":
    main()
