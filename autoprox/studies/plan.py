"""What a study is told: one TOML file, in which every key is known and every value is checked before anything runs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprox.discovery.settings import DiscoverySettings
from autoprox.errors import InputError
from autoprox.files import read_text
from autoprox.measuring.capture import CaptureSettings, check_device
from autoprox.proxies.proxy import Proxy, resolve_proxy

__all__ = ["KINDS", "PRESETS", "Design", "Method", "Plan", "TruthNames", "read_plan"]

KINDS = ("split", "null", "leave-one-dataset-out", "leave-one-space-out", "transfer")
"""Designs: what is held out; ``null`` is a split whose labels are shuffled first."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "pareto": {"preset": "pareto"},
    "pareto wide": {"preset": "pareto", "vocabulary": "wide"},
    "auto-prox linear": {"preset": "auto-prox", "structure": "linear"},
    "auto-prox tree": {"preset": "auto-prox", "structure": "tree"},
    "auto-prox graph": {"preset": "auto-prox", "structure": "graph"},
    "random": {"preset": "random"},
}
"""Methods that discover a proxy; every other name is that of a known proxy, a proxy file or an expression."""


@dataclass(frozen=True)
class TruthNames:
    """Ground truth, as the options of the other commands name it."""

    bench: tuple[str, ...]
    spaces: tuple[str, ...] | None
    datasets: tuple[str, ...] | None
    labels: str | None


@dataclass(frozen=True)
class Method:
    """A way to have a proxy: discover it, or take the one that is given."""

    name: str
    given: Proxy | None = None


@dataclass(frozen=True)
class Design:
    """What is held out, on which ground truth.

    Attributes:
        to: names of the ground truth that ``transfer`` tests on.
        splits: how many splits; the first is that of ``autoprox discover``.
        seeds: of evolution.
        evaluations: of each discovery.
    """

    kind: str
    truth: tuple[str, ...]
    to: tuple[str, ...]
    splits: int
    seeds: tuple[int, ...]
    evaluations: int


@dataclass(frozen=True)
class Plan:
    """A study. ``captures`` are all combinations of its initial seeds and batch sizes."""

    fitness: str
    captures: tuple[CaptureSettings, ...]
    methods: tuple[Method, ...]
    truth: dict[str, TruthNames]
    designs: tuple[Design, ...]

    def settings(self, method: Method, design: Design, seed: int, capture: CaptureSettings) -> DiscoverySettings:
        """Of one discovery."""
        return DiscoverySettings(
            **PRESETS[method.name],
            fitness=self.fitness,
            evaluations=design.evaluations,
            seed=seed,
            capture=capture,
            null=design.kind == "null",
        )


class _Table:
    """A table of the file whose keys are taken one by one."""

    def __init__(self, record: Any, where: str, allowed: Sequence[str]) -> None:
        if not isinstance(record, dict):
            raise InputError(f"{where} is {record!r}; expected a table with {', '.join(allowed)}")
        for name in record:
            if name not in allowed:
                raise InputError(f"{where}: there is no key {name!r}; allowed are {', '.join(allowed)}")
        self.record, self.where = record, where

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.record.get(name, default)
        if value is not None and not (isinstance(value, str) and value):
            raise self._wrong(name, "a text")
        return value

    def choice(self, name: str, known: Sequence[str], default: str | None) -> str:
        value = self.record.get(name, default)
        if value not in known:
            raise self._wrong(name, f"one of {', '.join(known)}")
        return str(value)

    def texts(self, name: str, default: Sequence[str] | None) -> tuple[str, ...] | None:
        value = self.record.get(name, default)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not value or not all(isinstance(v, str) and v for v in value):
            raise self._wrong(name, 'a list of names like ["a", "b"]')
        return tuple(self._distinct(name, value))

    def whole(self, name: str, default: int) -> int:
        value = self.record.get(name, default)
        if type(value) is not int or value < 1:
            raise self._wrong(name, "a whole number from 1 on")
        return value

    def wholes(self, name: str, default: Sequence[int], least: int) -> tuple[int, ...]:
        value = self.record.get(name, default)
        if (
            not isinstance(value, list | tuple)
            or not value
            or not all(type(v) is int and least <= v < 2**63 for v in value)
        ):
            raise self._wrong(name, f"a list of whole numbers from {least} on, like [{least}, {least + 1}]")
        return tuple(self._distinct(name, value))

    def _distinct(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        twice = next((v for i, v in enumerate(values) if v in values[:i]), None)
        if twice is not None:
            raise InputError(f"{self.where}: {name} has {twice!r} twice; name each once")
        return values

    def _wrong(self, name: str, expected: str) -> InputError:
        found = repr(self.record[name]) if name in self.record else "nothing"
        return InputError(f"{self.where}: {name} is {found}; expected {expected}")


def read_plan(path: Path) -> Plan:
    """Read and check the file of a study.

    Raises:
        InputError: it is not there, is no TOML, or a key or a value is wrong; names it and says what is allowed.
    """
    try:
        record = tomllib.loads(read_text(path, "study"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML file: {error}") from None
    keys = (
        "methods", "truth", "design", "evaluations", "seeds", "init_seeds", "batch_sizes", "fitness", "data_root", "device",
    )  # fmt: skip
    table = _Table(record, str(path), keys)
    truth = _truth(record.get("truth"), path)
    root, device = table.text("data_root"), table.text("device", "cpu") or "cpu"
    check_device(device)
    captures = tuple(
        CaptureSettings(
            batch_size=size,
            seed=seed,
            data_root=None if root is None else str(Path(root).expanduser().absolute()),
            device=device,
        )
        for seed in table.wholes("init_seeds", (0,), 0)
        for size in table.wholes("batch_sizes", (8,), 1)
    )
    designs = record.get("design")
    if not isinstance(designs, list) or not designs:
        raise InputError(f"{path} has no design; add at least one: [[design]] with kind = one of {', '.join(KINDS)}")
    every = table.wholes("seeds", (0,), 0), table.whole("evaluations", 10_000)
    plan = Plan(
        table.text("fitness", "mean") or "mean",
        captures,
        tuple(_method(name) for name in table.texts("methods", ("pareto", "random")) or ()),
        truth,
        tuple(_design(one, f"{path}, design {i}", truth, *every) for i, one in enumerate(designs, 1)),
    )
    DiscoverySettings(fitness=plan.fitness).check()
    return plan


def _truth(record: Any, path: Path) -> dict[str, TruthNames]:
    if not isinstance(record, dict) or not record:
        raise InputError(f'{path} names no ground truth; add at least one, like [truth.nano] with bench = ["nano"]')
    found = {}
    for name, one in record.items():
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise InputError(f"{path}: {name!r} is no name of ground truth; use letters, digits, '.', '-' and '_'")
        table = _Table(one, f"{path}, truth.{name}", ("bench", "spaces", "datasets", "labels"))
        found[name] = TruthNames(
            table.texts("bench", (name,)) or (name,),
            table.texts("spaces", None),
            table.texts("datasets", None),
            table.text("labels"),
        )
    return found


def _method(name: str) -> Method:
    return Method(name) if name in PRESETS else Method(name, resolve_proxy(name))


def _design(record: Any, where: str, truth: Mapping[str, TruthNames], seeds: Sequence[int], evaluations: int) -> Design:
    table = _Table(record, where, ("kind", "truth", "to", "splits", "seeds", "evaluations"))
    kind = table.choice("kind", KINDS, None)
    names = table.texts("truth", tuple(truth)) or ()
    to = table.texts("to", tuple(truth) if kind == "transfer" else ()) if "to" in record or kind == "transfer" else ()
    for name in (*names, *(to or ())):
        if name not in truth:
            raise InputError(f"{where}: there is no ground truth {name!r}; the file has {', '.join(truth)}")
    if kind != "transfer" and to:
        raise InputError(f"{where}: 'to' belongs to the kind transfer, and the kind is {kind}; leave it out")
    if kind == "transfer" and not any(one != other for one in names for other in to or ()):
        raise InputError(f"{where}: transfer needs two different tables; name another [truth.NAME]")
    return Design(
        kind,
        names,
        to or (),
        table.whole("splits", 1),
        table.wholes("seeds", seeds, 0),
        table.whole("evaluations", evaluations),
    )
