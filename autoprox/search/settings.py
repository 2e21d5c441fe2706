"""Settings of a search: all that its result depends on besides the proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from autoprox.errors import InputError, check_least
from autoprox.measuring.capture import CaptureSettings
from autoprox.spaces import get_space

__all__ = ["ALGORITHMS", "POSITIONS", "SearchSettings"]

ALGORITHMS = ("random", "evolution", "blockwise")
POSITIONS = ("blockwise", "uniform")


@dataclass(frozen=True)
class SearchSettings:
    """All that the result of a search depends on besides the proxy.

    Attributes:
        max_params: most parameters, with the classifier of ``capture.classes`` classes; None: no limit.
        max_flops: most multiply-accumulates of one image of the space's size; None: no limit.
        evaluations: architectures to score.
        seed: of what is drawn here; the initial weights and the batch have ``capture.seed``.
        positions: of the algorithm ``blockwise`` alone: whether the values of blocks decide where it varies, or nothing
            does (``uniform``).
        preset: the name of the published procedure that the other settings came from, to be recorded.
    """

    space: str
    algorithm: str = "evolution"
    max_params: int | None = None
    max_flops: int | None = None
    evaluations: int = 300
    seed: int = 0
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    positions: str = "blockwise"
    preset: str | None = None

    @property
    def population(self) -> int:
        """Real et al.'s 50 for 300 evaluations and more; a sixth of fewer, so that most are children."""
        return min(50, max(4, self.evaluations // 6))

    @property
    def tournament(self) -> int:
        """Real et al.'s share: the best of a fifth of the population becomes a parent.

        ``blockwise`` takes its parents from as many, the best of all.
        """
        return max(2, self.population // 5)

    def check(self) -> None:
        """InputError names the first setting that is wrong."""
        get_space(self.space)
        if self.algorithm not in ALGORITHMS:
            raise InputError(f"there is no search algorithm {self.algorithm!r}; choose one of {', '.join(ALGORITHMS)}")
        if self.positions not in POSITIONS:
            raise InputError(f"there are no {self.positions!r} positions; choose one of {', '.join(POSITIONS)}")
        if self.positions != POSITIONS[0] and self.algorithm != "blockwise":
            raise InputError(
                f"{self.positions} positions belong to the algorithm blockwise, and the algorithm is {self.algorithm}; "
                "choose --algorithm blockwise, or leave --positions out"
            )
        check_least("number of evaluations", self.evaluations, 1)
        check_least("seed", self.seed, 0)

    def to_json(self) -> dict[str, Any]:
        names = ["space", "algorithm", "max_params", "max_flops", "evaluations", "seed", "population", "tournament"]
        names += ["positions"] if self.algorithm == "blockwise" else []
        names += ["preset"] if self.preset is not None else []
        return {**{name: getattr(self, name) for name in names}, "capture": self.capture.to_json()}
