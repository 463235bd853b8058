"""The life of a message: fetched, waiting, handed over, and then tried again or settled.

Pure: no Kafka, no clock, no process. Knows nothing of workers: it hands out flights and
takes them back.
Tested by tests/core/test_messages.py, test_lost_messages.py and every run in tests/sim.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from kqworker.core.backpressure import Backpressure
from kqworker.core.batch_size import FRAME_BYTES, BatchSize
from kqworker.core.commands import Command
from kqworker.core.deliveries import Ticket
from kqworker.core.disposition import Accept, HandBack
from kqworker.core.epochs import Epoch, Epochs
from kqworker.core.events import Fetched
from kqworker.core.in_flight import InFlightTask
from kqworker.core.lanes import Lane, Span, queue_for, segments_of
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Random
from kqworker.core.settling import Settling
from kqworker.core.suspects import PER_PARTITION, UNKNOWN, Suspects
from kqworker.core.timers import Timers
from kqworker.types import Failure, Ordering, Outcome, Records, Segment, Task, Verdict

Timer = Span | Lane | Ticket
ACCEPT, HAND_BACK = Accept(), HandBack()


class Messages:
    """Every message that a supervisor holds, and what is promised for it.

    Args:
        policies: The handlers, in the app's order.
        epochs: What is owned.
        backpressure: The bounds of what is held.
        random: For the jitter of retries, and what is to be counted.
        out: Where commands go, in the order in which they are to be done.
        owner: The supervisor's number, below 2**64; 0: nobody is suspected of having ended
            a former one.
    """

    def __init__(
        self,
        policies: Sequence[HandlerPolicy],
        epochs: Epochs,
        backpressure: Backpressure,
        random: Random,
        out: list[Command],
        owner: int = 0,
    ) -> None:
        self._policies = policies
        self._queues = [queue_for(policy.ordering) for policy in policies]
        self._timers: Timers[Timer] = Timers()
        self._task = 0
        self._epochs = epochs
        self._backpressure = backpressure
        self.batch_sizes = [BatchSize() for _ in policies]
        self.suspects = Suspects(policies, owner, self._queues, out)
        self.settling = Settling(policies, backpressure, self._timers.put, out, random)

    # -- from Kafka

    def fetched(self, event: Fetched) -> None:
        """Take in messages; what is not owned, or was finished before, is passed over."""
        for records in event.records:
            epoch = self._epochs.of(event.member, records.partition)
            if epoch is None or epoch.draining:
                continue
            epoch.read_on()
            kept = epoch.offsets.admit(records.offsets)
            if kept is not None:
                if not kept:
                    continue
                records = records.pick(kept)
            if records.offsets[0] <= epoch.tried:
                known = bisect_right(records.offsets, epoch.tried)
                first, records = records.slice(0, known), records.slice(known, len(records))
                self._backpressure.admit(epoch, first)
                self._push_tried(epoch, first)
            if not len(records):
                continue
            if self._backpressure.put(epoch, records):
                self._take_in(Span(epoch, records, 0, len(records), 1))
        if self._backpressure.wanting:
            self.let_in()

    def let_in(self) -> None:
        """Queue what may go to work now, or let it wait with what is suspected."""
        for epoch, records, start, stop in self._backpressure.let_in():
            self._take_in(Span(epoch, records, start, stop, 1))

    def _take_in(self, span: Span) -> None:
        if span.epoch in self.suspects:
            self.suspects.take_in(span)
        else:
            self._queues[span.epoch.handler].push(span)

    def _push_tried(self, epoch: Epoch, records: Records) -> None:
        """Queue messages of which some had attempts before the supervisor was restarted."""
        policy = self._policies[epoch.handler]
        start = 0
        for i, offset in enumerate(records.offsets):
            had = epoch.attempts.get(offset)
            if had is None:
                continue
            if start < i:
                self._take_in(Span(epoch, records, start, i, 1))
            start = i + 1
            if had < policy.retry.attempts:
                self._take_in(Span(epoch, records, i, i + 1, had + 1))
            else:
                epoch.hold(1)
                text = f"had {had} attempts before a restart"
                if offset in epoch.former.begun:
                    text = f"had {had} attempts; at the last its supervisor ended"
                outcome = Outcome(0, Verdict.REJECT, Failure("AttemptsUsed", text))
                self.settling.settle(epoch, records.slice(i, i + 1), had, outcome)
        if start < len(records):
            self._take_in(Span(epoch, records, start, len(records), 1))

    def drain(self, epochs: Iterable[Epoch]) -> bool:
        """Begin nothing more of these epochs; return whether a commit names a suspect of them."""
        epochs = list(epochs)
        for epoch in epochs:
            epoch.drain()
            self._backpressure.drain(epoch)
        for queue in self._queues:
            queue.drop(epochs)
        return self.suspects.drop(epochs)

    def ended(self, epochs: Iterable[Epoch]) -> None:
        """Forget everything of epochs that are over."""
        epochs = list(epochs)
        for queue in self._queues:
            queue.drop(epochs)
        self.suspects.drop(epochs)
        for epoch in epochs:
            self._backpressure.forget(epoch)
        if epochs:
            self._forget_timers()
            self._backpressure.share_out(self._epochs)

    def _forget_timers(self) -> None:
        """Let go of what waits for epochs that are over, records included."""
        for timer in self._timers.keep(lambda timer: _epoch_of(timer).live):
            if isinstance(timer, Ticket):
                self.settling.forget(timer)
            elif isinstance(timer, Lane):
                self._queues[timer.epoch.handler].release(timer)

    # -- to and from workers

    def keeps(self, handler: int) -> bool:
        """Return whether what fails of a handler is kept as a dead letter."""
        return self._policies[handler].dead_letter is not None

    def name(self, handler: int) -> str:
        """Return a handler's name, for reports."""
        return self._policies[handler].name

    @property
    def waiting(self) -> list[int]:
        """The handlers with messages that may be taken now."""
        return [handler for handler, queue in enumerate(self._queues) if queue.ready]

    def ready(self, handler: int) -> int:
        """Return how many messages of a handler may be taken now."""
        return self._queues[handler].ready

    def take(self, handler: int, count: int) -> InFlightTask:
        """Take up to `count` ready messages of a handler as one task."""
        ordering = self._policies[handler].ordering
        spans, lanes = self._queues[handler].take(count, FRAME_BYTES)
        parts = segments_of(spans, ordering)
        return self._flight(handler, ordering, parts, lanes)

    def take_suspect(self, span: Span) -> InFlightTask:
        """Take a suspect as a task of its own."""
        handler = span.epoch.handler
        part = span.epoch, Segment(span.records, span.attempt)
        return self._flight(handler, self._policies[handler].ordering, [part], [], alone=True)

    def _flight(
        self,
        handler: int,
        ordering: Ordering,
        parts: list[tuple[Epoch, Segment]],
        lanes: list[Lane],
        alone: bool = False,
    ) -> InFlightTask:
        for epoch, segment in parts:
            epoch.hand_over(segment.records.offsets)
        self._task += 1
        task = Task(self._task, handler, ordering, tuple([segment for _, segment in parts]))
        return InFlightTask(task, parts, lanes, alone)

    def settle(self, flight: InFlightTask, now: float) -> None:
        """Take a task back: each message has an outcome, is unstarted, or was accepted.

        Args:
            flight: The task, with what its worker told; what it handed back goes back
                without suspicion.
            now: The time.
        """
        if flight.alone:
            self._settle_alone(flight, now)
            return
        waiting: set[Lane] = set()
        if flight.outcomes or flight.unstarted or flight.settled:
            self._settle_each(flight, now, waiting)
        else:
            for epoch, segment in flight.parts:
                self.settling.carry_out(ACCEPT, epoch, segment.records, segment.attempt)
        queue = self._queues[flight.task.handler]
        for lane in flight.lanes:
            if lane not in waiting:
                queue.release(lane)

    def _settle_alone(self, flight: InFlightTask, now: float) -> None:
        epoch, segment = flight.parts[0]
        outcome = flight.outcomes.get(0)
        self.suspects.done()
        if outcome is None and 0 not in flight.unstarted:
            self.settling.carry_out(ACCEPT, epoch, segment.records, segment.attempt)
        elif not epoch.live:
            return
        elif outcome is None:
            self.settling.carry_out(HAND_BACK, epoch, segment.records, segment.attempt)
            self.suspects.back(Span(epoch, segment.records, 0, 1, segment.attempt))
        elif (again := self._settle_one(epoch, segment, 0, outcome)) is not None:
            span, delay = again
            queue = self._queues[epoch.handler]
            self._timers.put(now + delay, queue.hold(span) or span)

    def settle_but(self, flight: InFlightTask, running: int | None, now: float) -> None:
        """Take a task back but for the message that its worker is on.

        Args:
            flight: The task, with what its worker told, and what it will not begin as
                unstarted.
            running: That message, which a later `settle` takes back; None if it is on
                another task: all of this one goes back.
            now: The time.
        """
        waiting: set[Lane] = set()
        self._settle_each(flight, now, waiting, running)
        queue = self._queues[flight.task.handler]
        held = None
        if running is not None:
            epoch, segment, i = flight.locate(running)
            held = queue.lane_of(epoch, segment.records, i)
        for lane in flight.lanes:
            if lane is not held and lane not in waiting:
                queue.release(lane)
        flight.settle_but(running, held)

    def _settle_each(
        self, flight: InFlightTask, now: float, waiting: set[Lane], running: int | None = None
    ) -> None:
        unstarted, settled = flight.unstarted, flight.settled
        queue = self._queues[flight.task.handler]
        back: list[Span] = []
        # A span is of one lane: by key, neighbours are joined when they are taken again.
        whole = flight.task.ordering is not Ordering.KEY
        base = 0
        for epoch, segment in flight.parts:
            records = segment.records
            accepted: list[int] = []
            handed_back: list[int] = []
            for i in range(len(records)):
                if base + i == running or base + i in settled:
                    continue
                outcome = flight.outcomes.get(base + i)
                if outcome is None and base + i not in unstarted:
                    accepted.append(i)
                elif not epoch.live:
                    continue
                elif outcome is None:
                    handed_back.append(i)
                    if epoch.draining:
                        continue
                    if back and back[-1].records is records and back[-1].stop == i and whole:
                        back[-1] = back[-1]._replace(stop=i + 1)
                    else:
                        back.append(Span(epoch, records, i, i + 1, segment.attempt))
                else:
                    again = self._settle_one(epoch, segment, i, outcome)
                    if again is None:
                        continue
                    span, due = again[0], now + again[1]
                    lane = queue.lane_of(epoch, records, i)
                    if lane is None:
                        self._timers.put(due, span)
                    else:
                        # Its lane waits with it: the order is kept over the delay.
                        waiting.add(lane)
                        back.append(span)
                        self._timers.put(due, lane)
            for disposition, indices in ((ACCEPT, accepted), (HAND_BACK, handed_back)):
                if indices:
                    picked = records.pick(indices)
                    self.settling.carry_out(disposition, epoch, picked, segment.attempt)
            base += len(records)
        queue.give_back(back)

    def _settle_one(
        self, epoch: Epoch, segment: Segment, i: int, outcome: Outcome
    ) -> tuple[Span, float] | None:
        """Settle a message by its outcome; return its next attempt and the delay, if any."""
        # Alone, so that its batch is not kept in memory over the delay.
        records = segment.records.slice(i, i + 1)
        delay = self.settling.settle(epoch, records, segment.attempt, outcome)
        if delay is None:
            return None
        self._backpressure.wait(epoch, records.size)
        return Span(epoch, records, 0, 1, segment.attempt + 1), delay

    def margin(self, handler: int, workers: int, seconds: float) -> int:
        """Return how many messages of a partition may well begin within so many seconds."""
        each = self.batch_sizes[handler].seconds
        if each is None:
            return UNKNOWN
        return min(PER_PARTITION, workers + int(4 * workers * seconds / each))

    # -- time

    def deadline(self) -> float | None:
        """Return when `due` has something to do; None: never."""
        return self._timers.first

    def due(self, now: float) -> None:
        """Let go on what has waited long enough."""
        if self._timers.first is None:
            return
        for timer in self._timers.due(now):
            if isinstance(timer, Ticket):
                self.settling.again(timer)
            elif isinstance(timer, Lane):
                if timer.spans:
                    # Its first message is the one that has waited.
                    self._backpressure.go_on(timer.epoch, timer.spans[0].records.size)
                self._queues[timer.epoch.handler].release(timer)
            elif not timer.epoch.draining:
                self._backpressure.go_on(timer.epoch, timer.records.size)
                self._queues[timer.epoch.handler].give_back([timer])


def _epoch_of(timer: Timer) -> Epoch:
    return timer.pending.epoch if isinstance(timer, Ticket) else timer.epoch
