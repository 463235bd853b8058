"""Carries out what becomes of a message: it is done, waits for its records, or goes back.

A message that led to records is finished only when all of them are in the log. `disposition`
decides what becomes of a message; `messages` decides when it runs again.

Pure: no Kafka, no clock, no process. Tested by tests/core/test_messages.py,
test_lost_messages.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from kqworker.core.backpressure import Backpressure
from kqworker.core.circles import Circles
from kqworker.core.commands import Command, Produce, Report, ReportKind
from kqworker.core.deadletter import shortened, truncated
from kqworker.core.deliveries import Deliveries, Pending, Ticket
from kqworker.core.disposition import (
    Accept,
    Deliver,
    Disposition,
    GiveUp,
    HandBack,
    RetryAt,
    decide,
)
from kqworker.core.epochs import Epoch
from kqworker.core.events import Delivered
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Random
from kqworker.types import Failure, Outcome, Records, Verdict


class Settling:
    """The ends of messages, and those that wait for their records.

    Args:
        policies: The handlers, in the app's order.
        backpressure: The bounds of what is held.
        later: Has `again` called with a record at a time.
        out: Where commands go.
        random: For the jitter of retries, and what is to be counted.

    Attributes:
        handled: Messages that were accepted.
        failed: Messages that were dead-lettered or dropped.
        retried: Attempts that were followed by another.
    """

    def __init__(
        self,
        policies: Sequence[HandlerPolicy],
        backpressure: Backpressure,
        later: Callable[[float, Ticket], None],
        out: list[Command],
        random: Random,
    ) -> None:
        self._policies = policies
        self._backpressure = backpressure
        self._later = later
        self._out = out
        self._random = random
        self._deliveries = Deliveries()
        self._circles = Circles(random)
        self.handled = self.failed = self.retried = 0

    def settle(
        self, epoch: Epoch, records: Records, attempt: int, outcome: Outcome
    ) -> float | None:
        """Decide what becomes of a message, and carry it out.

        Args:
            epoch: Whose it is; it lives.
            records: The message alone.
            attempt: How many attempts it has had.
            outcome: Of the last of them.

        Returns:
            The seconds until its next attempt, if it has one.
        """
        policy = self._policies[epoch.handler]
        disposition = decide(policy, records, attempt, outcome, self._circles, self._random)
        return self.carry_out(disposition, epoch, records, attempt)

    def carry_out(
        self, disposition: Disposition, epoch: Epoch, records: Records, attempt: int
    ) -> float | None:
        """Do with messages what was decided.

        Args:
            disposition: What becomes of each.
            epoch: Whose they are.
            records: The message alone; more only to be accepted or handed back.
            attempt: How many attempts each has had, with this one.

        Returns:
            The seconds until the next attempt, if there is one.
        """
        if not epoch.live:
            return None  # the messages are somebody else's
        match disposition:
            case Accept():
                self._finish(epoch, records, attempt > 1)
                self.handled += len(records.values)
            case GiveUp(failure, kind, circles):
                self._tell_circles(circles, epoch, records, attempt)
                self.failed += 1
                self.report(kind, epoch, records, 0, attempt, failure)
                self._finish(epoch, records)
            case Deliver(outputs, then, circles):
                self._tell_circles(circles, epoch, records, attempt)
                if isinstance(then, GiveUp):
                    epoch.attempted(records.offsets[0], attempt)
                pending = Pending(epoch, records, attempt, len(outputs), then)
                self._out += self._deliveries.open(pending, outputs)
            case RetryAt(delay, failure):
                epoch.attempted(records.offsets[0], attempt)
                epoch.take_back(1)
                if epoch.draining:
                    return None
                self.retried += 1
                self.report(ReportKind.RETRYING, epoch, records, 0, attempt, failure, delay)
                return delay
            case HandBack():
                epoch.take_back(len(records.values))
            case _:
                assert_never(disposition)
        return None

    def _tell_circles(
        self, circles: tuple[Failure, ...], epoch: Epoch, records: Records, attempt: int
    ) -> None:
        for circle in circles:
            self.report(ReportKind.CIRCLE, epoch, records, 0, attempt, circle)

    def _finish(self, epoch: Epoch, records: Records, tried: bool = True) -> None:
        epoch.finish(records, tried)
        self._backpressure.finish(epoch, len(records.values), records.size)

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
                self._stalls_no_more(pending)
                self.carry_out(pending.then, epoch, pending.records, pending.attempt)
        elif event.retriable or isinstance(pending.then, GiveUp):
            if event.too_large and self._made_smaller(ticket, event.failure):
                self._out.append(Produce(ticket.number, ticket.output))
                return
            if not pending.stalled:
                pending.stalled = True
                self._backpressure.wait(epoch, pending.records.size, undelivered=True)
            self._later(now + ticket.delay(), ticket)
            told = self._deliveries.tell(ticket, event.failure, now)
            if told is not None:
                self.report(ReportKind.STALLED, epoch, pending.records, 0, pending.attempt, told)
        else:
            # An output that Kafka refuses for good would be refused again.
            self._deliveries.close(ticket)
            pending.waits = 0
            self._stalls_no_more(pending)
            refused = Outcome(0, Verdict.REJECT, event.failure)
            self.settle(epoch, pending.records, pending.attempt, refused)

    def _made_smaller(self, ticket: Ticket, failure: Failure) -> bool:
        """Shorten or cut a dead letter that its topic never takes; return whether that was done."""
        pending, letter = ticket.pending, ticket.output
        if not isinstance(pending.then, GiveUp):
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
            kind, attempt = ReportKind.TRUNCATED, pending.attempt
            self.report(kind, pending.epoch, pending.records, 0, attempt, failure)
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
            self.report(
                ReportKind.ABANDONED, pending.epoch, pending.records, 0, pending.attempt, failure
            )

    def _stalls_no_more(self, pending: Pending) -> None:
        if pending.stalled:
            self._backpressure.go_on(pending.epoch, pending.records.size, undelivered=True)

    def report(
        self,
        kind: ReportKind,
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
            Report(kind, name, records.partition, offset, attempt, delay, failure=failure)
        )
