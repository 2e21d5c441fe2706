"""What a model is measured on: the batch that was given, or seeded noise of the shape that the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from autoprox.errors import InputError
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.images import Batch, image_batch
from autoprox.measuring.tokens import text_batch, token_batch
from autoprox.models.adapter import Adapter
from autoprox.models.running import Runner
from primitives.measurement import frozen_mode

__all__ = ["GivenBatch", "batch_for", "batch_of_settings", "noise_for"]

GivenBatch: TypeAlias = Batch | tuple[Tensor, Tensor] | Tensor
"""Images (batch, channels, height, width) or token ids (batch, length), with labels (batch,) where the loss needs them."""

_LONGEST = 128
"""Tokens of a synthetic sequence, as in the space flexibert."""


@dataclass(frozen=True)
class _Images:
    channels: int
    height: int
    width: int

    def noise(self, size: int, classes: int, seed: int) -> Batch:
        """The numbers of `measuring.images.noise_batch`, in any shape."""
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(classes, (size,), generator=generator)
        images = torch.randn(size, self.channels, self.height, self.width, generator=generator)
        return Batch(images, labels, classes, "")


@dataclass(frozen=True)
class _Tokens:
    vocabulary: int
    length: int

    def noise(self, size: int, classes: int, seed: int) -> Batch:
        return token_batch(size, self.length, classes, seed, self.vocabulary)


def batch_for(model: nn.Module, adapter: Adapter, given: GivenBatch | None, size: int, seed: int) -> Batch:
    """The batch that was given, on the model's device and of its type, or noise.

    Raises:
        InputError: it is no batch, or the model does not say what it reads.
    """
    batch = noise_for(model, adapter, size, seed) if given is None else _as_batch(given)
    device, dtype = _home(model)
    images = batch.images.to(device, dtype if batch.images.is_floating_point() else None)
    return Batch(images, batch.labels.to(device), batch.classes, batch.key)


def noise_for(model: nn.Module, adapter: Adapter, size: int, seed: int) -> Batch:
    """Seeded noise images or tokens at the model's own size, with uniform labels of as many classes as it has logits."""
    if getattr(model, "num_classes", None) == 0:
        raise InputError(f"{type(model).__name__} has no classifier (num_classes=0); give it one to measure a loss")
    shape = _tokens(model) if adapter.reads == "tokens" else _images(model)
    return shape.noise(size, _classes(model, adapter, shape), seed)


def batch_of_settings(model: nn.Module, adapter: Adapter, settings: CaptureSettings) -> Batch | None:
    """Real images or a text, where the settings name them and the model reads such; None: noise is meant.

    Raises:
        InputError: the images have more classes than the model, or it reads others than square ones in colours.
        MissingError: they cannot be read.
    """
    if adapter.reads == "tokens" and settings.text is not None:
        read = _tokens(model)
        classes = _classes(model, adapter, read)
        return text_batch(settings.text, settings.batch_size, read.length, classes, settings.seed, read.vocabulary)
    if adapter.reads == "tokens" or settings.dataset is None:
        return None
    shape = _images(model)
    if (shape.channels, shape.height) != (3, shape.width):
        raise InputError(f"{type(model).__name__} reads {shape}; images of data sets are square and have 3 channels")
    chosen = settings.dataset, settings.data_root, settings.batch_size, settings.seed
    batch = image_batch(*chosen, shape.height, settings.augment)
    if batch.classes > (found := _classes(model, adapter, shape)):
        raise InputError(
            f"{settings.dataset} has {batch.classes} classes and {type(model).__name__} {found}; build it with "
            f"num_classes={batch.classes} (timm) or num_labels={batch.classes} (hf)"
        )
    return batch


def _classes(model: nn.Module, adapter: Adapter, shape: _Images | _Tokens) -> int:
    """As many as the model has logits."""
    device, dtype = _home(model)
    one = shape.noise(1, 2, 0).images
    with frozen_mode(model), torch.no_grad():
        logits: Tensor = Runner(model, adapter)(one.to(device, dtype if one.is_floating_point() else None))
    if logits.shape[1] < 2:
        raise InputError(f"{type(model).__name__} has one logit; expected two classes or more")
    return logits.shape[1]


def _home(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    first = next(parameter for parameter in model.parameters() if parameter.is_floating_point())
    return first.device, first.dtype


def _as_batch(given: Any) -> Batch:
    images, labels = (given.images, given.labels) if isinstance(given, Batch) else (given, None)
    if isinstance(given, Sequence) and len(given) == 2:
        images, labels = given
    if not isinstance(images, Tensor) or not (labels is None or isinstance(labels, Tensor)) or images.ndim < 2:
        raise InputError(
            f"a batch is a pair of tensors, images (batch, channels, height, width) or token ids (batch, length) and labels "
            f"(batch,), or images alone; found {type(given).__name__}"
        )
    if labels is None:
        labels = torch.zeros(0, dtype=torch.int64)
    elif labels.shape != images.shape[:1]:
        raise InputError(f"{len(images)} images have labels of shape {tuple(labels.shape)}; expected ({len(images)},)")
    return Batch(images, labels, 0, "")


def _tokens(model: nn.Module) -> _Tokens:
    for module in model.modules():
        config = getattr(module, "config", None)
        if isinstance(vocabulary := getattr(config, "vocab_size", None), int):
            # RoBERTa's positions begin behind the padding's
            table = next((m for name, m in model.named_modules() if name.endswith("position_embeddings")), None)
            skipped = getattr(table, "padding_idx", None)
            positions = getattr(config, "max_position_embeddings", _LONGEST)
            return _Tokens(vocabulary, min(_LONGEST, positions - (0 if skipped is None else skipped + 1)))
    word = getattr(getattr(model, "embeddings", None), "word", None)
    if isinstance(word, Tensor):  # a network of the space flexibert
        return _Tokens(len(word), _LONGEST)
    raise InputError(f"{type(model).__name__} does not say how many tokens its vocabulary has; give a batch")


def _images(model: nn.Module) -> _Images:
    side = next((found for module in model.modules() if (found := _side(module)) is not None), None)
    if side is None:
        raise InputError(f"{type(model).__name__} does not say what size of images it reads; give a batch")
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    return _Images(channels, *side)


def _side(module: nn.Module) -> tuple[int, int] | None:
    """Height and width of images, where a module of timm, transformers or the spaces, or one named like it, has them."""
    patches, config = getattr(module, "patch_embed", None), getattr(module, "config", None)
    settings = getattr(module, "pretrained_cfg", None)
    candidates = (
        getattr(patches, "img_size", None),
        getattr(patches, "size", None),
        getattr(config, "image_size", None),
        getattr(module, "image_size", None),
        getattr(module, "img_size", None),
        settings.get("input_size", ())[-2:] if isinstance(settings, dict) else None,
    )
    for found in candidates:
        if isinstance(found, int) and not isinstance(found, bool):
            return found, found
        if isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(n, int) for n in found):
            return found[0], found[1]
    return None
