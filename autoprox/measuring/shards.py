"""Parts of some work that machines without anything in common do, each its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from autoprox.errors import InputError
from autoprox.files import clipped

__all__ = ["Shard"]

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` parts, counted from 1.

    >>> Shard.parse("2/3").of("abcdefgh")
    ['b', 'e', 'h']
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``2/4``, or InputError."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"{clipped(text)!r} is no part of a whole; expected one like 2/4, from 1/4 to 4/4")
        return cls(int(found[1]), int(found[2]))

    def of(self, whole: Sequence[T]) -> list[T]:
        """Every `count`-th, so that the parts of what is ordered by size take about as long."""
        return list(whole[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
