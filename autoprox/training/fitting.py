"""One network, trained epoch by epoch: every epoch is a function of the seed, its number and the state before it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from autoprox.datasets import augmented, normalised
from autoprox.errors import InputError, MissingError
from autoprox.files import replacing
from autoprox.measuring.capture import within_memory
from autoprox.spaces import Architecture, Space
from autoprox.spaces.networks import DropPath
from autoprox.training.pictures import Pictures
from autoprox.training.recipe import Recipe

__all__ = ["DivergedError", "Epoch", "Fitting", "accuracy"]

_EVALUATED = 256  # images at once where no gradients are kept


class DivergedError(InputError):
    """A training whose loss is not finite any more."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images came to; accuracies in percent."""

    epoch: int
    learning_rate: float
    loss: float
    validation_accuracy: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The line of the journal."""
        return asdict(self)


class Fitting:
    """A network in training with its optimiser.

    Args:
        space, architecture: what is trained, from a fresh initialisation of the seed.
        classes: outputs of the classifier.
        recipe: how.
        seed: of the initial weights, the order of the images, their augmentation and stochastic depth.
        device: where it runs; on CUDA the passes are in mixed precision (bfloat16 where the device has it, else
            float16 with scaled gradients).
    """

    def __init__(
        self, space: Space, architecture: Architecture, classes: int, recipe: Recipe, seed: int, device: str = "cpu"
    ) -> None:
        self.recipe, self.seed, self.device = recipe, seed, torch.device(device)
        self.model = space.network(architecture, classes, seed, init="fresh").to(self.device)
        drops = [module for module in self.model.modules() if isinstance(module, DropPath)]
        for place, module in enumerate(drops):
            module.rate = recipe.drop_path * place / max(1, len(drops) - 1)
        self.optimiser = torch.optim.AdamW(_groups(self.model, recipe), lr=recipe.learning_rate, fused=True)
        half = self.device.type == "cuda" and not torch.cuda.is_bf16_supported()
        self._precision = torch.float16 if half else torch.bfloat16
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.done = 0

    def epoch(
        self,
        train: Pictures,
        validation: Pictures,
        mirrored: bool,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> Epoch:
        """One more pass over the training images; `progress` is told of the steps of all epochs, done and in all.

        Raises:
            DivergedError: the loss is not finite.
            MissingError: the memory is too small, or an image cannot be read.
        """
        what = f"training with batches of {self.recipe.batch_size} images"
        remedy = "use a smaller --batch-size, or train fewer networks at once"
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True)  # so that a resumed training ends the same
        with within_memory(what, str(self.device), remedy), exact:
            return self._epoch(train, validation, mirrored, progress)

    def _epoch(
        self, train: Pictures, validation: Pictures, mirrored: bool, progress: Callable[[int, int], None]
    ) -> Epoch:
        began = monotonic()
        steps = math.ceil(len(train) / self.recipe.batch_size)
        generator = torch.Generator().manual_seed(_derived(self.seed, self.done))
        order = torch.randperm(len(train), generator=generator)
        total, rate = 0.0, 0.0
        before, every = self.done * steps, self.recipe.epochs * steps
        self.model.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(_derived(self.seed, self.done, "depth"))  # stochastic depth draws from torch's generator
            for step, rows in enumerate(torch.split(order, self.recipe.batch_size)):
                progress(before + step, every)
                rate = self.recipe.rate(before + step, every)
                images = augmented(train.take(rows).to(self.device), self.recipe.augmentation, mirrored, generator)
                total += len(rows) * self._step(images, train.labels[rows].to(self.device), rate)
        progress(before + steps, every)
        self.done += 1
        return Epoch(
            self.done, rate, total / len(train), accuracy(self.model, validation, self.device), monotonic() - began
        )

    def _step(self, images: Tensor, labels: Tensor, rate: float) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        mixed = torch.autocast("cuda", self._precision) if self.device.type == "cuda" else nullcontext()
        with mixed:
            logits = self.model(images)
        loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss became {value} in epoch {self.done + 1}; expected a finite number: "
                f"lower the learning rate ({self.recipe.learning_rate:g})"
            )
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        return value

    def save(self, path: Path) -> str:
        """Write the whole state atomically; returns its SHA-256. MissingError where it cannot be written."""
        tensors = {f"model.{name}": value.contiguous() for name, value in self.model.state_dict().items()}
        for index, entry in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value.contiguous() for name, value in entry.items()}
        scaler = {f"scaler.{name}": torch.tensor(value) for name, value in self._scaler.state_dict().items()}
        _write(path, {**tensors, **scaler})
        return _digest(path)

    def save_weights(self, path: Path) -> None:
        """Write the model's tensors alone, atomically. MissingError where they cannot be written."""
        _write(path, {name: value.contiguous() for name, value in self.model.state_dict().items()})

    def load(self, path: Path, epochs: int, digest: str) -> None:
        """Take up a saved state. InputError where the file is not the one that was written."""
        try:
            if _digest(path) != digest:
                raise InputError(f"{path} is damaged: it is not as the run wrote it; start a new run")
            with safe_open(path, framework="pt", device="cpu") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (OSError, SafetensorError) as error:
            raise InputError(f"the checkpoint {path} cannot be read ({error}); start a new run") from None
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimiser": {}, "scaler": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        self.model.load_state_dict(parts["model"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["optimiser"].items():
            index, _, entry = name.partition(".")
            state.setdefault(int(index), {})[entry] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        if parts["scaler"]:
            self._scaler.load_state_dict({name: value.item() for name, value in parts["scaler"].items()})
        self.done = epochs


def accuracy(model: nn.Module, pictures: Pictures, device: torch.device) -> float:
    """Percent of the images that the network classifies rightly, without augmentation, in float32."""
    model.eval()
    right = 0
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(pictures)), _EVALUATED):
            found = model(normalised(pictures.take(rows).to(device))).argmax(dim=1)
            right += int((found.cpu() == pictures.labels[rows]).sum())
    return 100 * right / len(pictures)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    try:
        with replacing(path) as temporary:
            save_file(dict(tensors), temporary)
    except (OSError, SafetensorError) as error:
        raise MissingError(f"cannot write {path}: {error}; make room and go on with --resume") from None


def _groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters with weight decay, the weights of Linear layers and convolutions, and those without."""
    layers = (module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    weights = {id(layer.weight) for layer in layers}
    decayed = [parameter for parameter in model.parameters() if id(parameter) in weights]
    plain = [parameter for parameter in model.parameters() if id(parameter) not in weights]
    return [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _derived(*parts: object) -> int:
    """A seed of its own for each use."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8], "little")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
