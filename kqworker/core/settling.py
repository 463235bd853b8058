"""How a message comes to its end: handled, dropped, or in the dead-letter topic.

Who has led to records is finished only when all of them are in the log. Knows nothing of
workers, nor of which message runs when: `messages` decides what is tried again.

Pure: no Kafka, no clock, no process. Tested by tests/core/test_messages.py,
test_lost_messages.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kqworker.core.circles import Circles
from kqworker.core.commands import Command, Note, Produce, Report
from kqworker.core.deadletter import comes_round, dead_letter, shortened, truncated
from kqworker.core.deliveries import Deliveries, Pending, Ticket
from kqworker.core.epochs import Epoch
from kqworker.core.events import Delivered
from kqworker.core.flow import Flow
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Random
from kqworker.types import Failure, Output, Records


class Settling:
    """The ends of messages, and those that wait for their records.

    Args:
        policies: The handlers, in the app's order.
        flow: The bounds of what is held.
        later: Has `again` called with a record at a time.
        out: Where commands go.
        random: Decides which of what is produced begin to count.

    Attributes:
        handled: Messages that were accepted.
        failed: Messages that were dead-lettered or dropped.
    """

    def __init__(
        self,
        policies: Sequence[HandlerPolicy],
        flow: Flow,
        later: Callable[[float, Ticket], None],
        out: list[Command],
        random: Random,
    ) -> None:
        self._policies = policies
        self._flow = flow
        self._later = later
        self._out = out
        self._deliveries = Deliveries()
        self._circles = Circles(random)
        self.handled = self.failed = 0

    def accept(self, epoch: Epoch, records: Records, attempt: int) -> None:
        """Finish messages that were handled and have led to no record."""
        if epoch.live:
            self._finish(epoch, records, attempt > 1)
            self.handled += len(records.values)

    def _finish(self, epoch: Epoch, records: Records, tried: bool = True) -> None:
        count = len(records.values)
        epoch.busy -= count
        epoch.finish(records, tried)
        self._flow.finish(epoch, count, records.size)

    def deliver(
        self, epoch: Epoch, records: Records, attempt: int, outputs: Sequence[Output]
    ) -> None:
        """Produce what a message has led to; it is handled when all of that is in the log.

        It has failed for good if one of its records may come round for ever.
        """
        name = self._policies[epoch.handler].name
        outputs, told, over = self._circles.count(name, records, outputs)
        if told is not None:
            self.report(Note.CIRCLE, epoch, records, 0, attempt, told)
        if over is not None:
            epoch.attempts[records.offsets[0]] = attempt
            self.dispose(epoch, records, attempt, over)
            return
        pending = Pending(epoch, records, attempt, len(outputs), None)
        self._out += self._deliveries.open(pending, outputs)

    def dispose(self, epoch: Epoch, records: Records, had: int, failure: Failure) -> None:
        """Dead-letter a message that is out of attempts, or say that it is accepted so."""
        policy = self._policies[epoch.handler]
        if policy.dead_letter is None:
            self.report(Note.GAVE_UP, epoch, records, 0, had, failure)
            self._give_up(epoch, records)
            return
        way = f"{policy.name} ({epoch.partition.topic}) to {policy.dead_letter}"
        circle, over = comes_round(records, 0, way)
        if circle is not None:
            note = Note.BROKE_CIRCLE if over else Note.CIRCLE
            self.report(note, epoch, records, 0, had, circle)
        if over:
            self._give_up(epoch, records)
            return
        letter = dead_letter(policy.dead_letter, records, 0, had, policy.name, failure)
        pending = Pending(epoch, records, had, 1, failure)
        self._out += self._deliveries.open(pending, (letter,))

    def _give_up(self, epoch: Epoch, records: Records) -> None:
        self.failed += 1
        self._finish(epoch, records)

    @property
    def delivering(self) -> bool:
        """Whether a message of a present epoch waits for its records."""
        return any(self._deliveries.awaiting())

    @property
    def stalled(self) -> int:
        """Records that have failed and are to be tried again."""
        return self._deliveries.stalled()

    def delivered(self, event: Delivered, now: float) -> None:
        """Take the answer for one record; its message is done with the last of them."""
        ticket = self._deliveries.get(event.ticket)
        if ticket is None:
            return
        pending = ticket.pending
        epoch = pending.epoch
        if not epoch.live or pending.waits == 0:
            self._deliveries.close(ticket)
        elif event.failure is None:
            self._deliveries.close(ticket)
            pending.waits -= 1
            if pending.waits == 0:
                self._delivered_all(pending)
        elif event.retriable or pending.dead is not None:
            if event.too_large and self._made_smaller(ticket, event.failure):
                self._out.append(Produce(ticket.number, ticket.output))
                return
            if not pending.stalled:
                pending.stalled = True
                self._flow.wait(epoch, pending.records.size, undelivered=True)
            self._later(now + ticket.delay(), ticket)
            told = self._deliveries.tell(ticket, event.failure, now)
            if told is not None:
                self.report(Note.STALLED, epoch, pending.records, 0, pending.attempt, told)
        else:
            # An output that Kafka refuses for good would be refused again.
            self._deliveries.close(ticket)
            pending.waits = 0
            self._stalls_no_more(pending)
            epoch.attempts[pending.records.offsets[0]] = pending.attempt
            self.dispose(epoch, pending.records, pending.attempt, event.failure)

    def _made_smaller(self, ticket: Ticket, failure: Failure) -> bool:
        """Shorten or cut a dead letter that its topic never takes; return whether that was done."""
        pending, letter = ticket.pending, ticket.output
        if pending.dead is None:
            return False
        ticket.output = shortened(letter)
        if ticket.output != letter:
            return True
        if self._policies[pending.epoch.handler].dead_letter_overflow != "truncate":
            return False
        cut = truncated(letter)
        if cut is None:
            return False
        if len(cut.headers) > len(letter.headers):
            note, attempt = Note.TRUNCATED, pending.attempt
            self.report(note, pending.epoch, pending.records, 0, attempt, failure)
        ticket.output = cut
        return True

    def again(self, ticket: Ticket) -> None:
        """Produce a record once more that was not delivered, if its message still waits."""
        if ticket.pending.waits:
            self._out.append(Produce(ticket.number, ticket.output))
        else:
            self._deliveries.close(ticket)

    def forget(self, ticket: Ticket) -> None:
        """Let go of a record whose message is somebody else's now."""
        self._deliveries.close(ticket)

    def abandon(self) -> None:
        """Name the messages that are left because their records cannot be delivered."""
        failure = Failure("Undelivered", "its outputs or its dead letter were not delivered")
        for pending in dict.fromkeys(self._deliveries.awaiting()):
            self.report(Note.ABANDONED, pending.epoch, pending.records, 0, pending.attempt, failure)

    def _stalls_no_more(self, pending: Pending) -> None:
        if pending.stalled:
            self._flow.go_on(pending.epoch, pending.records.size, undelivered=True)

    def _delivered_all(self, pending: Pending) -> None:
        epoch = pending.epoch
        self._stalls_no_more(pending)
        if pending.dead is None:
            self.handled += 1
        else:
            self.failed += 1
            self.report(
                Note.DEAD_LETTERED, epoch, pending.records, 0, pending.attempt, pending.dead
            )
        self._finish(epoch, pending.records)

    def report(
        self,
        note: Note,
        epoch: Epoch,
        records: Records,
        index: int,
        attempt: int,
        failure: Failure,
        delay: float = 0.0,
    ) -> None:
        """Say what has happened to a message."""
        name = self._policies[epoch.handler].name
        offset = records.offsets[index]
        self._out.append(
            Report(note, name, records.partition, offset, attempt, delay, failure=failure)
        )
