"""Architecture files (``arch.json``): what a search found, or what a user wants scored or trained."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoprox.errors import InputError
from autoprox.files import clipped, read_json, write_json
from autoprox.spaces import get_space

__all__ = ["FORMAT", "VERSION", "ArchitectureFile", "load_architecture", "save_architecture"]

FORMAT = "autoprox-architecture"
VERSION = 1


@dataclass(frozen=True)
class ArchitectureFile:
    """An architecture with its size, its score and how it was found.

    Attributes:
        space: name of the space.
        architecture: JSON object as the space writes it.
        params: number of parameters, with the classifier of ``provenance["classes"]`` classes.
        flops: multiply-accumulates of one 224 px image, with that classifier.
        score: by the proxy in the provenance; a score of another proxy is not comparable.
        provenance: proxy, algorithm, budgets, seed, settings of the capture, versions, time, random comparison.
    """

    space: str
    architecture: dict[str, Any]
    params: int
    flops: int
    score: float
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def network(self) -> tuple[str, str]:
        """(space, architecture key), as networks are called everywhere else."""
        space = get_space(self.space)
        return self.space, space.key(space.parse(self.architecture))

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": self.space,
            "architecture": self.architecture,
            "params": self.params,
            "flops": self.flops,
            "score": self.score,
            "provenance": self.provenance,
        }


def save_architecture(path: Path, found: ArchitectureFile) -> None:
    """Write an architecture file atomically; MissingError where it cannot be written."""
    write_json(path, found.to_json())


def load_architecture(path: Path) -> ArchitectureFile:
    """Read an architecture file. Nothing in it is executed.

    Raises:
        InputError: no such file, damaged, another format or version, no such space, or not an architecture of it.
    """
    record = read_json(path, "architecture file")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise InputError(
            f"{path} is not an architecture file: expected the format {FORMAT!r}, found {clipped(repr(found))}"
        )
    version = record.get("version")
    if version != VERSION or isinstance(version, bool):
        raise InputError(
            f"{path} has version {clipped(repr(version))} of the architecture format; "
            f"this autoprox reads version {VERSION}"
        )
    if not isinstance(record.get("space"), str):
        raise InputError(
            f"{path} is damaged: expected 'space' to be a name, found {clipped(repr(record.get('space')))}"
        )
    for name in ("params", "flops"):
        if not isinstance(record.get(name), int) or isinstance(record[name], bool) or record[name] < 1:
            found = clipped(repr(record.get(name)))
            raise InputError(f"{path} is damaged: expected {name!r} to be a positive whole number, found {found}")
    score, provenance = record.get("score"), record.get("provenance")
    if not isinstance(score, int | float) or isinstance(score, bool) or not abs(score) <= sys.float_info.max:
        raise InputError(f"{path} is damaged: expected 'score' to be a finite number, found {clipped(repr(score))}")
    if not isinstance(provenance, dict):
        raise InputError(f"{path} is damaged: expected 'provenance' to be an object, found {type(provenance).__name__}")
    try:
        space = get_space(record["space"])
        architecture = space.to_json(space.parse(record.get("architecture", {})))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return ArchitectureFile(space.name, architecture, record["params"], record["flops"], float(score), provenance)
