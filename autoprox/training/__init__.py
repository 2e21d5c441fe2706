"""Training a network of a space on a data set, reproducibly and resumably."""

from __future__ import annotations

from autoprox.training.fitting import DivergedError, Epoch
from autoprox.training.recipe import Recipe, recipe_for
from autoprox.training.training import RESULT, WEIGHTS, Task, Trained, train

__all__ = ["RESULT", "WEIGHTS", "DivergedError", "Epoch", "Recipe", "Task", "Trained", "recipe_for", "train"]
