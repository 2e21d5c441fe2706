"""Which tasks begin when: in order, few in flight, and what was lost once more, alone where it may be to blame."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

__all__ = ["Agenda"]


class Agenda:
    """What may begin: tasks in order, none ``ahead`` or more beyond the first that is not done; a task that is to blame for its
    loss has to be alone, since it may have been another one that took the memory."""

    def __init__(self, total: int, ahead: int) -> None:
        self._ahead = ahead
        self._todo = list(range(total))  # a heap
        self._underway: set[int] = set()
        self._lost: set[int] = set()  # once
        self._alone: deque[int] = deque()

    def begin(self, count: int) -> list[int]:
        """Those that begin now, so that at most ``count`` are under way."""
        chosen: list[int] = []
        if self._alone:
            if not self._underway:
                chosen.append(self._alone[0])
        else:
            while self._todo and len(self._underway) + len(chosen) < count:
                first = min((*self._underway, *chosen, self._todo[0]))
                if self._todo[0] >= first + self._ahead:
                    break
                chosen.append(heappop(self._todo))
        self._underway.update(chosen)
        return chosen

    def end(self, index: int) -> None:
        self._underway.remove(index)
        if index in self._alone:
            self._alone.remove(index)

    def again(self, index: int, alone: bool) -> bool:
        """Whether a task that was lost is done once more."""
        if index in self._lost:
            return False
        self._underway.remove(index)
        self._lost.add(index)
        if alone:
            self._alone.append(index)
        else:
            heappush(self._todo, index)
        return True
