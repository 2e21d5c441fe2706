"""Judge candidates on samples: each distinct ranking is paid for once, and every verdict is a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprox.canonical import canonical, ranking_key
from autoprox.evaluation import Invalid, Population
from autoprox.expression import Expression, complexity
from autoprox.fitness import Fitness
from autoprox.problem import Group
from autoprox.screening import Screen
from autoprox.text import parse, to_text

__all__ = ["Judge", "Verdict"]


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
        """Equal for candidates that rank alike."""
        return tuple(round(tau, 9) for tau in self.taus)

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
        fitness: joint fitness on these groups.
        orient: judge a candidate that ranks the wrong way round by its negative.
    """

    def __init__(
        self, groups: Sequence[Group], screens: Sequence[Screen], fitness: Fitness, orient: bool, threads: int = 1
    ) -> None:
        self._groups, self._screens, self._fitness = groups, screens, fitness
        self._orient, self._threads = orient, threads
        self.verdicts: dict[str, Verdict] = {}

    def known(self, expression: Expression) -> Verdict | None:
        """The verdict on whatever ranks like the expression by construction."""
        return self.verdicts.get(to_text(ranking_key(expression)))

    def __call__(self, expressions: Sequence[Expression]) -> list[Verdict]:
        """Judge canonical expressions; those that rank alike by construction get one verdict."""
        keys = [to_text(ranking_key(e)) for e in expressions]
        new = {key: e for key, e in zip(keys, expressions, strict=True) if key not in self.verdicts}
        if new:
            populations = [self._screened(group, screen, list(new.values())) for group, screen in self._pairs()]
            for key, expression in new.items():
                self.verdicts[key] = self._judge(expression, populations)
        return [self.verdicts[key] for key in keys]

    def _pairs(self) -> list[tuple[Group, Screen]]:
        return list(zip(self._groups, self._screens, strict=True))

    def _screened(self, group: Group, screen: Screen, expressions: Sequence[Expression]) -> Population:
        population = group.population()
        population.add(screen.measured(population.missing(expressions), self._threads))
        return population

    def _judge(self, expression: Expression, populations: Sequence[Population]) -> Verdict:
        scores = []
        for group, population in zip(self._groups, populations, strict=True):
            column = population.score(expression, strict=True)
            if isinstance(column, Invalid):
                return Verdict(expression, None, reason=f"{group.space}: {column.reason}")
            scores.append(column)
        value, taus = self._fitness.joint(scores)
        if self._orient and value < 0:
            expression = canonical(Expression("neg", (expression,)))
            value, taus = self._fitness.joint([-column for column in scores])
        if not np.isfinite(value):
            return Verdict(expression, None, reason="a rank correlation is undefined")
        return Verdict(expression, float(value), tuple(map(float, taus)))
