"""Measuring proxies on ground truth: labels, resamples and permutations made ready once, any number of proxies after it.

Figures of one (space, data set) pair come from resamples of its own, those of the means from common resamples of each
space, so they equal what `agreement` and `joint_agreement` give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from autoprox.errors import InputError
from autoprox.ranking.agreement import (
    LabelRow,
    checked,
    correlations_of,
    estimate,
    from_resamples,
    resampled_rows,
)
from autoprox.ranking.bands import BANDS
from autoprox.ranking.correlations import KendallTargets, kendall
from autoprox.ranking.evidence import CHOSEN, MEASURES, PAIRED, PLACES, TOP, Against, Estimate, Evidence, Figures
from autoprox.ranking.permutation import PERMUTATIONS, p_value, permuted_kendall
from autoprox.ranking.permutation import permutations as orders_of
from autoprox.ranking.resampling import Floats, Pairing, Variable
from autoprox.ranking.selection import Choice

if TYPE_CHECKING:
    from autoprox.ranking.problem import Group

__all__ = ["Assessor", "Scores", "sizes_of"]

Scores: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
"""Of the networks of one group: (n,), or {data set: (n,)} where they depend on the data set."""


class _Trial:
    """One data set of one space under one set of resamples."""

    def __init__(self, row: LabelRow, top: int) -> None:
        self.row, self.top = row, min(top, row.n)
        self._choice = Choice(row.target.w, row.accuracy, row.target.y)

    def of(self, scores: Floats) -> _Table:
        """Of the scores of all networks of the group."""
        x = Variable(scores[self.row.kept])
        pairing = Pairing(self.row.target, x)
        paired = [getattr(pairing, name) for name in PAIRED]
        return _Table(correlations_of(pairing), np.stack([*paired, *self._chosen(x)]))

    def _chosen(self, x: Variable) -> list[Floats]:
        regrets = [self._choice.regret(x, min(k, self.row.n)) for k in PLACES]
        return [self._choice.ndcg(x, self.top), self._choice.precision(x, self.top), *regrets]

    @cached_property
    def chance(self) -> dict[str, float]:
        """What scores that say nothing reach, where that is not 0."""
        nothing = Variable(np.zeros(self.row.n))
        return {name: float(row[0]) for name, row in zip(CHOSEN, self._chosen(nothing), strict=True)}


class _Table(NamedTuple):
    """One score under all resamples, the first of which is the sample."""

    correlations: Floats
    """(9, B) as `correlations_of` has them."""
    measures: Floats
    """(measures, B) by ``MEASURES``."""


@dataclass(frozen=True)
class _Measured:
    """One score on all pairs."""

    columns: list[list[Floats]]
    """(networks,) scores, pair by pair, of each proxy: one, or several whose mean the tables are."""
    alone: list[_Table]
    """Pair by pair, under the resamples of each alone."""
    together: _Table
    """The mean over the pairs, under the resamples that those of a space share."""


class Assessor:
    """Labels, resamples, permutations and references made ready once; every proxy is then measured on the same ones.

    Args:
        groups: the ground truth; several groups of one space have the same architectures.
        references: {name: scores, one entry a group} that every proxy is compared with; `sizes_of` by default.
        methods: {name: several proxies' scores}, such as what one method found with each seed; the figures of a method are
            the means over its proxies. They are references too.
        seed, resamples: of the bootstrap.
        permutations: of the labels.
        bands: parameter bands a space.
        top: the k of nDCG and precision.

    Raises:
        InputError: no data set, fewer than 3 labels on one, or a reference that is not finite.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        references: Mapping[str, Sequence[Scores]] | None = None,
        methods: Mapping[str, Sequence[Sequence[Scores]]] | None = None,
        *,
        seed: int = 0,
        resamples: int = 2000,
        permutations: int = PERMUTATIONS,
        bands: int = BANDS,
        top: int = TOP,
    ) -> None:
        self._spaces = [group.space for group in groups]
        self._truth = [(group.labels, group.numbers["params"]) for group in groups]
        self._options = {"seed": seed, "resamples": resamples, "bands": bands}
        rows = list(resampled_rows(self._spaces, self._truth, **self._options))
        self._together = [_Trial(row, top) for row in rows]
        self._alone = [
            # the first space's pairs without gaps have the same resamples alone and together
            trial if trial.row.space == self._spaces[0] and trial.row.present.all() else self._apart(trial.row, top)
            for trial in self._together
        ]
        self._targets = [KendallTargets(np.where(row.present, row.accuracy, np.nan)) for row in rows]
        self._orders = [  # another stream than the bootstrap's
            orders_of((seed, self._spaces.index(row.space), 1), row.n, permutations) for row in rows
        ]
        given = sizes_of(groups) if references is None else references
        self._references = {name: self._measured(f"{name}: score", scores) for name, scores in given.items()}
        self._methods = {
            name: _mean([self._measured(f"{name}: score", scores) for scores in several])
            for name, several in (methods or {}).items()
        }

    def assess(self, scores: Sequence[Scores], against: Mapping[str, Sequence[Scores]] | None = None) -> Evidence:
        """Everything about one proxy.

        Args:
            scores: of the networks of each group.
            against: {name: scores} of further references for this proxy alone, such as another proxy.

        Raises:
            InputError: a score is not finite, or there are not as many as networks.
        """
        mine = self._measured("score", scores)
        others = self._references | self._methods
        for name, given in (against or {}).items():
            others[name] = self._measured(f"{name}: score", given)
        return self._evidence(mine, others)

    def assess_method(self, name: str) -> Evidence:
        """The means over the proxies of a method, beside the references and the other methods: all figures are means over
        the proxies under the same resamples and permutations, so intervals are those of other architectures alone.
        """
        others = {other: measured for other, measured in self._methods.items() if other != name}
        return self._evidence(self._methods[name], self._references | others)

    def _evidence(self, mine: _Measured, others: Mapping[str, _Measured]) -> Evidence:
        likeness = {name: self._likeness(mine, other) for name, other in others.items()}
        taus = [
            np.mean([permuted_kendall(targets, x[trial.row.kept], orders)[:, 0] for x in columns], axis=0)
            for targets, columns, orders, trial in zip(
                self._targets, mine.columns, self._orders, self._together, strict=True
            )
        ]
        pairs = {
            (common.row.space, common.row.dataset): Figures(
                agreement=from_resamples(trial.row.n, mine.alone[i].correlations),
                measures=_estimates(mine.alone[i].measures),
                top=trial.top,
                bands=trial.row.bands,
                chance=trial.chance,
                p=p_value(taus[i][0], taus[i][1:]),
                permutations=len(taus[i]) - 1,
                against={
                    name: _against(likeness[name][i], mine.alone[i], other.alone[i]) for name, other in others.items()
                },
            )
            for i, (trial, common) in enumerate(zip(self._alone, self._together, strict=True))
        }
        means = np.mean(taus, axis=0)
        joint = Figures(
            agreement=from_resamples(self._architectures(), mine.together.correlations),
            measures=_estimates(mine.together.measures),
            top=max(trial.top for trial in self._alone),
            bands=min(trial.row.bands or 0 for trial in self._alone) or None,
            chance={name: float(np.mean([trial.chance[name] for trial in self._alone])) for name in CHOSEN},
            p=p_value(means[0], means[1:]),
            permutations=len(means) - 1,
            against={
                name: _against(float(np.mean(likeness[name])), mine.together, other.together)
                for name, other in others.items()
            },
        )
        return Evidence(pairs, joint, means[1:])

    def _apart(self, row: LabelRow, top: int) -> _Trial:
        labels, params = self._truth[row.group]
        return _Trial(next(resampled_rows([""], [({row.dataset: labels[row.dataset]}, params)], **self._options)), top)

    def _architectures(self) -> int:
        """Those of each space counted once."""
        counts: dict[str, int] = {}
        for trial in self._together:
            counts[trial.row.space] = max(trial.row.n, counts.get(trial.row.space, 0))
        return sum(counts.values())

    def _measured(self, what: str, scores: Sequence[Scores]) -> _Measured:
        if len(scores) != len(self._truth):
            raise InputError(f"{what}s of {len(scores)} groups; expected those of {len(self._truth)}")
        columns = [self._column(what, scores[trial.row.group], trial.row) for trial in self._together]
        together = [trial.of(x) for trial, x in zip(self._together, columns, strict=True)]
        alone = [
            common if trial is self._together[i] else trial.of(columns[i])
            for i, (trial, common) in enumerate(zip(self._alone, together, strict=True))
        ]
        return _Measured([[column] for column in columns], alone, _mean_table(together))

    def _column(self, what: str, scores: Scores, row: LabelRow) -> Floats:
        if isinstance(scores, Mapping):
            if row.dataset not in scores:
                raise InputError(f"{what}s of {row.space} are given for {', '.join(scores)}, but not for {row.dataset}")
            scores = scores[row.dataset]
        return checked(what, scores, self._truth[row.group][1])

    def _likeness(self, mine: _Measured, other: _Measured) -> list[float]:
        """Kendall's tau of two scores, pair by pair, on the labelled architectures; the mean over several proxies."""
        found = []
        for trial, mines, others in zip(self._together, mine.columns, other.columns, strict=True):
            rows = [[x[trial.row.kept][trial.row.present] for x in columns] for columns in (mines, others)]
            found.append(float(np.mean([kendall(x, z) for x in rows[0] for z in rows[1]])))
        return found


def sizes_of(groups: Sequence[Group]) -> dict[str, list[Scores]]:
    """The measures of size that every proxy should beat, by name: one entry of scores a group."""
    numbers = [{name: np.array(values) for name, values in group.numbers.items()} for group in groups]
    plain: dict[str, list[Scores]] = {
        name: [n[name] for n in numbers] for name in ("params", "flops", "depth", "width")
    }
    return plain | {"depth * width": [n["depth"] * n["width"] for n in numbers]}


def _mean(measured: Sequence[_Measured]) -> _Measured:
    """Several proxies as one."""
    pairs = range(len(measured[0].columns))
    return _Measured(
        [[column for one in measured for column in one.columns[i]] for i in pairs],
        [_mean_table([one.alone[i] for one in measured]) for i in pairs],
        _mean_table([one.together for one in measured]),
    )


def _mean_table(tables: Sequence[_Table]) -> _Table:
    return _Table(*(np.mean(rows, axis=0) for rows in zip(*tables, strict=True)))


def _estimates(table: Floats) -> dict[str, Estimate]:
    return {name: Estimate(*estimate(row)) for name, row in zip(MEASURES, table, strict=True)}


def _against(likeness: float, mine: _Table, other: _Table) -> Against:
    gap = mine.measures - other.measures
    return Against(None if np.isnan(likeness) else likeness, _estimates(other.measures), _estimates(gap))
