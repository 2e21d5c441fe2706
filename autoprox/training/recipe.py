"""How networks are trained: one frozen record, recorded beside every accuracy that comes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from autoprox.errors import InputError
from autoprox.spaces import Space

__all__ = ["NANO", "STANDARD", "Recipe", "recipe_for"]


@dataclass(frozen=True)
class Recipe:
    """AdamW with a linear warm-up and a cosine to zero (Loshchilov & Hutter, 2017 and 2019), as DeiT trains.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the highest, reached after the warm-up.
        warmup: share of all steps in which it rises.
        weight_decay: of the weights of Linear layers and convolutions; biases, norms, tokens and positions have none.
        label_smoothing: share of the target that is spread over all classes.
        drop_path: stochastic depth of the last block, rising linearly from 0 (Huang et al., 2016).
        augmentation: 0 shows the images as they are, 1 crops down to 60 % of the area, stretches, turns by up to 10°,
            mirrors where that keeps the class, and changes brightness and contrast by up to 40 %; values between do less.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.1
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    drop_path: float = 0.1
    augmentation: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            _check(
                name, getattr(self, name), type(getattr(self, name)) is int and getattr(self, name) >= 1, "1 or more"
            )
        _check("learning_rate", self.learning_rate, _number(self.learning_rate) > 0, "a positive number")
        _check("weight_decay", self.weight_decay, _number(self.weight_decay) >= 0, "0 or more")
        for name in ("warmup", "label_smoothing", "drop_path"):
            _check(name, getattr(self, name), 0 <= _number(getattr(self, name)) < 1, "from 0 to below 1")
        _check("augmentation", self.augmentation, 0 <= _number(self.augmentation) <= 1, "from 0 to 1")

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: object) -> Recipe:
        """The recipe of a record; InputError where it is none."""
        names = {field.name for field in fields(cls)}
        if not isinstance(record, Mapping) or set(record) != names:
            raise InputError(f"a recipe needs the fields {', '.join(sorted(names))}, found {record!r:.100}")
        return cls(**record)

    def changed(self, **options: float | None) -> Recipe:
        """The recipe with those of the options that are not None."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of one step out of `steps`, counted from 0."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _number(value: object) -> float:
    """NaN for what is no finite number, which fails every comparison."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else math.nan  # type: ignore[arg-type]


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(f"the recipe's {name.replace('_', ' ')} is {value!r}; expected {expected}")


STANDARD = Recipe(epochs=100, batch_size=128, learning_rate=5e-4)
"""For images of 224 px: DeiT's rates for a small batch; small data sets need many epochs from scratch."""

NANO = Recipe(epochs=15, batch_size=64, learning_rate=3e-3, drop_path=0.05, augmentation=0.5)
"""For networks of some ten thousand parameters, which learn in seconds."""


def recipe_for(space: Space) -> Recipe:
    """The recipe that networks of a space are trained with unless another is asked for.

    Raises InputError for a space whose networks read no images.
    """
    if space.image_size < 1:
        raise InputError(
            f"networks of {space.name} read no images, so they cannot be trained on them; take another space"
        )
    return NANO if space.image_size <= 64 else STANDARD
