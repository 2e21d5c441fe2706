"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprox.api.captures import capture_settings, memo, result_kept
from autoprox.api.groundtruth import listed
from autoprox.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from autoprox.measuring.shards import Shard
    from autoprox.measuring.workers import Workers

__all__ = [
    "MAX_SEED",
    "MERGE_HOMES",
    "Augment",
    "BatchSize",
    "Bench",
    "DataRoot",
    "Datasets",
    "Device",
    "Epochs",
    "GpusPerTask",
    "ImageRoot",
    "Json",
    "Labels",
    "LearningRate",
    "MeasuredOn",
    "Proxies",
    "ProxyText",
    "Ray",
    "Resume",
    "RunDir",
    "Seed",
    "ShardText",
    "Spaces",
    "Text",
    "Track",
    "TrainingBatch",
    "WorkerCount",
    "capture_settings",
    "emit_json",
    "end_of_shard",
    "listed",
    "memo",
    "pool",
    "result_kept",
]

_PROXY = "A proxy file, the name of a known proxy ('autoprox proxies') or an expression"

Bench = Annotated[
    list[str] | None,
    typer.Option(
        "--bench",
        metavar="NAME|PATH",
        help="Ground truth, by name or path; repeatable. Default: what has the --datasets; without these, nano.",
    ),
]
Spaces = Annotated[
    str | None, typer.Option("--spaces", metavar="A,B", help="Search spaces. Default: all that the tables have.")
]
Datasets = Annotated[
    str | None, typer.Option("--datasets", metavar="A,B", help="Data sets. Default: those that each table counts.")
]
Labels = Annotated[
    str | None,
    typer.Option("--labels", metavar="KIND", help="Of accuracy, such as kd or base. Default: that of each table."),
]
Proxies = Annotated[
    list[str], typer.Option("--proxy", metavar="FILE|NAME|EXPRESSION", help=f"{_PROXY}; several may follow.")
]
ProxyText = Annotated[str, typer.Option("--proxy", metavar="FILE|NAME|EXPRESSION", help=f"{_PROXY}.")]
MeasuredOn = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME|DIR|hf:DIR",
        help="Training images that networks are measured on: digits, shapes, textures, a data set in --data-root, a folder of "
        "images, or one that save_to_disk of Hugging Face datasets has written (extra datasets). Default: seeded noise images.",
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
        metavar="KIND:PLACE",
        help="Log the course of the run: tensorboard:DIR as events (extra tracking); mlflow:DIR or mlflow:URI in a store of "
        "MLflow (extra mlflow). Default: nothing.",
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
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="auto|HOST:PORT",
        help="Work on the nodes of a Ray cluster (extra ray): that of this machine, or by the address of its head; at most "
        "--workers tasks at a time. Results do not depend on it.",
    ),
]
GpusPerTask = Annotated[
    float | None,
    typer.Option("--gpus-per-task", help="With --ray and --device cuda: GPUs of a task, such as 0.25. Default: 1."),
]
MAX_SEED = 2**63 - 1
"""The largest that torch takes."""

Seed = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Of all that is random.")]
RunDir = Annotated[
    Path | None, typer.Option("--run-dir", metavar="DIR", help="Folder of the run. Default: a new one in runs/.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --run-dir. Default: with the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]


ShardText = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do the I-th of N parts of the measuring or training alone, for machines that share nothing; the end says how "
        "to join the parts.",
    ),
]
MERGE_HOMES = "take them over with: autoprox cache merge HOME..., and give this command without --shard"


@contextmanager
def pool(workers: int | None, ray: str | None, device: str, gpus_per_task: float | None) -> Iterator[Workers]:
    """What does the tasks of a command: processes of this machine, or the nodes of a Ray cluster.

    Raises:
        InputError: the options do not go together.
        MissingError: there is no such cluster.
    """
    from autoprox.measuring.cluster import RayWorkers
    from autoprox.measuring.workers import Workers

    if ray is not None:
        # Ray prints what its nodes suffer on standard output, which is for results alone
        with redirect_stdout(StringIO()), RayWorkers(ray, workers, device, gpus_per_task) as nodes:
            yield nodes
    elif gpus_per_task is not None:
        raise InputError("--gpus-per-task is for --ray; without it all tasks share the --device")
    else:
        with Workers(workers) as processes:
            yield processes


def end_of_shard(shard: Shard, what: str, place: Path, done: tuple[int, int], remedy: str, json: bool) -> None:
    """Say what a part of some work has made, and what to do when all parts are done.

    Args:
        done: how much of `what` is there now, and how much the whole has.
        remedy: what to do then, after "when all parts are done".
    """
    if json:
        emit_json({"shard": str(shard), "done": done[0], "of": done[1], "path": str(place)})
    else:
        from autoprox.report import show

        show(f"part {shard}: {done[0]} of {done[1]} {what} are in {place}; when all parts are done, {remedy}")


def emit_json(content: dict[str, Any] | Sequence[Any]) -> None:
    """Print the one JSON object of a command."""
    import json

    typer.echo(json.dumps(content, indent=2, allow_nan=False))  # ASCII: right on every terminal and in every file
