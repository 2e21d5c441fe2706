"""`autoprox train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autoprox.api.training import FOLDER, NUMBERS, trained
from autoprox.cli import options
from autoprox.cli.interruption import stoppable
from autoprox.cli.remembered import recall

__all__ = ["train"]


def train(
    context: typer.Context,
    architecture: Annotated[
        Path | None, typer.Argument(metavar="arch.json", help="An architecture file, as 'search' writes it.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME|DIR|hf:DIR",
            help="digits, shapes, textures, ..., a folder of images, or one that save_to_disk of Hugging Face datasets has "
            "written (extra datasets).",
        ),
    ] = None,
    data_root: options.ImageRoot = None,
    epochs: options.Epochs = None,
    batch_size: options.TrainingBatch = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    track: options.Track = None,
    out: Annotated[
        Path | None, typer.Option(FOLDER, metavar="DIR", help="Folder of the training. Default: a new one in runs/.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in --out. Default: with the newest.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Train an architecture from fresh weights, and measure it once on test images."""
    from autoprox.report import show, work_view
    from autoprox.report.training import training_table
    from autoprox.run_folder import newest_folder
    from autoprox.training import WEIGHTS

    given: dict[str, Any] = {
        "dataset": dataset,
        "data_root": None if data_root is None else str(data_root),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "device": device,
        "track": track,
    }
    asked = recall(context, "train", out, resume, given, NUMBERS, FOLDER)
    place = newest_folder("train", option=FOLDER) if resume and out is None else out
    found, folder = trained(architecture, asked, place, resume, stoppable(work_view, FOLDER))
    record = {**found.to_json(), "out": str(folder)}
    if json:
        options.emit_json(record)
    else:
        show(training_table({**record, "weights": str(folder / WEIGHTS)}))
