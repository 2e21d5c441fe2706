"""`autoprox.train`, and what the command of that name does once its options are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprox.api.remembered import changed, recall, running
from autoprox.api.watching import Watching, never, unseen, watching
from autoprox.errors import InputError
from autoprox.measuring.workers import Progress

if TYPE_CHECKING:
    from autoprox.training import Trained

__all__ = ["FOLDER", "NUMBERS", "train", "trained"]

FOLDER = "--out"
"""The option that names the folder of a training."""

NUMBERS = ("epochs", "batch_size", "learning_rate")
"""Options that change the recipe."""


def train(
    architecture: str | PathLike[str] | None = None,
    dataset: str | PathLike[str] | None = None,
    *,
    data_root: str | PathLike[str] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    track: str | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = never,
) -> Trained:
    """Train an architecture from fresh weights, and measure it once on test images.

    The same as ``autoprox train``, whose options these arguments are; `autoprox.discover` explains those that both have.

    Args:
        architecture: an architecture file, as `autoprox.search` writes it.
        dataset: the name of a data set, a folder of images, or `hf:` and a folder that Hugging Face `datasets` has written.
        epochs, batch_size, learning_rate: instead of those of the space's recipe.
        out: folder of the training, with its weights. Default: a new one in runs/.

    Raises:
        InputError: what was given is wrong; says what, and what to do.
        MissingError: something outside is missing.
        InterruptedRunError: `stop` said so.
    """
    given: dict[str, Any] = {
        "dataset": None if dataset is None else str(dataset),
        "data_root": None if data_root is None else str(data_root),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "device": device,
        "track": track,
    }
    place = _place(None if out is None else Path(out), resume)
    asked = recall(changed(train, given), "train", place, resume, given, NUMBERS, FOLDER)
    file = None if architecture is None else Path(architecture)
    return trained(file, asked, place, resume, watching(progress, unseen, stop))[0]


def _place(out: Path | None, resume: bool) -> Path | None:
    from autoprox.run_folder import newest_folder

    return newest_folder("train", option=FOLDER) if resume and out is None else out


def trained(
    architecture: Path | None, asked: Mapping[str, Any], place: Path | None, resume: bool, watched: Watching
) -> tuple[Trained, Path]:
    """A training from its options to its end, and its folder; see `train`."""
    from autoprox.api.captures import image_root
    from autoprox.api.tracking import tracker
    from autoprox.measuring.capture import check_device
    from autoprox.spaces import get_space
    from autoprox.training import Task, recipe_for
    from autoprox.training import train as run
    from autoprox.training.memory import check_memory

    space, network = _network(architecture, place if resume else None)
    if asked["dataset"] is None:
        raise InputError("train needs images: name a data set or a folder of images with --dataset")
    check_device(asked["device"])
    recipe = recipe_for(get_space(space)).changed(**{name: asked[name] for name in NUMBERS})
    root = None if asked["data_root"] is None else image_root(asked["data_root"])
    task = Task(space, network, asked["dataset"], recipe, asked["seed"], root, asked["device"])
    check_memory([task])
    with (
        tracker(asked["track"]) as log,
        running("train", place, resume, dict(asked), FOLDER) as folder,
        watched(folder) as watch,
    ):
        found = run(task, folder, resume, progress=watch.progress, observe=log.epoch, stop=watch.stop)
        log.trained(found)
    return found, folder


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
        raise InputError(f"{path} holds no training to resume; name another folder with {FOLDER}")
    space = get_space(settings["space"])
    return space.name, space.parse(settings.get("architecture"))  # type: ignore[arg-type]  # which parse checks
