"""When a commit is made, and of what: in intervals, and where somebody waits for one.

What may be committed of each partition is `epochs`'; what suspects need confirmed, `suspects`
says. Pure. Tested by tests/core/test_supervisor.py, test_suspects.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Sequence

from kqworker.core.commands import Command, Commit
from kqworker.core.epochs import Epoch, Epochs
from kqworker.core.events import Committed
from kqworker.core.limits import Limits
from kqworker.core.messages import Messages
from kqworker.core.workforce import Workforce

AGAIN_SECONDS = 0.5  # at the end, after a commit that failed
# So long after an assignment commits come so fast: should this supervisor be ended by what it
# has just begun, the next one must know how far that was.
HURRY_SECONDS, HURRIED_SECONDS = 1.0, 0.05


class Committing:
    """The commits of a supervisor.

    Args:
        epochs: What is owned.
        messages: Has the suspects, and knows how many messages may begin until the next commit.
        workforce: Whether workers have anything.
        limits: The interval.
        out: Where commands go.
    """

    def __init__(
        self,
        epochs: Epochs,
        messages: Messages,
        workforce: Workforce,
        limits: Limits,
        out: list[Command],
    ) -> None:
        self._epochs = epochs
        self._messages = messages
        self._workforce = workforce
        self._limits = limits
        self._out = out
        self._next = 0.0
        self._hurry_until = float("-inf")

    @property
    def deadline(self) -> float:
        """When `due` makes the next commit."""
        return self._next

    def start(self, now: float) -> None:
        """Begin to count the interval."""
        self._next = now + self._limits.commit_interval

    def at_once(self, now: float) -> None:
        """Make the next commit now, when `due` is called."""
        self._next = now

    def hurry(self, now: float) -> None:
        """Commit often for a while, where it counts how far messages have begun."""
        if self._limits.suspects:
            self._hurry_until = now + HURRY_SECONDS
            self._next = min(self._next, now + self._interval(now))

    def _interval(self, now: float) -> float:
        """Return the seconds to the next commit: few, until it is known what has begun."""
        interval = self._limits.commit_interval
        return min(interval, HURRIED_SECONDS) if now < self._hurry_until else interval

    def due(self, now: float) -> None:
        """Commit if it is time to."""
        if now >= self._next:
            self._next = now + self._interval(now)
            self.commit()

    def commit(self, epochs: Sequence[Epoch] = ()) -> None:
        """Commit what can be, of these or, where none is given, of all."""
        owner, workers = self._messages.suspects.owner, self._workforce.pool.size
        these = epochs or self._epochs
        for epoch in these if owner else ():
            if epoch.awaited is None and epoch.owner == owner:
                interval = self._limits.commit_interval
                epoch.may_begin(self._messages.margin(epoch.handler, workers, interval))
        marks, reports = self._epochs.ask(these)
        self._out += reports
        if marks:
            self._out.append(Commit(marks))

    def confirm(self, now: float) -> None:
        """Take the next steps with suspects, and have their commits confirmed."""
        suspects = self._messages.suspects
        flying, idle = self._workforce.flying_since, bool(self._workforce.pool.idle)
        suspects.step(now, flying, idle)
        urgent = suspects.urgent(now)
        if urgent:
            self.commit(urgent)
            if suspects.nothing_to_ask(urgent):
                suspects.step(now, flying, idle)

    def answered(self, event: Committed, now: float, ends: bool) -> None:
        """Take the broker's answer.

        Args:
            event: The answer.
            now: The time.
            ends: The end waits for it.
        """
        # A late answer to a former epoch's commit is none to this one's.
        found = ((self._epochs.get(partition), mark) for partition, mark in event.marks.items())
        epochs = [epoch for epoch, mark in found if epoch is not None and epoch.awaited == mark]
        self._out += self._epochs.answered(event)
        if self._messages.suspects.any:
            self._messages.suspects.answered(epochs, now, event.error is None)
        if any(epoch.draining and epoch.told and not epoch.begun for epoch in epochs):
            self._next = now  # it still names one that is given back in order
        if event.too_large:
            self._next = now  # at once again, with a smaller map
        elif ends:
            # The end waits for what this one held up, and not for the next interval.
            again = now if event.error is None else now + AGAIN_SECONDS
            self._next = min(self._next, again)
