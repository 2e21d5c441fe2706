"""Building a benchmark: architectures drawn over the sizes of a space, each trained on each data set with each seed."""

from __future__ import annotations

from autoprox.building.build import BuildSettings, build, train_all
from autoprox.building.records import Key, Record, built_table
from autoprox.building.retraining import Retrained, retrain
from autoprox.building.sampling import stratified

__all__ = ["BuildSettings", "Key", "Record", "Retrained", "build", "built_table", "retrain", "stratified", "train_all"]
