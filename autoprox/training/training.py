"""A training from start to test accuracy, in a folder that survives a kill."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from autoprox.datasets import Dataset
from autoprox.errors import InterruptedRunError
from autoprox.files import write_json
from autoprox.measuring.workers import Progress, silent
from autoprox.run_folder import RunFolder
from autoprox.spaces import Architecture, get_space
from autoprox.training.fitting import Epoch, Fitting, accuracy
from autoprox.training.pictures import Pictures, pictures_of
from autoprox.training.recipe import Recipe
from autoprox.versions import versions

__all__ = ["RESULT", "WEIGHTS", "Task", "Trained", "train"]

WEIGHTS, RESULT = "model.safetensors", "training.json"


@dataclass(frozen=True)
class Task:
    """What is trained on what, and how; equal tasks give equal accuracies on one kind of machine.

    Attributes:
        space, architecture: the network.
        dataset: a name or a folder, see `autoprox.datasets.load_dataset`; `data_root` holds its files.
        seed: of initial weights, order, augmentation and stochastic depth; the data set's own seed is fixed.
    """

    space: str
    architecture: Architecture
    dataset: str
    recipe: Recipe
    seed: int
    data_root: Path | None = None
    device: str = "cpu"

    def data(self) -> tuple[Dataset, dict[str, Pictures]]:
        """The data set and its splits as the network takes them."""
        return pictures_of(self.dataset, self.data_root, get_space(self.space).image_size)

    def identity(self) -> dict[str, Any]:
        """All that decides the result; of the data its content, not its place."""
        dataset, _ = self.data()
        return {
            "space": self.space,
            "architecture": get_space(self.space).to_json(self.architecture),
            "dataset": dataset.name,
            "data": dataset.key,
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Trained:
    """The end of a training; accuracies in percent.

    Attributes:
        interval: 95 % interval of the test accuracy for the finite number of test images (Wilson, 1927).
        seconds: of all epochs.
    """

    task: Task
    epochs: tuple[Epoch, ...]
    test_accuracy: float
    test_images: int
    seconds: float

    @property
    def validation_accuracy(self) -> float:
        return self.epochs[-1].validation_accuracy

    @property
    def interval(self) -> tuple[float, float]:
        n, share, z = self.test_images, self.test_accuracy / 100, 1.959964
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return float(100 * max(0.0, centre - half)), float(100 * min(1.0, centre + half))

    def to_json(self) -> dict[str, Any]:
        """What ``training.json`` holds."""
        space = get_space(self.task.space)
        dataset, _ = self.task.data()
        return {
            "format": "autoprox-training",
            "version": 1,
            **self.task.identity(),
            "classes": dataset.classes,
            "params": space.params(self.task.architecture, dataset.classes),
            "flops": space.flops(self.task.architecture, dataset.classes),
            "validation_accuracy": self.validation_accuracy,
            "test_accuracy": self.test_accuracy,
            "test_interval": list(self.interval),
            "test_images": self.test_images,
            "seconds": round(self.seconds, 3),
            "device": self.task.device,
            "versions": versions(),
        }


def train(
    task: Task,
    run_dir: Path,
    resume: bool = False,
    *,
    patience: float = 0.0,
    keep: bool = True,
    progress: Progress = silent,
    observe: Callable[[Epoch], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a network to the end of its recipe and measure it once on the test images.

    The journal of the folder has a line an epoch. The validation images are looked at after every epoch and decide
    nothing; the test images are looked at once, at the end.

    Args:
        run_dir: folder of the training.
        resume: go on with what is in it, to the very result of a training that was never interrupted.
        patience: seconds between two checkpoints; 0 writes one after every epoch.
        keep: leave the weights (`WEIGHTS`) and the result (`RESULT`) in the folder.
        progress, observe: told of steps done, and of each epoch with its figures.
        stop: asked after every epoch.

    Raises:
        DivergedError: the loss is not finite.
        InputError: the data or the run folder are wrong.
        MissingError: an image cannot be read, the folder cannot be written, or the memory is too small.
        InterruptedRunError: `stop` was true.
    """
    dataset, pictures = task.data()
    folder = RunFolder(run_dir, "train", task.identity(), resume, "--out")
    state, journal = folder.load()
    fitting = Fitting(get_space(task.space), task.architecture, dataset.classes, task.recipe, task.seed, task.device)
    before, checkpoint = 0.0, None
    if state is not None:
        checkpoint = run_dir / state["checkpoint"]
        fitting.load(checkpoint, state["epochs"], state["sha256"])
        before = float(state["seconds"])
        _tidy(run_dir, checkpoint.name)
    epochs = [Epoch(**line) for line in journal]
    unsaved: list[Epoch] = []
    began = saved = monotonic()
    told = partial(progress, f"steps of {task.recipe.epochs} epochs on {dataset.name}")
    while fitting.done < task.recipe.epochs:
        unsaved.append(fitting.epoch(pictures["train"], pictures["validation"], dataset.mirrored, told))
        if observe is not None:
            observe(unsaved[-1])
        stopped = stop()
        if stopped or monotonic() - saved >= patience:
            old, checkpoint = checkpoint, run_dir / f"epoch-{fitting.done}.safetensors"
            seconds = before + monotonic() - began
            record = {"epochs": fitting.done, "checkpoint": checkpoint.name, "sha256": fitting.save(checkpoint)}
            folder.save({**record, "seconds": seconds}, [epoch.to_json() for epoch in unsaved])
            epochs, unsaved, saved = epochs + unsaved, [], monotonic()
            if old is not None:
                old.unlink(missing_ok=True)
        if stopped and fitting.done < task.recipe.epochs:
            raise InterruptedRunError(
                f"stopped after epoch {fitting.done} of {task.recipe.epochs}; go on with --resume --out {run_dir}"
            )
    result = Trained(
        task,
        tuple(epochs + unsaved),
        accuracy(fitting.model, pictures["test"], fitting.device),
        len(pictures["test"]),
        before + monotonic() - began,
    )
    if keep:
        fitting.save_weights(run_dir / WEIGHTS)
        write_json(run_dir / RESULT, result.to_json())
    return result


def _tidy(run_dir: Path, current: str) -> None:
    """Remove what a kill has left: checkpoints other than the current one, and those half-written."""
    for path in run_dir.iterdir():
        if re.fullmatch(r"(epoch-\d+\.safetensors|\.epoch-\d+\.safetensors\..*)", path.name) and path.name != current:
            path.unlink(missing_ok=True)
