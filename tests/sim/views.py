"""What is known of an epoch, and of each message that is open in it.

Filled in by `oracle`, from what the supervisor was told.
"""

from __future__ import annotations

from collections import deque

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.completion import Completion, decode
from kqworker.core.suspects import UNKNOWN
from kqworker.types import TopicPartition
from tests.sim.scenario import Message


class Entry:
    """An open message of an epoch, as far as the supervisor has been told.

    Attributes:
        alone: It was sent as a suspect, so nothing else may begin until it is back.
        state: waiting for a worker, out with one, sinking (its records are under way), or
            parked: out of a draining epoch's hands.
        known: Attempts that the supervisor knows of.
        due: It must not be sent before; and by `latest` it can be.
        waits: Its records that are not in the log; `unissued` those that no command named.
    """

    __slots__ = (
        "alone",
        "due",
        "known",
        "lane",
        "latest",
        "letter",
        "message",
        "offset",
        "sent",
        "size",
        "state",
        "unissued",
        "view",
        "waits",
    )

    def __init__(self, view: View, message: Message, known: int) -> None:
        self.view = view
        self.message = message
        self.offset = message.offset
        self.known = known
        self.state = "waiting"
        self.alone = False
        self.sent = False
        self.due = self.latest = -1.0
        self.waits = 0
        self.letter = False
        self.unissued: list[bytes] = []
        self.lane: deque[Entry] | None = None
        self.size = len(message.key or b"") + len(message.value or b"")

    def __repr__(self) -> str:
        return f"<{self.message!r} {self.state} known={self.known}>"


class View:
    """An epoch, as far as the supervisor has been told.

    Attributes:
        below: What is open below it may have been begun by a supervisor that did not end in
            order.
        inherited: What was committed when it was assigned in the middle of a stop: then
            nothing of it begins, and nothing need be said of it.
        announced: A commit of this supervisor was confirmed; `told` is what it names as begun.
        full: It was said that the map does not fit, at `full_since`.
        let_in: The last offset that was at work; `tried` the last that a former owner tried.
        hungry: Since when nothing is in memory of it, with where its member stands.
        dirty: Since when there is something to commit; None if there is nothing.
    """

    def __init__(
        self, member: int, partition: TopicPartition, start: e.Start, now: float, owner: int
    ) -> None:
        self.member = member
        self.partition = partition
        self.reached = start.offset
        self.committed = -1 if start.offset is None else start.offset
        self.asked: c.Mark | None = None
        self.failed = False  # the last commit of it
        self.answered = now
        self.dirty: float | None = None
        self.full_since: float | None = None
        self.full = False
        self.draining = False
        self.unreadable = False  # it was told so, and nothing has come since
        self.open: dict[int, Entry] = {}
        self.finished: set[int] = set()
        self.lanes: dict[bytes | None, deque[Entry]] = {}
        found = None if start.offset is None else decode(start.metadata, start.offset)
        found = found or Completion()
        self.skip = {offset for run in found.done for offset in range(*run)}
        self.partitions = found.partitions if start.partitions is None else start.partitions
        self.attempts = dict(found.attempts)
        self.inherited: c.Mark | None = None
        self.announced = not owner
        self.failures = 0
        self.told: tuple[int, ...] = ()
        self.confirmed: c.Mark | None = None
        self.below = 0
        self.let_in = -1
        self.hungry: tuple[float, int] | None = None
        unclean = owner and found.owner not in (0, owner) and not found.clean
        if unclean and start.offset is not None:
            self.below = found.handed or start.offset + UNKNOWN
            for offset in found.begun:
                self.attempts[offset] = self.attempts.get(offset, 0) + 1
        self.tried = max(self.attempts, default=-1)

    def guarded(self) -> bool:
        """Whether messages may have to wait for those that ran, or may have run, before."""
        if not self.announced or self.told:
            return True
        return any(x.offset < self.below and not x.sent for x in self.open.values())

    def suspects(self) -> list[Entry]:
        """What is to run alone for the first time and waits for that, by ascending offsets."""
        waiting = (x for x in self.open.values() if x.state == "waiting" and not x.sent)
        return sorted((x for x in waiting if x.offset < self.below), key=lambda x: x.offset)
