"""The problem that discovery solves: spaces, networks, labels and the split, taken from benchmarks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autoprox.errors import InputError
from autoprox.measuring.capture import Network, architecture_digest
from autoprox.proxies.evaluation import Population
from autoprox.ranking.correlations import LEAST_LABELS
from autoprox.spaces import Space, get_space
from benchdata import Benchmark, Row
from primitives.statistics import ARCHITECTURE_NUMBERS

__all__ = [
    "FRACTIONS",
    "LEAST_IN_PART",
    "PARTS",
    "Group",
    "dealt_anew",
    "gather",
    "numbers_of",
    "split_hash",
    "split_of",
    "tells",
]

PARTS = ("discovery", "selection", "test")
FRACTIONS = {"discovery": 0.42, "selection": 0.18, "test": 0.40}
"""60 % for discovery and selection together and 40 % for test, as Auto-Prox divides its benchmark."""

LEAST_IN_PART = (
    5  # architectures; chance alone moves a tau of 5 by .41 (one sd), so a result to rely on needs many more
)

Labels = np.ndarray[Any, np.dtype[np.float64]]


def tells(labels: Labels) -> bool:
    """Whether labels (networks,), NaN where missing, are enough and differ, so that something can rank them."""
    present = labels[np.isfinite(labels)]
    return len(present) >= LEAST_LABELS and len(set(present)) > 1


@dataclass(frozen=True)
class Group:
    """Architectures of one space with their labels.

    Attributes:
        space: name of the space.
        networks: (space, architecture key) of each.
        labels: {data set: (networks,) accuracy in percent, NaN where missing}.
        label_kinds: {data set: kind of label}.
        numbers: {architecture number: (networks,)}.
        salt: of the split; none gives the default one.
    """

    space: str
    networks: tuple[Network, ...]
    labels: dict[str, Labels]
    label_kinds: dict[str, str]
    numbers: dict[str, list[float]]
    salt: str = ""

    def take(self, rows: Sequence[int]) -> Group:
        """Some of the architectures, in the given order."""
        index = list(rows)
        return replace(
            self,
            networks=tuple(self.networks[i] for i in index),
            labels={dataset: column[index] for dataset, column in self.labels.items()},
            numbers={name: [column[i] for i in index] for name, column in self.numbers.items()},
        )

    def on(self, datasets: Iterable[str]) -> Group:
        """The same architectures with their labels on some of the data sets."""
        chosen = [name for name in self.labels if name in set(datasets)]
        return replace(
            self,
            labels={name: self.labels[name] for name in chosen},
            label_kinds={name: self.label_kinds[name] for name in chosen},
        )

    def part(self, *names: str) -> Group:
        """The architectures of some parts of the split, in table order."""
        parts = split_of(self.networks, salt=self.salt)
        return self.take([i for i, network in enumerate(self.networks) if parts[network] in names])

    def unless(self, digests: Collection[str]) -> Group:
        """The architectures whose `architecture_digest` is not among these."""
        return self.take([i for i, network in enumerate(self.networks) if architecture_digest(network) not in digests])

    def population(self) -> Population:
        """The networks as a population without features yet."""
        return Population(self.numbers)

    def shuffled(self, rng: np.random.Generator) -> Group:
        """The same with labels dealt out anew: architectures get one another's labels, the same for all data sets."""
        order = rng.permutation(len(self.networks))
        labels = {dataset: column[order] for dataset, column in self.labels.items()}
        return replace(self, labels=labels)


def dealt_anew(groups: Iterable[Group], seed: int) -> list[Group]:
    """Groups whose labels are shuffled, as a run on shuffled labels with this seed has them."""
    rng = np.random.default_rng(seed)
    return [group.shuffled(rng) for group in groups]


def numbers_of(networks: Sequence[Network], classes: int | None = None) -> dict[str, list[float]]:
    """Architecture numbers in closed form; nothing is built."""
    rows = []
    for name, key in networks:
        space = get_space(name)
        architecture = space.parse(json.loads(key))
        rows.append(
            {
                "params": space.params(architecture, classes),
                "flops": space.flops(architecture, classes),
                "depth": space.depth(architecture),
                "width": space.width(architecture),
            }
        )
    return {number: [float(row[number]) for row in rows] for number in ARCHITECTURE_NUMBERS}


def gather(
    benchmarks: Iterable[Benchmark],
    spaces: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    label: str | None = None,
    least: int = LEAST_LABELS,
) -> list[Group]:
    """Join benchmarks into one group a space.

    Args:
        benchmarks: tables; one space may be in several if they agree on no architecture twice.
        spaces, datasets: which to take; None: all, and the data sets that count by default.
        label: kind of label; None: each table's default.
        least: fewest architectures with a label that a data set needs.

    Raises:
        InputError: a space, data set or label is in no table, or too few architectures have it.
    """
    tables = list(benchmarks)
    every_space = sorted({space for table in tables for space in table.spaces})
    _check("space", spaces, every_space)
    every_dataset = sorted({d for table in tables for space in table.spaces for d in table.datasets(space)})
    _check("data set", datasets, every_dataset)
    groups = []
    for name in spaces or every_space:
        space = get_space(name)
        holding = [table for table in tables if name in table.spaces]
        rows = [(table, row) for table in holding for row in table.select(name)]
        networks = [(name, _key(space, table, row)) for table, row in rows]
        if len(set(networks)) < len(networks):
            twice = next(network for i, network in enumerate(networks) if network in networks[:i])
            where = dict.fromkeys(
                table.name for (table, _), network in zip(rows, networks, strict=True) if network == twice
            )
            raise InputError(
                f"architecture {twice[1]} of {name} is in the given tables twice ({', '.join(where)}); give tables without "
                "overlap"
            )
        labels: dict[str, Labels] = {}
        kinds: dict[str, str] = {}
        for dataset in datasets or sorted({d for table in holding for d in table.default_datasets}):
            chosen = {id(table): _default_label(table, name, dataset) if label is None else label for table in holding}
            column = np.array([row.accuracy.get((dataset, chosen[id(table)]), np.nan) for table, row in rows])
            present = int(np.isfinite(column).sum())
            if present == 0 and datasets is None:
                continue
            if present < least:
                having = "architecture has" if present == 1 else "architectures have"
                raise InputError(
                    f"on {dataset} {present} of {len(rows)} {name} {having} a label {chosen[id(holding[0])]!r}; "
                    f"at least {least} are needed"
                )
            several = sorted(
                {chosen[id(table)] for (table, _), there in zip(rows, np.isfinite(column), strict=True) if there}
            )
            if len(several) > 1:
                raise InputError(
                    f"the labels of {name} on {dataset} are of several kinds in the given tables, {' and '.join(several)}; "
                    "choose one with --labels"
                )
            labels[dataset], kinds[dataset] = column, several[0]
        if not labels:
            raise InputError(
                f"no architecture of {name} has a label {label!r} on the data sets asked for; 'autoprox bench show' lists labels"
            )
        groups.append(Group(name, tuple(networks), labels, kinds, numbers_of(networks)))
    return groups


def _key(space: Space, table: Benchmark, row: Row) -> str:
    try:
        return space.key(space.parse(row.architecture))
    except InputError as error:
        number = 1 + next(i for i, other in enumerate(table.select(row.space)) if other is row)
        raise InputError(
            f"the benchmark {table.name}, architecture {number} of {row.space} (from {row.origin}): {error}; "
            "correct the row or remove it"
        ) from None


def _default_label(table: Benchmark, space: str, dataset: str) -> str:
    """The table's default kind, or the only one that the data set has."""
    kinds = table.labels(space, dataset) if space in table.spaces and dataset in table.datasets(space) else ()
    return kinds[0] if len(kinds) == 1 else table.default_label


def _check(what: str, wanted: Sequence[str] | None, known: Sequence[str]) -> None:
    for name in wanted or ():
        if name not in known:
            raise InputError(f"there is no {what} {name!r} in the ground truth; it has {', '.join(known)}")


def split_of(
    networks: Sequence[Network], fractions: dict[str, float] | None = None, salt: str = ""
) -> dict[Network, str]:
    """Assign each network to a part, by the order of the hashes of the architectures alone.

    Labels, order of rows and seeds have no influence, so that what was test once is test in every run; unless a salt is
    hashed with them, which gives another split.
    """
    shares = fractions or FRACTIONS
    head = (salt,) if salt else ()
    order = sorted(networks, key=lambda network: hashlib.sha256("|".join((*head, *network)).encode()).hexdigest())
    test = round(shares["test"] * len(order))
    selection = round(shares["selection"] * len(order))
    return {
        network: "test" if i < test else "selection" if i < test + selection else "discovery"
        for i, network in enumerate(order)
    }


def split_hash(groups: Iterable[Group]) -> str:
    """Identity of the split: which architecture is in which part."""
    parts = sorted(
        (*network, part) for group in groups for network, part in split_of(group.networks, salt=group.salt).items()
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
