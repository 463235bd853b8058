"""What is to go on at a time, in its order.

Pure: no clock. Knows nothing of what goes on then. Tested through tests/core/test_messages.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Timers(Generic[T]):
    """A heap of what waits, by when it is due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._sequence = 0

    def put(self, due: float, what: T) -> None:
        """Let something wait until it is due."""
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, what))

    @property
    def first(self) -> float | None:
        """When the next is due; None where nothing waits."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[T]:
        """Take out what is due, the first first."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[2]

    def keep(self, wanted: Callable[[T], bool]) -> list[T]:
        """Let go of all that is not wanted any more; return it."""
        dropped = [entry[2] for entry in self._heap if not wanted(entry[2])]
        self._heap = [entry for entry in self._heap if wanted(entry[2])]
        heapq.heapify(self._heap)
        return dropped
