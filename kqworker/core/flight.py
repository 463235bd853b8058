"""A task on its way through a worker, and what must be remembered of it meanwhile.

Pure. Tested through tests/core/test_messages.py.
"""

from __future__ import annotations

from kqworker.core.epochs import Epoch
from kqworker.core.lanes import Lane
from kqworker.types import Outcome, Segment, Task


class Flight:
    """A task that a worker has, with what the supervisor must remember of it."""

    __slots__ = ("alone", "lanes", "outcomes", "parts", "settled", "task", "unbegun")

    def __init__(self, task: Task, parts: list[tuple[Epoch, Segment]], lanes: list[Lane]) -> None:
        self.task = task
        self.parts = parts
        self.lanes = lanes
        self.alone = False  # a suspect, which has no lane
        self.outcomes: dict[int, Outcome] = {}
        self.unbegun: set[int] = set()  # handed back so far: told before the slot moves on
        self.settled: set[int] = set()  # before the worker was done with the task

    @property
    def open(self) -> int:
        """How many of its messages are not settled."""
        return len(self.task) - len(self.settled)

    def locate(self, index: int) -> tuple[Epoch, Segment, int]:
        """Return the epoch and the segment of message `index`, and its index in there."""
        for epoch, segment in self.parts:
            if index < len(segment.records):
                return epoch, segment, index
            index -= len(segment.records)
        raise IndexError(index)
