"""An explanation: a proxy measured again without each of its parts, on the same architectures and resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from autoprox.errors import InputError
from autoprox.explaining.parts import aligned, block_terms, droppable, without
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features
from autoprox.language.text import parse_proxy, to_latex, to_text
from autoprox.language.words import to_words
from autoprox.measuring.capture import CaptureSettings
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.proxies.evaluation import Invalid, Population, Scores
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.proxies.proxy import Proxy
from autoprox.ranking.agreement import joint_agreement
from autoprox.ranking.assessment import Assessor
from autoprox.ranking.comparison import SPLITS, labelled, measured_population
from autoprox.ranking.evidence import Estimate
from autoprox.ranking.problem import Group

__all__ = ["Ablation", "Explanation", "Likeness", "Profile", "explain"]

PLACES = 5
"""Most places of relative depth at which blocks are left out; networks with fewer blocks have fewer."""
_FULL = "the proxy"
_SIZE = "depth * width"

Column: TypeAlias = list[Scores | Invalid]
"""Scores of one proxy, a group an entry."""


@dataclass(frozen=True)
class Ablation:
    """The proxy without one part.

    Attributes:
        kind: ``branch``, ``statistic`` or ``block``.
        dropped: the part: text of a sub-expression, or ``block 1 of 5``, counted by relative depth.
        rest: what is left, as text; None where blocks were dropped, or where nothing is left.
        kendall: mean Kendall tau with accuracy of what is left.
        change: its difference from the whole proxy, paired on the same resamples.
        likeness: mean Kendall tau with the scores of the whole proxy.
        invalid: why there is nothing to measure; the figures are None then.
    """

    kind: str
    dropped: str
    rest: str | None
    kendall: Estimate
    change: Estimate
    likeness: float | None
    invalid: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Estimates as a value and ``_ci``."""
        head = {"kind": self.kind, "dropped": self.dropped, "rest": self.rest, "likeness": self.likeness}
        figures = self.kendall.to_json("kendall") | self.change.to_json("change")
        return head | figures | ({} if self.invalid is None else {"invalid": self.invalid})


@dataclass(frozen=True)
class Profile:
    """What a proxy says along the depth of the networks of a space.

    Attributes:
        term: the block-level expression.
        n: networks.
        means: at each place of relative depth, the mean over the networks of the block's value, divided by the mean
            absolute value over the blocks of its network: 1 is as much as a block has on average.
        deviations: over the networks, at each place.
    """

    space: str
    term: str
    n: int
    means: list[float]
    deviations: list[float]


@dataclass(frozen=True)
class Likeness:
    """Rank correlation of the proxy's scores with those of a known one: means over the spaces, 95 % bootstrap intervals."""

    name: str
    n: int
    kendall: Estimate
    spearman: Estimate
    invalid: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Estimates as a value and ``_ci``."""
        figures = self.kendall.to_json("kendall") | self.spearman.to_json("spearman")
        return {"name": self.name, "n": self.n} | figures | ({} if self.invalid is None else {"invalid": self.invalid})


@dataclass(frozen=True)
class Explanation:
    """Everything that is said about a proxy.

    Attributes:
        words: the phrase of the whole, and the lines that it refers to.
        split: which architectures were measured, one of ``SPLITS``.
        n: how many.
        kendall: mean Kendall tau of the proxy with accuracy over spaces and data sets.
        unseen: whether no part of a discovery on this ground truth has used them.
    """

    proxy: str
    expression: str
    words: list[str]
    latex: str
    split: str
    n: int
    kendall: Estimate
    ablations: list[Ablation]
    profiles: list[Profile]
    known: list[Likeness]

    @property
    def unseen(self) -> bool:
        """Whether the figures are of architectures that no discovery on this ground truth selects by."""
        return self.split == "test"

    def to_json(self) -> dict[str, Any]:
        """The facts as one object."""
        plain = ("proxy", "expression", "words", "latex", "split", "unseen", "n")
        return (
            {name: getattr(self, name) for name in plain}
            | self.kendall.to_json("kendall")
            | {
                "ablations": [ablation.to_json() for ablation in self.ablations],
                "blocks": [asdict(profile) for profile in self.profiles],
                "known": [likeness.to_json() for likeness in self.known],
            }
        )


def explain(
    proxy: Proxy,
    groups: Sequence[Group],
    settings: CaptureSettings,
    memo: Path,
    workers: Workers,
    *,
    split: str = "test",
    seed: int = 0,
    resamples: int = 2000,
    progress: Progress = silent,
) -> Explanation:
    """Measure what the parts of a proxy are worth.

    Blocks are aligned by relative depth: at each of up to ``PLACES`` places every network loses the block nearest to it,
    the first place being the first block and the last the last. The numbers of an architecture (params, depth) stay.

    Args:
        groups: the ground truth, one group a space.
        settings: of the captures, which read the same batch for every data set.
        memo: file of measured features.
        split: ``test`` architectures, or ``all``.
        seed, resamples: of the bootstrap.

    Raises:
        InputError: an unknown split, too few labelled architectures, or the proxy has no usable scores.
    """
    if split not in SPLITS:
        raise InputError(f"the split is {split!r}; expected one of {', '.join(SPLITS)}")
    whole = canonical(proxy.expression)
    rests = {part: (sort, without(whole, part)) for part, sort in droppable(whole).items()}
    known = {name: canonical(found.expression) for name, found in KNOWN_PROXIES.items()}
    known[_SIZE] = canonical(parse_proxy(_SIZE))
    variants = [rest for _, rest in rests.values() if rest is not None]
    wanted = list(dict.fromkeys(f for e in (whole, *variants, *known.values()) for f in features(e)))
    parts = [labelled(group.part("test") if split == "test" else group, split) for group in groups]
    populations = [measured_population(part, wanted, settings, memo, workers, progress) for part in parts]

    def column(expression: Expression) -> Column:
        return [population.score(expression) for population in populations]

    full = _usable(column(whole), parts, proxy.label)
    assessor = Assessor(parts, {_FULL: full}, seed=seed, resamples=resamples, permutations=1)
    evidence = assessor.assess(full)
    ablations = [
        _ablation(assessor, sort, to_text(part), rest, [] if rest is None else column(rest))
        for part, (sort, rest) in rests.items()
    ]
    terms = block_terms(whole)
    places = min(PLACES, *(int(depth) for part in parts for depth in part.numbers["depth"])) if terms else 0
    if places > 1:
        for place in range(places):
            left = [p.less([aligned(d, places)[place] for d in _depths(g)]).score(whole) for p, g in zip(populations, parts, strict=True)]
            ablations.append(_ablation(assessor, "block", f"block {place + 1} of {places}", whole, left))
    n = evidence.joint.agreement.n
    return Explanation(
        proxy=proxy.label,
        expression=to_text(proxy.expression),
        words=to_words(proxy.expression),
        latex=to_latex(proxy.expression),
        split=split,
        n=n,
        kendall=evidence.joint.measures["kendall"],
        ablations=ablations,
        profiles=[_profile(g, p, term) for term in terms for g, p in zip(parts, populations, strict=True)],
        known=[_likeness(name, full, column(e), parts, seed, resamples, n) for name, e in known.items() if e != whole],
    )


def _depths(group: Group) -> list[int]:
    return [int(depth) for depth in group.numbers["depth"]]


def _usable(column: Column, groups: Sequence[Group], label: str) -> list[Scores]:
    for scores, group in zip(column, groups, strict=True):
        if isinstance(scores, Invalid):
            raise InputError(
                f"{label} has no usable scores on {group.space}: {scores.reason}; choose other spaces or another proxy"
            )
    return [scores for scores in column if not isinstance(scores, Invalid)]


def _ablation(assessor: Assessor, sort: str, dropped: str, rest: Expression | None, column: Column) -> Ablation:
    nothing = Estimate(None, None)
    text = None if rest is None or sort == "block" else to_text(rest)
    if rest is None:
        return Ablation(sort, dropped, None, nothing, nothing, None, "without it nothing is left that is a proxy")
    usable = [scores for scores in column if not isinstance(scores, Invalid)]
    if len(usable) < len(column):
        reason = next(scores.reason for scores in column if isinstance(scores, Invalid))
        return Ablation(sort, dropped, text, nothing, nothing, None, reason)
    found = assessor.assess(usable).joint
    beside = found.against[_FULL]
    return Ablation(sort, dropped, text, found.measures["kendall"], beside.differences["kendall"], beside.likeness)


def _profile(group: Group, population: Population, term: Expression) -> Profile:
    rows = population.blocks(term)
    depths = _depths(group)
    places = min(PLACES, *depths) if len(depths) > 1 else min(PLACES, depths[0])
    shares = []
    for row in rows if not isinstance(rows, Invalid) else ():
        size = float(np.abs(row).mean())
        if np.isfinite(size) and size > 0:
            shares.append((row / size)[aligned(len(row), places)])
    table = np.array(shares).reshape(-1, places)
    spread = table.std(axis=0, ddof=1).tolist() if len(table) > 1 else [0.0] * places
    return Profile(group.space, to_text(term), len(table), table.mean(axis=0).tolist() if len(table) else [], spread)


def _likeness(
    name: str, full: Sequence[Scores], column: Column, groups: Sequence[Group], seed: int, resamples: int, n: int
) -> Likeness:
    """The proxy's scores stand in the place of accuracies."""
    terms: list[tuple[Any, Mapping[str, Any], Any]] = []
    for mine, other, group in zip(full, column, groups, strict=True):
        if isinstance(other, Invalid):
            return Likeness(name, n, Estimate(None, None), Estimate(None, None), f"{group.space}: {other.reason}")
        terms.append((other, {_FULL: mine}, group.numbers["params"]))
    found = joint_agreement(terms, spaces=[group.space for group in groups], seed=seed, resamples=resamples)
    kendall, spearman = Estimate(found.kendall, found.kendall_ci), Estimate(found.spearman, found.spearman_ci)
    return Likeness(name, found.n, kendall, spearman)


