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
from autoprox.ranking.comparison import SPLITS, measured_populations, part_of
from autoprox.ranking.evidence import Estimate
from autoprox.ranking.problem import LEAST_IN_PART, Group

__all__ = ["Ablation", "Explanation", "Likeness", "Profile", "explain"]

PLACES = 5
"""Most places of relative depth at which blocks are left out; fewer where some network has fewer blocks."""
LEAST_BLOCKS = 3
"""Blocks of networks that take part where blocks are left out: a first, a last and one between them."""
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
        n: architectures.
        rest: what is left, as text; None where blocks were dropped, or where nothing is left.
        turned: whether what is left ranks the other way round than the whole, so its negative is measured. Labels have no
            part in that.
        kendall: mean Kendall tau with accuracy of what is left.
        change: its difference from the whole proxy, paired on the same resamples.
        likeness: mean Kendall tau with the scores of the whole proxy.
        invalid: why there is nothing to measure; the figures are None then.
    """

    kind: str
    dropped: str
    n: int
    rest: str | None
    kendall: Estimate
    change: Estimate
    likeness: float | None
    turned: bool = False
    invalid: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Estimates as a value and ``_ci``."""
        head = {name: getattr(self, name) for name in ("kind", "dropped", "n", "rest", "turned", "likeness")}
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
    Networks of fewer than ``LEAST_BLOCKS`` blocks, and spaces with fewer than ``LEAST_IN_PART`` others, take no part there.

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
    rests = _distinct({part: (sort, without(whole, part)) for part, sort in droppable(whole).items()})
    known = {name: canonical(found.expression) for name, found in KNOWN_PROXIES.items()}
    known[_SIZE] = canonical(parse_proxy(_SIZE))
    variants = [rest for _, rest in rests.values() if rest is not None]
    wanted = list(dict.fromkeys(f for e in (whole, *variants, *known.values()) for f in features(e)))
    parts = [part_of(group, split, [proxy]) for group in groups]
    parts, taken, _ = measured_populations(parts, wanted, settings, memo, workers, progress)
    populations = [by_capture[settings] for by_capture in taken]

    def column(expression: Expression) -> Column:
        return [population.score(expression) for population in populations]

    full = _usable(column(whole), parts, proxy.label)
    assessor = Assessor(parts, {_FULL: full}, seed=seed, resamples=resamples, permutations=1)
    evidence = assessor.assess(full)
    ablations = [
        _ablation(assessor, sort, to_text(part), rest, [] if rest is None else column(rest), evidence.joint.agreement.n)
        for part, (sort, rest) in rests.items()
    ]
    terms = block_terms(whole)
    deep = [_deep(part, population) for part, population in zip(parts, populations, strict=True)] if terms else []
    deep = [(group, population) for group, population in deep if len(group.networks) >= LEAST_IN_PART]
    places = min([PLACES, *(depth for group, _ in deep for depth in _depths(group))])
    if deep:
        ablations += _blocks(deep, whole, places, seed, resamples)
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
        profiles=[_profile(group, population, term, places) for term in terms for group, population in deep],
        known=[_likeness(name, full, column(e), parts, seed, resamples, n) for name, e in known.items() if e != whole],
    )


def _distinct(
    rests: Mapping[Expression, tuple[str, Expression | None]],
) -> dict[Expression, tuple[str, Expression | None]]:
    """Of parts that leave the same, the first: a branch of one statistic is that statistic."""
    found: dict[Expression, tuple[str, Expression | None]] = {}
    for part, (sort, rest) in rests.items():
        if rest is None or all(rest != other for _, other in found.values()):
            found[part] = (sort, rest)
    return found


def _depths(group: Group) -> list[int]:
    return [int(depth) for depth in group.numbers["depth"]]


def _deep(group: Group, population: Population) -> tuple[Group, Population]:
    """The networks that have blocks to lose."""
    rows = [i for i, depth in enumerate(_depths(group)) if depth >= LEAST_BLOCKS]
    return group.take(rows), population.take(rows)


def _blocks(
    deep: Sequence[tuple[Group, Population]], whole: Expression, places: int, seed: int, resamples: int
) -> list[Ablation]:
    """Every network without the block at each place."""
    full = [population.score(whole) for _, population in deep]
    usable = [scores for scores in full if not isinstance(scores, Invalid)]
    if len(usable) < len(full):
        return []
    assessor = Assessor([group for group, _ in deep], {_FULL: usable}, seed=seed, resamples=resamples, permutations=1)
    n = sum(len(group.networks) for group, _ in deep)
    found = []
    for place in range(places):
        column = [
            population.less([aligned(depth, places)[place] for depth in _depths(group)]).score(whole)
            for group, population in deep
        ]
        found.append(_ablation(assessor, "block", f"block {place + 1} of {places}", whole, column, n))
    return found


def _usable(column: Column, groups: Sequence[Group], label: str) -> list[Scores]:
    for scores, group in zip(column, groups, strict=True):
        if isinstance(scores, Invalid):
            raise InputError(
                f"{label} has no usable scores on {group.space}: {scores.reason}; choose other spaces or another proxy"
            )
    return [scores for scores in column if not isinstance(scores, Invalid)]


def _ablation(assessor: Assessor, sort: str, dropped: str, rest: Expression | None, column: Column, n: int) -> Ablation:
    nothing = Estimate(None, None)
    text = None if rest is None or sort == "block" else to_text(rest)
    usable = [scores for scores in column if not isinstance(scores, Invalid)]
    reason = next((scores.reason for scores in column if isinstance(scores, Invalid)), None)
    if rest is None:
        reason = "nothing is left that is a proxy"
    if reason is not None:
        return Ablation(sort, dropped, n, text, nothing, nothing, None, invalid=reason)
    found = assessor.assess(usable).joint
    turned = (found.against[_FULL].likeness or 0.0) < 0
    if turned:
        found = assessor.assess([-scores for scores in usable]).joint
    beside = found.against[_FULL]
    gap = beside.differences["kendall"]
    return Ablation(sort, dropped, n, text, found.measures["kendall"], gap, beside.likeness, turned)


def _profile(group: Group, population: Population, term: Expression, places: int) -> Profile:
    rows = population.blocks(term)
    shares = []
    for row in rows if not isinstance(rows, Invalid) else ():
        size = float(np.abs(row).mean())
        if np.isfinite(size) and size > 0:
            shares.append((row / size)[aligned(len(row), places)])
    if len(shares) < 2:
        return Profile(group.space, to_text(term), len(shares), [], [])
    means, deviations = np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1)
    return Profile(group.space, to_text(term), len(shares), means.tolist(), deviations.tolist())


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
