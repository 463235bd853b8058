"""Where messages wait that must not run beside others, or not yet; and whose turn it is.

`suspects` decides which messages these are, and names them in commits.

Pure: no Kafka, no clock, no process.
Tested by tests/core/test_suspects.py, test_suspects_room.py, test_turns.py and every run in
tests/sim.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from kqworker.core.epochs import Epoch
from kqworker.core.lanes import Queue, Span
from kqworker.types import Ordering

# What is fetched later than that was not there before; a pause does not count.
FETCH_SECONDS = 10.0
# What is not suspected may begin for so long before suspects do, since not all of it is fetched
# at once; for so long at most where there is more of it; and again when those have run as long.
SETTLE_SECONDS, TURN_SECONDS = 2.0, 10.0


class Ward:
    """Messages of one epoch that must not run beside others, or not yet.

    Attributes:
        below: Those with lower offsets are suspects; 0: none that is still to come.
        begun_below: Those with lower offsets may have begun, though not all have room as
            suspects; others have not.
        until: What is fetched later is none; None once that time is over.
        since: When its partition was assigned.
        taken: Suspects that have come, those that have run included.
        lanes: The lanes of those: what comes behind them in one waits until all are through.
        waiting: The suspects, each alone in its span, by ascending offsets.
        behind: What had not begun, until the first commit is confirmed.
        kept: What waits until all suspects are through: one of them has its lane, or it may
            have begun.
        unsure: Some of that may have begun.
        failures, again_at: Commits that failed in a row, and when the next is due.
    """

    __slots__ = (
        "_ordering",
        "again_at",
        "begun_below",
        "behind",
        "below",
        "epoch",
        "failures",
        "kept",
        "lanes",
        "since",
        "taken",
        "unsure",
        "until",
        "waiting",
    )

    def __init__(self, epoch: Epoch, ordering: Ordering, now: float) -> None:
        self.epoch = epoch
        self._ordering = ordering
        self.below = self.begun_below = 0
        self.until: float | None = now + FETCH_SECONDS
        self.since = now
        self.taken = 0
        self.lanes: set[object] = set()
        self.waiting: list[Span] = []
        self.behind: list[Span] = []
        self.kept: list[Span] = []
        self.unsure = False
        self.failures = 0
        self.again_at: float | None = None

    def lane(self, span: Span) -> object:
        """Return what the first message of a span must keep its order in."""
        if self._ordering is Ordering.PARTITION:
            return None
        keys, at = span.records.keys, span.start
        key = None if self._ordering is Ordering.UNORDERED or keys is None else keys[at]
        return span.records.offsets[at] if key is None else key

    def heads(self, queue: Queue) -> list[tuple[int, Span]]:
        """Return the suspects that their order lets run now, each behind its place.

        Args:
            queue: Holds the lanes of suspects that have failed and will be tried again.
        """
        placed = list(enumerate(self.waiting))
        lanes = {self.lane(span): (place, span) for place, span in reversed(placed)}
        return [(place, span) for place, span in lanes.values() if not _is_held(span, queue)]

    def is_through(self, queue: Queue) -> bool:
        """Return whether no suspect can run now."""
        return all(_is_held(span, queue) for span in self.waiting)

    def take_in(self, span: Span, room: int) -> None:
        """Let messages wait here; they ascend from call to call.

        Args:
            span: The messages.
            room: How many of them may be suspects.
        """
        epoch, records, start, stop, attempt = span
        until = bisect_left(records.offsets, self.below, start, stop)
        if until - start > room:
            until = start + room
            self.below = records.offsets[until]
        self.taken += until - start
        for i in range(start, until):
            span = Span(epoch, records.slice(i, i + 1), 0, 1, attempt)
            self.waiting.append(span)
            self.lanes.add(self.lane(span))
        begun = bisect_left(records.offsets, self.begun_below, until, stop)
        if until < begun:
            self.unsure = True
            span = Span(epoch, records, until, begun, attempt)
            self.kept.append(span)
            self.lanes.update(map(self.lane, self._parts(span)))
        if begun < stop:
            self.behind.append(Span(epoch, records, begun, stop, attempt))

    def look(self, now: float) -> None:
        """Take for none of them what comes from now on, once the time for that is over."""
        if self.until is not None and self.epoch.stock.paused:
            self.until = now + FETCH_SECONDS  # it cannot be fetched
        elif self.until is not None and now >= self.until:
            # What is fetched ahead was there before, though its turn has not come.
            position = self.epoch.offsets.position or 0
            self.below = min(self.below, position)
            self.begun_below = min(self.begun_below, position)
            self.until = None

    def let_by(self) -> list[Span]:
        """Give up what had not begun; keep what is behind a suspect in its lane."""
        found: list[Span] = []
        for span in self.behind:
            for part in self._parts(span):
                (self.kept if self.lane(part) in self.lanes else found).append(part)
        self.behind.clear()
        return found

    def let_go(self) -> list[Span]:
        """Give up what is kept, now that all are through but for those that wait for a retry."""
        lanes = {self.lane(span) for span in self.waiting}
        if lanes == self.lanes and not self.unsure:
            return []
        self.lanes, self.unsure = lanes, False
        self.behind[:0] = self.kept
        self.kept.clear()
        return self.let_by()

    def _parts(self, span: Span) -> Iterable[Span]:
        """Return what is of one lane at a time, as far as that makes a difference."""
        if not self.lanes or self._ordering is not Ordering.KEY:
            return (span,)
        return (span._replace(start=i, stop=i + 1) for i in range(span.start, span.stop))

    def back(self, span: Span) -> None:
        """Take back a suspect that was not begun."""
        offset = span.records.offsets[0]
        at = bisect_left([other.records.offsets[0] for other in self.waiting], offset)
        self.waiting.insert(at, span)

    def acquit(self, running: Span | None) -> None:
        """Suspect no message any more, except one that runs already."""
        self.behind[:0] = self.waiting + self.kept
        self.waiting.clear()
        self.kept.clear()
        self.lanes = set() if running is None else {self.lane(running)}
        self.below = self.begun_below = self.failures = 0
        self.again_at, self.unsure = None, False


def _is_held(span: Span, queue: Queue) -> bool:
    return queue.lane_of(span.epoch, span.records, span.start) is not None


class Turns:
    """Whether suspects may begin, or what is not suspected has its turn: that has the first.

    Attributes:
        theirs: It is the suspects' turn.
    """

    def __init__(self) -> None:
        self.theirs = False
        self._begun = False
        self._ends = 0.0
        self._settled_at = 0.0

    def more(self, now: float, first: bool) -> None:
        """Note that a partition was assigned that may hold suspects.

        Args:
            now: The time.
            first: No other suspect waits or runs.
        """
        if first:
            self._begun = False
        self._settled_at = now + SETTLE_SECONDS

    def of_suspects(self, now: float, busy: bool) -> bool:
        """Return whether it is the suspects' turn; call it while any waits, and a worker is up.

        Args:
            now: The time.
            busy: Whether there is anything else to begin, or at work.
        """
        if not self._begun or (self.theirs and now >= self._ends):
            self._begun, self.theirs = True, False
            self._ends, self._settled_at = now + TURN_SECONDS, now + SETTLE_SECONDS
        if not self.theirs and now >= self.ends(busy):
            self.theirs, self._ends = True, now + TURN_SECONDS
        return self.theirs

    def ends(self, busy: bool) -> float:
        """Return when the turn ends that it is now."""
        return self._ends if busy or self.theirs else min(self._settled_at, self._ends)
