"""A task on its way through a worker, and what must be remembered of it meanwhile.

Pure. Tested through tests/core/test_messages.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from kqworker.core.epochs import Epoch
from kqworker.core.lanes import Lane
from kqworker.types import Outcome, Segment, Task


class InFlightTask:
    """A task that a worker has, with what the supervisor must remember of it."""

    __slots__ = ("alone", "count", "lanes", "outcomes", "parts", "settled", "task", "unstarted")

    def __init__(
        self,
        task: Task,
        parts: list[tuple[Epoch, Segment]],
        lanes: list[Lane],
        alone: bool = False,
    ) -> None:
        self.task = task
        self.count = len(task)
        self.parts = parts
        self.lanes = lanes
        self.alone = alone  # a suspect, which has no lane
        self.outcomes: dict[int, Outcome] = {}
        self.unstarted: set[int] = set()  # handed back so far: told before the slot moves on
        self.settled: set[int] = set()  # before the worker was done with the task

    def told(self, outcomes: Iterable[Outcome], unstarted: Iterable[int]) -> None:
        """Take what its worker has told: outcomes, and what it hands back."""
        for outcome in outcomes:
            self.outcomes[outcome.index] = outcome
        self.unstarted.update(unstarted)

    def begin_none_of(self, indices: Iterable[int]) -> None:
        """Take for handed back what its worker will not begin, but for what it has told of."""
        self.unstarted.update(i for i in indices if i not in self.outcomes)

    def settle_but(self, running: int | None, lane: Lane | None) -> None:
        """Count all as settled but the message that its worker is on, and keep its lane alone."""
        self.settled.update(i for i in range(self.count) if i != running)
        self.lanes = [one for one in self.lanes if one is lane]

    @property
    def open(self) -> int:
        """How many of its messages are not settled."""
        return self.count - len(self.settled)

    def locate(self, index: int) -> tuple[Epoch, Segment, int]:
        """Return the epoch and the segment of message `index`, and its index in there."""
        for epoch, segment in self.parts:
            if index < len(segment.records):
                return epoch, segment, index
            index -= len(segment.records)
        raise IndexError(index)
