"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprox.api.captures import capture_settings, memo, result_kept
from autoprox.api.groundtruth import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAX_SEED",
    "Augment",
    "BatchSize",
    "Bench",
    "DataRoot",
    "Datasets",
    "Device",
    "Epochs",
    "ImageRoot",
    "Json",
    "Labels",
    "LearningRate",
    "MeasuredOn",
    "Proxies",
    "ProxyText",
    "Resume",
    "RunDir",
    "Seed",
    "Spaces",
    "Text",
    "Track",
    "TrainingBatch",
    "WorkerCount",
    "capture_settings",
    "emit_json",
    "listed",
    "memo",
    "result_kept",
]

_PROXY = "A proxy file, the name of a known proxy ('autoprox proxies') or an expression"

Bench = Annotated[
    list[str] | None,
    typer.Option(
        "--bench", metavar="NAME|PATH", help="Ground truth, by name or path; repeatable. Default: what is installed."
    ),
]
Spaces = Annotated[
    str | None, typer.Option("--spaces", metavar="A,B", help="Search spaces. Default: all that the tables have.")
]
Datasets = Annotated[
    str | None, typer.Option("--datasets", metavar="A,B", help="Data sets. Default: those that each table counts.")
]
Labels = Annotated[
    str | None, typer.Option("--labels", metavar="kd|base", help="Kind of accuracy. Default: that of each table.")
]
Proxies = Annotated[
    list[str], typer.Option("--proxy", metavar="FILE|NAME|EXPRESSION", help=f"{_PROXY}; several may follow.")
]
ProxyText = Annotated[str, typer.Option("--proxy", metavar="FILE|NAME|EXPRESSION", help=f"{_PROXY}.")]
MeasuredOn = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME|DIR",
        help="Training images that networks are measured on: digits, shapes, textures, a data set in --data-root, or a folder "
        "of images. Default: seeded noise images.",
    ),
]
Augment = Annotated[
    bool,
    typer.Option("--augment", help="Augment the images that networks are measured on, as published code did; seeded."),
]
Track = Annotated[
    str | None,
    typer.Option(
        "--track",
        metavar="tensorboard:DIR",
        help="Log the course of the run as TensorBoard events in DIR (extra tracking). Default: nothing.",
    ),
]
BatchSize = Annotated[
    int,
    # one image is 0.6 MB, but what a network keeps of it for its gradients is a hundred times that
    typer.Option("--batch-size", min=1, max=1024, help="Images, or sequences, that a network is measured on."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", metavar="DIR", help="Folder of the data sets' training images. Default: seeded noise images."
    ),
]
Text = Annotated[
    Path | None,
    typer.Option(
        "--text",
        metavar="FILE",
        help="Text in UTF-8 on which networks that read text (flexibert) are measured. Default: seeded synthetic tokens.",
    ),
]
ImageRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", metavar="DIR", help="Folder of the images of cifar100, flowers and chaoyang, or around it."
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", min=1, max=100_000, help="Passes over the training images. Default: the space's."),
]
TrainingBatch = Annotated[
    int | None, typer.Option("--batch-size", min=1, max=65_536, help="Images a step. Default: the space's.")
]
LearningRate = Annotated[
    float | None, typer.Option("--learning-rate", help="The highest, after the warm-up. Default: the space's.")
]
Device = Annotated[str, typer.Option("--device", help="Where networks run: cpu, cuda, cuda:1.")]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes. Default: one a core; on a GPU one or two are best. Results do not depend on it.",
    ),
]
MAX_SEED = 2**63 - 1
"""The largest that torch takes."""

Seed = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Of all that is random.")]
RunDir = Annotated[
    Path | None, typer.Option("--run-dir", metavar="DIR", help="Folder of the run. Default: a new one in runs/.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --run-dir. Default: with the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]


def emit_json(content: dict[str, Any] | Sequence[Any]) -> None:
    """Print the one JSON object of a command."""
    import json

    typer.echo(json.dumps(content, indent=2, allow_nan=False))  # ASCII: right on every terminal and in every file
