"""Budgets on parameters and FLOPs: decided in closed form, before anything is built."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from autoprox.errors import InputError
from autoprox.spaces import Architecture, Space

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DRAWS", "Budget", "parse_size"]

DRAWS: Final = 30_000
"""Random architectures after which there is none left to be found: all of 1,600 equally likely ones are among them."""

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)([kmg]?)", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_size(text: str) -> int:
    """Read a count such as ``6.2M``, ``1.4G``, ``500k`` or ``5000000``.

    Raises:
        InputError: it is none, or not a positive whole number.
    """
    match = _SIZE.fullmatch(text.strip())
    size = Decimal(match[1]) * _UNITS[match[2].lower()] if match else Decimal(0)
    if size < 1 or size != int(size):
        raise InputError(f"{text[:40]!r} is not a size: expected a positive number such as 6.2M, 1.4G, 500k or 5000000")
    return int(size)


class Budget:
    """Which architectures of a space are small enough.

    Args:
        classes: outputs of the classifier, which counts.
        max_params: most parameters; None: no limit.
        max_flops: most multiply-accumulates of one 224 px image; None: no limit.

    Raises:
        InputError: a limit is below the smallest architecture; names that.
    """

    def __init__(self, space: Space, classes: int, max_params: int | None, max_flops: int | None) -> None:
        self.space, self.classes = space, classes
        limits = (
            ("params", "parameters", max_params, space.params, space.smallest("params")),
            ("flops", "FLOPs", max_flops, space.flops, space.smallest("flops")),
        )
        self._limits = [(count, limit) for _, _, limit, count, _ in limits if limit is not None]
        self._text = " and ".join(
            f"at most {limit:,} {meaning}" for _, meaning, limit, _, _ in limits if limit is not None
        )
        for name, meaning, limit, count, architecture in limits:
            smallest = count(architecture, classes)
            if limit is not None and limit < smallest:
                raise InputError(
                    f"no architecture of {space.name} has at most {limit:,} {meaning}: the smallest has {smallest:,} "
                    f"(with {classes} classes); raise --max-{name} or choose another space"
                )

    def holds(self, architecture: Architecture) -> bool:
        """Whether it is within all limits."""
        return all(count(architecture, self.classes) <= limit for count, limit in self._limits)

    def draw(
        self, rng: np.random.Generator, known: set[str], fits: Callable[[Architecture], bool] = lambda _: True
    ) -> str | None:
        """The key of a random architecture within the budget that is not known yet; None when none is to be found."""
        drawn: set[str] = set()
        for _ in range(DRAWS):
            architecture = self.space.sample(rng)
            key = self.space.key(architecture)
            if key not in known and self.holds(architecture) and fits(architecture):
                return key
            drawn.add(key)
            if len(drawn) == self.space.size():
                break
        return None

    def check(self, rng: np.random.Generator) -> None:
        """InputError where the limits, each possible, leave almost nothing together."""
        if self.draw(rng, set()) is None:
            raise InputError(
                f"none of {DRAWS:,} random architectures of {self.space.name} has {self._text}: the budget leaves "
                "almost nothing; raise it"
            )
