"""How a run ends: drain, commit, dismiss the workers; each step has its time.

Also decides when a run that is to catch up has done so. Pure: no Kafka, no process.
Tested by tests/core/test_shutdown.py and by every run in tests/sim.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from kqworker.core.commands import End
from kqworker.core.epochs import Epochs
from kqworker.types import Failure, TopicPartition

COMMIT_SECONDS = 5.0
DISMISS_SECONDS = 5.0
# A killed worker is waited for so long at the end: one that hangs in the kernel, on a
# disk that has gone, outlasts SIGKILL.
DEATH_SECONDS = 5.0


class Phase(enum.Enum):
    """How far the end has come."""

    __hash__ = object.__hash__  # as of `State`

    RUNNING = "running"
    DRAINING = "draining"  # what is handed over may finish
    COMMITTING = "committing"  # what is finished is committed
    DISMISSING = "dismissing"  # the workers run their stop hooks
    OVER = "over"


# The phase after each, and the seconds that it may take; None: the caller's grace.
PHASES: dict[Phase, tuple[Phase, float | None]] = {
    Phase.RUNNING: (Phase.DRAINING, None),
    Phase.DRAINING: (Phase.COMMITTING, COMMIT_SECONDS),
    Phase.COMMITTING: (Phase.DISMISSING, DISMISS_SECONDS),
    Phase.DISMISSING: (Phase.OVER, 0.0),
}


class Shutdown:
    """The way from running to over."""

    def __init__(self) -> None:
        self.phase = Phase.RUNNING
        self.end = End.CLEAN
        self.failure: Failure | None = None
        self.deadline: float | None = None
        self.visited: set[tuple[Phase, Phase]] = set()
        self._overdue = 0  # 1: the time of the phase is used up; 2: that for deaths, too
        self._targets: Mapping[TopicPartition, int] | None = None

    def begin(self, end: End, failure: Failure | None, grace: float, now: float) -> bool:
        """Start the end, or hurry it on; return whether it is the start.

        A later request can only shorten the time, and never that of the commits: without
        them all that was finished runs again. A failure outweighs a clean end.
        """
        if end is not End.CLEAN and self.end is End.CLEAN:
            self.end, self.failure = end, failure
        if self.phase is Phase.RUNNING:
            self._enter(Phase.DRAINING, now + grace)
            return True
        hasty = self.phase in (Phase.DRAINING, Phase.DISMISSING) and not self._overdue
        if hasty and self.deadline is not None:
            self.deadline = min(self.deadline, now + grace)
        return False

    def abandoned(self, what: str) -> None:
        """Note that work was left undone; `what` is told where no message can be named."""
        if self.end is End.CLEAN:
            self.end = End.ABANDONED
            self.failure = Failure("Abandoned", what)

    def advance(self, now: float) -> None:
        """Go to the next phase."""
        phase, seconds = PHASES[self.phase]
        self._enter(phase, None if phase is Phase.OVER or seconds is None else now + seconds)

    def _enter(self, phase: Phase, deadline: float | None) -> None:
        self.visited.add((self.phase, phase))
        self.phase, self.deadline, self._overdue = phase, deadline, 0

    def late(self, now: float) -> bool:
        """Return whether the present phase has used up its time."""
        if self.deadline is not None and now >= self.deadline:
            self._overdue += 1
            self.deadline = now + DEATH_SECONDS if self._overdue == 1 else None
        return self._overdue > 0

    @property
    def hopeless(self) -> bool:
        """Whether workers that were killed when the phase was late have not ended since."""
        return self._overdue > 1

    # -- catching up

    def catch_up(self, targets: Mapping[TopicPartition, int]) -> None:
        """End once everything below `targets` is finished; newer targets replace them."""
        self._targets = targets

    def remaining(self, epochs: Epochs) -> int | None:
        """Return the offsets still to be finished; None without a target or partitions."""
        if self._targets is None or (self._targets and not len(epochs)):
            return None
        return epochs.remaining(self._targets)

    def elsewhere(self, epochs: Epochs) -> int:
        """Return how many of the targets are in partitions that are not owned."""
        return sum(epochs.get(partition) is None for partition in self._targets or ())

    def caught_up(self, epochs: Epochs) -> bool:
        """Return whether all targets are reached.

        A target in a partition that is not owned never is: nobody here knows what has
        become of it. It may be on its way from one member to another.
        """
        if self._targets is None or self.phase is not Phase.RUNNING:
            return False
        return all(epochs.reached(p, target) for p, target in self._targets.items())
