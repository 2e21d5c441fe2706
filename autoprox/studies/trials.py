"""What each design holds out: the ground truth that a discovery is given, and the architectures that it is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoprox.errors import InputError
from autoprox.ranking.problem import PARTS, Group, dealt_anew
from autoprox.studies.plan import Design

__all__ = ["Trial", "trials_of"]


@dataclass(frozen=True)
class Trial:
    """One way to hold something out; a design has one or several.

    Attributes:
        design: what the rows of the table are named after; one name a design and ground truth.
        name: within the design; empty where it has one trial.
        plan: the design.
        truth: names of the ground truth that is read.
        groups: what a discovery is given.
        testing: what it is tested on; None: the test part of the split.
        seeds: of evolution.
    """

    design: str
    name: str
    plan: Design
    truth: tuple[str, ...]
    groups: tuple[Group, ...]
    testing: tuple[Group, ...] | None
    seeds: tuple[int, ...]

    def parts(self) -> dict[str, list[Group]]:
        """The architectures of each part with the labels that the discovery has seen, or is tested on."""
        groups, testing = list(self.groups), None if self.testing is None else list(self.testing)
        if self.plan.kind == "null":
            groups = dealt_anew(groups, self.seeds[0])
        found = {part: [group.part(part) for group in groups] for part in PARTS}
        return found if testing is None else found | {"test": testing}


def trials_of(design: Design, truth: Mapping[str, Sequence[Group]]) -> list[Trial]:
    """All trials of a design.

    Raises:
        InputError: there is nothing to hold out.
    """
    found = []
    for name in design.truth:
        for number in range(1, design.splits + 1):
            # the first split is that of every other command
            groups = [replace(group, salt="" if number == 1 else f"split {number}") for group in truth[name]]
            of_split = f"split {number}" if design.splits > 1 else ""
            found += _held_out(design, name, of_split, groups, truth)
    return found


def _held_out(
    design: Design, name: str, of_split: str, groups: Sequence[Group], truth: Mapping[str, Sequence[Group]]
) -> list[Trial]:
    title = f"{name} {design.kind}"

    def trial(what: str, given: Sequence[Group], testing: Sequence[Group] | None) -> Trial:
        label = ", ".join(filter(None, (of_split, what)))
        return Trial(
            title, label, design, (name,), tuple(given), None if testing is None else tuple(testing), design.seeds
        )

    if design.kind == "split":
        return [trial("", groups, None)]
    if design.kind == "null":  # each seed deals the labels anew, so each is a trial of its own
        return [
            replace(trial(f"labels {seed}" if len(design.seeds) > 1 else "", groups, None), seeds=(seed,))
            for seed in design.seeds
        ]
    if design.kind == "leave-one-dataset-out":
        datasets = sorted({dataset for group in groups for dataset in group.labels})
        _several(datasets, name, "data sets", design.kind)
        return [
            trial(
                f"without {left}",
                [kept for group in groups if (kept := group.on(set(datasets) - {left})).labels],
                [group.part("test").on([left]) for group in groups if left in group.labels],
            )
            for left in datasets
        ]
    if design.kind == "leave-one-space-out":
        _several(groups, name, "spaces", design.kind)
        return [
            trial(f"without {left.space}", [group for group in groups if group is not left], [left]) for left in groups
        ]
    return [
        replace(
            trial("", groups, _unseen(truth[other], groups)),
            design=f"{name} to {other}",
            truth=(name, other),
        )
        for other in design.to
        if other != name
    ]


def _several(things: Sequence[object], name: str, what: str, kind: str) -> None:
    if len(things) < 2:
        raise InputError(f"{kind} needs at least two {what}, and the ground truth {name} has {len(things)}")


def _unseen(others: Sequence[Group], groups: Sequence[Group]) -> list[Group]:
    """Without architectures that evolution or selection reads."""
    seen = {network for group in groups for network in group.part("discovery", "selection").networks}
    kept = [group.take([i for i, network in enumerate(group.networks) if network not in seen]) for group in others]
    return [group for group in kept if group.networks]
