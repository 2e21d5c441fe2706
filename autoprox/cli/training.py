"""`autoprox train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autoprox.cli import options
from autoprox.cli.interruption import stopping
from autoprox.cli.remembered import recall, running
from autoprox.errors import InputError

__all__ = ["train"]

_FOLDER = "--out"
_NUMBERS = ("epochs", "batch_size", "learning_rate")


def train(
    context: typer.Context,
    architecture: Annotated[
        Path | None, typer.Argument(metavar="arch.json", help="An architecture file, as 'search' writes it.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME|DIR", help="digits, shapes, textures, ... or a folder of images."),
    ] = None,
    data_root: options.ImageRoot = None,
    epochs: options.Epochs = None,
    batch_size: options.TrainingBatch = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    out: Annotated[
        Path | None, typer.Option(_FOLDER, metavar="DIR", help="Folder of the training. Default: a new one in runs/.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in --out. Default: with the newest.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Train an architecture from fresh weights, and measure it once on test images."""
    from autoprox.measuring.capture import check_device
    from autoprox.report import show, work_view
    from autoprox.report.training import training_table
    from autoprox.run_folder import newest_folder
    from autoprox.spaces import get_space
    from autoprox.training import WEIGHTS, Task, recipe_for
    from autoprox.training import train as run
    from autoprox.training.memory import check_memory

    given: dict[str, Any] = {
        "dataset": dataset,
        "data_root": None if data_root is None else str(data_root),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "device": device,
    }
    place = newest_folder("train", option=_FOLDER) if resume and out is None else out
    asked = recall(context, "train", place, resume, given, _NUMBERS, _FOLDER)
    space, network = _network(architecture, place if resume else None)
    if asked["dataset"] is None:
        raise InputError("train needs images: name a data set or a folder of images with --dataset")
    check_device(asked["device"])
    recipe = recipe_for(get_space(space)).changed(**{name: asked[name] for name in _NUMBERS})
    root = None if asked["data_root"] is None else Path(asked["data_root"])
    task = Task(space, network, asked["dataset"], recipe, asked["seed"], root, asked["device"])
    check_memory([task])
    with (
        running("train", place, resume, asked, _FOLDER) as folder,
        work_view() as view,
        stopping(view.notice, folder, _FOLDER) as stop,
    ):
        trained = run(task, folder, resume, progress=view.progress, stop=stop)
    record = {**trained.to_json(), "out": str(folder)}
    if json:
        options.emit_json(record)
    else:
        show(training_table({**record, "weights": str(folder / WEIGHTS)}))


def _network(file: Path | None, resumed: Path | None) -> tuple[str, Any]:
    """Space and architecture, of a file or of the training that is resumed: the file may be another one by now."""
    from autoprox.files import read_json
    from autoprox.run_folder import SETTINGS
    from autoprox.spaces import get_space
    from autoprox.spaces.architecture_file import load_architecture

    if file is not None:
        found = load_architecture(file)
        return found.space, get_space(found.space).parse(found.architecture)
    if resumed is None:
        raise InputError("train needs an architecture file: give one that 'autoprox search' has written")
    path = resumed / SETTINGS
    record = read_json(path, "settings file of a training")
    settings = record.get("settings") if isinstance(record, dict) else None
    if not isinstance(settings, dict) or not isinstance(settings.get("space"), str):
        raise InputError(f"{path} holds no training to resume; name another folder with {_FOLDER}")
    space = get_space(settings["space"])
    return space.name, space.parse(settings.get("architecture"))  # type: ignore[arg-type]  # which parse checks
