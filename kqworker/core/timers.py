"""What is to go on at a time, in its order; and one time for each of many things.

Pure: no clock. Knows nothing of what goes on then. Tested by tests/core/test_deadlines.py and
through tests/core/test_messages.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

# Times that were set again or cleared are let go when they are so many times as many as the others.
STALE, LEAST = 4, 64


class Timers(Generic[T]):
    """A heap of what waits, by when it is due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, due: float, what: T) -> None:
        """Let something wait until it is due."""
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, what))

    @property
    def first(self) -> float | None:
        """When the next is due; None where nothing waits."""
        return self._heap[0][0] if self._heap else None

    @property
    def next(self) -> T | None:
        """What the next is; None where nothing waits."""
        return self._heap[0][2] if self._heap else None

    def take(self) -> T:
        """Take out the next, due or not; there is one."""
        return heapq.heappop(self._heap)[2]

    def due(self, now: float) -> Iterator[T]:
        """Take out what is due, the first first."""
        while self._heap and self._heap[0][0] <= now:
            yield self.take()

    def keep(self, wanted: Callable[[T], bool]) -> list[T]:
        """Let go of all that is not wanted any more; return it."""
        dropped = [entry[2] for entry in self._heap if not wanted(entry[2])]
        self._heap = [entry for entry in self._heap if wanted(entry[2])]
        heapq.heapify(self._heap)
        return dropped


class Deadlines(Generic[K]):
    """When each of many things is due; at most one time for each."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._timers: Timers[tuple[K, float]] = Timers()

    def __contains__(self, what: K) -> bool:
        return what in self._at

    def get(self, what: K) -> float | None:
        """Return when something is due; None: never."""
        return self._at.get(what)

    def set(self, what: K, due: float) -> None:
        """Have something due at a time, instead of the time that it had."""
        if self._at.get(what) == due:
            return
        if len(self._timers) > STALE * len(self._at) + LEAST:
            self._timers.keep(self._holds)
        self._at[what] = due
        self._timers.put(due, (what, due))

    def clear(self, what: K) -> None:
        """Have something never due."""
        self._at.pop(what, None)

    def _holds(self, entry: tuple[K, float]) -> bool:
        return self._at.get(entry[0]) == entry[1]

    @property
    def first(self) -> float | None:
        """When the next is due; None where nothing is."""
        timers = self._timers
        while (entry := timers.next) is not None:
            if self._at.get(entry[0]) == entry[1]:
                return entry[1]
            timers.take()
        return None

    def due(self, now: float) -> Iterator[K]:
        """Take out what is due, the first first."""
        while (first := self.first) is not None and first <= now:
            what, _ = self._timers.take()
            del self._at[what]
            yield what
