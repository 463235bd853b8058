"""Records on their way to Kafka, and the messages that wait for them.

A message is finished only when every record that it led to is in the log. What can be
tried again is tried again, for ever and visibly: nothing is dropped. That a topic takes no records
is told at once and then now and then, however many there are and however often they are tried.

Pure. Knows nothing of workers or lanes.
Tested by tests/core/test_deliveries.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from kqworker.core.commands import Produce
from kqworker.core.disposition import Accept, GiveUp
from kqworker.core.epochs import Epoch
from kqworker.types import Failure, Output, Records

FIRST_DELAY, LAST_DELAY = 0.5, 30.0
TELL_SECONDS = 60.0  # between two lines about one topic and one reason


class Pending:
    """A message that waits for its records.

    Attributes:
        records: The message alone.
        then: What becomes of it when all are in the log; it is given up where its dead letter is
            under way.
        waits: Records not yet in the log.
        stalled: One of them was not taken, and is to be tried again.
    """

    __slots__ = ("attempt", "epoch", "records", "stalled", "then", "waits")

    def __init__(
        self, epoch: Epoch, records: Records, attempt: int, waits: int, then: Accept | GiveUp
    ) -> None:
        self.epoch = epoch
        self.records = records
        self.attempt = attempt
        self.waits = waits
        self.stalled = False
        self.then = then


class Ticket:
    """One record under way, for one message."""

    __slots__ = ("number", "output", "pending", "tries")

    def __init__(self, number: int, pending: Pending, output: Output) -> None:
        self.number = number
        self.pending = pending
        self.output = output
        self.tries = 0

    def delay(self) -> float:
        """Return the seconds to wait after one more delivery that failed."""
        self.tries += 1
        return min(LAST_DELAY, FIRST_DELAY * 2.0 ** min(self.tries - 1, 16))


class Deliveries:
    """All records under way, by ticket."""

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._number = 0
        self._told: dict[tuple[str, str], float] = {}  # when, by topic and kind of failure

    def open(self, pending: Pending, outputs: Iterable[Output]) -> list[Produce]:
        """Issue a ticket for each record that a message waits for."""
        commands = []
        for output in outputs:
            self._number += 1
            self._tickets[self._number] = Ticket(self._number, pending, output)
            commands.append(Produce(self._number, output))
        return commands

    def get(self, number: int) -> Ticket | None:
        """Return a ticket that is open; None for any other number."""
        return self._tickets.get(number)

    def tell(self, ticket: Ticket, failure: Failure, now: float) -> Failure | None:
        """Return what is to be said of a delivery that failed, if anything is to be said now."""
        topic = ticket.output.topic
        kind = topic, failure.type
        last = self._told.get(kind)
        if last is not None and now < last + TELL_SECONDS:
            return None
        self._told[kind] = now
        waiting = sum(1 for t in self._tickets.values() if t.tries and t.output.topic == topic)
        return replace(failure, text=f"{failure.text}; undeliverable to {topic!r}: {waiting:,}")

    def close(self, ticket: Ticket) -> None:
        """Forget a ticket: its record is in the log, or no message waits for it any more."""
        self._tickets.pop(ticket.number, None)

    def awaiting(self) -> Iterator[Pending]:
        """Yield the messages of epochs that live that wait for them, once a record."""
        for ticket in self._tickets.values():
            if ticket.pending.epoch.live and ticket.pending.waits:
                yield ticket.pending

    def stalled(self) -> int:
        """Return how many records have failed and are to be tried again."""
        return sum(1 for ticket in self._tickets.values() if ticket.tries)
