"""Judge candidates on samples: each distinct ranking is paid for once, and every verdict is a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprox.language.canonical import canonical, ranking_key
from autoprox.language.expression import Expression, complexity
from autoprox.language.text import parse, to_text
from autoprox.measuring.screening import Screen
from autoprox.proxies.evaluation import Invalid, Population, Scores
from autoprox.ranking.correlations import kendall
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import Group

__all__ = ["RELIABLE", "Judge", "Verdict"]

# How well the scores of two half samples must agree (Kendall's τ in every space) for a candidate to be judged on samples.
# Normal errors of variance e² in the sample and 2e² in each half give the sample τ .95 with the truth where the halves
# have τ .90 with each other: (2/π) asin of 1/√(1 + e²) and of 1/(1 + 2e²).
RELIABLE = 0.9


@dataclass(frozen=True)
class Verdict:
    """What is known of a candidate.

    Attributes:
        expression: canonical; the negated candidate where that is what ranks the right way round.
        value: the fitness, or None where there is no usable score.
        taus: Kendall tau-b of each (space, data set).
        reason: why there is no score.
    """

    expression: Expression
    value: float | None
    taus: tuple[float, ...] = ()
    reason: str = ""

    @property
    def signature(self) -> tuple[float, ...]:
        """Equal for candidates that rank alike; those of one τ may still know more or less beyond size."""
        return tuple(round(number, 9) for number in (self.value or 0.0, *self.taus))

    def to_json(self) -> dict[str, Any]:
        return {
            "expression": to_text(self.expression),
            "value": self.value,
            "taus": list(self.taus),
            "complexity": complexity(self.expression),
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Verdict:
        return cls(parse(record["expression"]), record["value"], tuple(record["taus"]), record["reason"])


class Judge:
    """Fitness of candidates on the discovery architectures, from samples.

    Args:
        groups: the architectures to judge on, one group a space.
        screens: for each group one screen a (space, data set) needs: data sets that share a batch share a screen.
        fitness: joint fitness on these groups. A candidate is judged by its negative where that is fitter, or as fit and
            ranks the right way round.
        verdicts: what is known already, to which new ones are added.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        screens: Sequence[Screen],
        fitness: Fitness,
        threads: int = 1,
        verdicts: dict[str, Verdict] | None = None,
    ) -> None:
        self._groups, self._screens, self._fitness, self._threads = groups, screens, fitness, threads
        self.verdicts = {} if verdicts is None else verdicts

    def known(self, expression: Expression) -> Verdict | None:
        """The verdict on whatever ranks like the expression by construction."""
        return self.verdicts.get(to_text(self._key(expression)))

    def _key(self, expression: Expression) -> Expression:
        """What is judged in its place: exp and the like rank the same but saturate; the sign is found out here."""
        key = ranking_key(expression)
        return ranking_key(key.args[0]) if key.head == "neg" else key

    def __call__(self, expressions: Sequence[Expression]) -> list[Verdict]:
        """Judge canonical expressions; those that rank alike by construction get one verdict."""
        keys = {e: self._key(e) for e in expressions}
        texts = {key: to_text(key) for key in keys.values()}
        new = [key for key, text in texts.items() if text not in self.verdicts]
        if new:
            for key, scores in zip(new, self.scores(new), strict=True):
                self.verdicts[texts[key]] = self._verdict(key, scores)
        return [self.verdicts[texts[keys[e]]] for e in expressions]

    def scores(self, expressions: Sequence[Expression]) -> list[list[Scores] | str]:
        """For each expression its scores on every group, or why it has none or they cannot be told from samples."""
        found = self._scores(expressions)
        doubtful = self._doubtful(
            [e for e, scores in zip(expressions, found, strict=True) if not isinstance(scores, str)]
        )
        return [doubtful.get(e, scores) for e, scores in zip(expressions, found, strict=True)]

    def _scores(self, expressions: Sequence[Expression], half: int | None = None) -> list[list[Scores] | str]:
        """The scores that all samples give, or one half of each."""
        populations = []
        for group, screen in zip(self._groups, self._screens, strict=True):
            population = group.population()
            population.add(screen.measured(population.missing(expressions), self._threads, half))
            populations.append(population)
        return [self._columns(expression, populations) for expression in expressions]

    def _columns(self, expression: Expression, populations: Sequence[Population]) -> list[Scores] | str:
        columns = []
        for group, population in zip(self._groups, populations, strict=True):
            column = population.score(expression, strict=True)
            if isinstance(column, Invalid):
                return f"{group.space}: {column.reason}"
            columns.append(column)
        return columns

    def _doubtful(self, expressions: Sequence[Expression]) -> dict[Expression, str]:
        """Why some of them cannot be judged on samples: the halves of the samples rank the networks differently."""
        estimated = [e for e in expressions if any(screen.estimates(e) for screen in self._screens)]
        found = {}
        for e, one, other in zip(estimated, self._scores(estimated, 0), self._scores(estimated, 1), strict=True):
            if isinstance(one, str) or isinstance(other, str):
                found[e] = f"cannot be told from samples: {one if isinstance(one, str) else other}"
                continue
            taus = [kendall(x, y) for x, y in zip(one, other, strict=True)]
            if min(taus) < RELIABLE:
                group = self._groups[int(np.argmin(taus))]
                found[e] = f"{group.space}: cannot be told from samples, whose halves agree with τ {min(taus):.2f} only"
        return found

    def _verdict(self, expression: Expression, scores: list[Scores] | str) -> Verdict:
        if isinstance(scores, str):
            return Verdict(expression, None, reason=scores)
        value, taus = self._fitness.joint(scores)
        if value < 0 or taus.sum() < 0:
            other, reverse = self._fitness.joint([-column for column in scores])
            if (other, reverse.sum()) > (value, taus.sum()):
                expression, value, taus = canonical(Expression("neg", (expression,))), other, reverse
        if not np.isfinite(value):
            return Verdict(expression, None, reason="a rank correlation is undefined")
        return Verdict(expression, float(value), tuple(map(float, taus)))
