"""One table of times: for each of many things, when it is due.

A time that is set again or cleared stays in a heap until it comes up, or until most of the heap
is such. Pure: no clock. Knows nothing of what is due. Tested by tests/core/test_deadlines.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# The heap is made anew when it has so many times as many entries as there are deadlines.
STALE = 4
LEAST = 64


class Deadlines(Generic[K]):
    """When each of many things is due; at most one time for each."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0

    def __contains__(self, what: K) -> bool:
        return what in self._at

    def get(self, what: K) -> float | None:
        """Return when something is due; None: never."""
        return self._at.get(what)

    def set(self, what: K, due: float) -> None:
        """Have something due at a time, instead of the time that it had."""
        self._at[what] = due
        if len(self._heap) > STALE * len(self._at) + LEAST:
            self._heap = [(at, n, one) for n, (one, at) in enumerate(self._at.items())]
            self._sequence = len(self._heap)
            heapq.heapify(self._heap)
            return
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, what))

    def clear(self, what: K) -> None:
        """Have something never due."""
        self._at.pop(what, None)

    @property
    def first(self) -> float | None:
        """When the next is due; None where nothing is."""
        heap = self._heap
        while heap and self._at.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[K]:
        """Take out what is due, the first first."""
        while (first := self.first) is not None and first <= now:
            what = heapq.heappop(self._heap)[2]
            del self._at[what]
            yield what
