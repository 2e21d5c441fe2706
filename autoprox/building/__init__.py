"""Building a benchmark: architectures drawn over the sizes of a space, each trained on each data set with each seed."""

from __future__ import annotations

from autoprox.building.build import BuildSettings, build, build_part, train_all
from autoprox.building.merging import MergedRuns, merge_runs
from autoprox.building.records import Key, Record, built_table
from autoprox.building.retraining import Retrained, retrain
from autoprox.building.sampling import stratified

__all__ = [
    "BuildSettings",
    "Key",
    "MergedRuns",
    "Record",
    "Retrained",
    "build",
    "build_part",
    "built_table",
    "merge_runs",
    "retrain",
    "stratified",
    "train_all",
]
