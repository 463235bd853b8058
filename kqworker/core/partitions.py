"""Partitions that come and go, and what Kafka's side tells of them.

Decides when one is given back: when nothing of it is with a worker, or its time is over.
Pure. Knows nothing of how the run ends.
Tested by tests/core/test_supervisor.py, test_unreadable.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.backpressure import Backpressure
from kqworker.core.committing import Committing
from kqworker.core.epochs import Epoch, Epochs
from kqworker.core.messages import Messages
from kqworker.core.policy import HandlerPolicy
from kqworker.core.routing import Routes
from kqworker.core.workforce import Workforce
from kqworker.types import Failure, TopicPartition


@dataclass(slots=True)
class Drain:
    """Partitions that are being given back."""

    member: int
    partitions: tuple[TopicPartition, ...]
    epochs: list[Epoch]
    deadline: float


class Partitions:
    """What a supervisor owns, from assignment to release.

    Args:
        policies: The handlers, in the app's order.
        epochs: What is owned.
        messages: What is held of it.
        backpressure: The bounds of that.
        workforce: Is asked for the messages that are not begun.
        commits: When they are made.
        out: Where commands go.

    Attributes:
        gone: Messages that Kafka has deleted before they were handed over.
    """

    def __init__(
        self,
        policies: Sequence[HandlerPolicy],
        epochs: Epochs,
        messages: Messages,
        backpressure: Backpressure,
        workforce: Workforce,
        commits: Committing,
        out: list[c.Command],
    ) -> None:
        self._routes = Routes(policies)
        self._epochs = epochs
        self._messages = messages
        self._backpressure = backpressure
        self._workforce = workforce
        self._commits = commits
        self._out = out
        self._drains: list[Drain] = []
        self.gone = 0

    # -- who owns them

    def assigned(self, event: e.Assigned, now: float, running: bool) -> list[Epoch]:
        """Begin an epoch of each partition.

        Args:
            event: Which, and where each begins.
            now: The time.
            running: The run does not end: what is fetched of them may begin.

        Returns:
            What is assigned again without a revoke in between: it was lost unheard.
        """
        ended = self.lost(event.partitions, now)
        begun = []
        for partition, start in event.partitions.items():
            handler = self._routes.handler(partition.topic)
            epoch, report = self._epochs.begin(event.member, partition, handler, start)
            begun.append(epoch)
            if running:
                self._messages.suspects.begin(epoch, now)
            else:
                epoch.inherit()
            if report is not None:
                self._out.append(report)
        self._backpressure.share_out(self._epochs)
        if not running:
            self._messages.drain(begun)
        else:
            self._commits.hurry(now)
        return ended

    def lost(self, partitions: Iterable[TopicPartition], now: float) -> list[Epoch]:
        """End the epochs of partitions that are somebody else's by now; return them."""
        ended = self._epochs.end(partitions)
        self._messages.ended(ended)
        paused = tuple(epoch.partition for epoch in ended if epoch.stock.paused)
        if paused:
            # The pause may have come to its member behind the assignment that follows.
            self._out.append(c.Resume(paused))
        # What runs for nothing may end; what is not begun is not begun for nothing.
        self._workforce.recalls.recall(now, ended)
        return ended

    def revoked(self, event: e.Revoked, now: float) -> None:
        """Begin to give partitions back: nothing new of them is begun."""
        member = event.member
        epochs = [ep for p in event.partitions if (ep := self._epochs.of(member, p)) is not None]
        if self._messages.drain(epochs):
            self._commits.at_once(now)
        self._workforce.recalls.recall(now, epochs)
        deadline = now + max(0.0, event.seconds)
        self._drains.append(Drain(event.member, event.partitions, epochs, deadline))

    @property
    def draining(self) -> bool:
        """Whether any are being given back."""
        return bool(self._drains)

    @property
    def deadline(self) -> float | None:
        """When the first of those that are being given back has waited long enough."""
        return min(drain.deadline for drain in self._drains) if self._drains else None

    def give_back(self, now: float, wait: bool) -> None:
        """Release what is drained, or has waited long enough; all of it without `wait`."""
        for drain in list(self._drains):
            epochs = [epoch for epoch in drain.epochs if epoch.live]
            left = sum(epoch.busy for epoch in epochs)
            if wait and left and now < drain.deadline:
                continue
            if left:
                text = f"{left} messages were unfinished when partitions had to be given back"
                failure = Failure("Drain", text)
                self._out.append(c.Report(c.ReportKind.DRAIN_EXPIRED, failure=failure))
            self._messages.suspects.in_order(epochs)
            marks, reports = self._epochs.due(epochs)
            self._out += reports
            self._messages.ended(self._epochs.end([epoch.partition for epoch in epochs]))
            self._drains.remove(drain)
            self._out.append(c.Release(drain.member, drain.partitions, marks))

    # -- how far they are read

    def positions(self, event: e.Positions) -> None:
        """Move to where partitions are read to, though no message came from there."""
        for partition, position in event.offsets.items():
            epoch = self._epochs.of(event.member, partition)
            # What an epoch that drains has passed over is below this position, and open.
            if epoch is not None and not epoch.draining:
                epoch.read_on()
                epoch.offsets.advance(position)

    def deleted(self, event: e.Gone) -> None:
        """Count, and tell, messages that Kafka has deleted before they were handed over."""
        for partition, position in event.offsets.items():
            epoch = self._epochs.of(event.member, partition)
            if epoch is None or epoch.draining:
                continue  # its next owner begins below, and is told again
            first, count = epoch.offsets.position, epoch.offsets.unknown_below(position)
            epoch.read_on()
            epoch.offsets.advance(position)
            if count and first is not None:
                self.gone += count
                failure = Failure("Deleted", f"{count:,} below offset {position}")
                report = c.Report(
                    c.ReportKind.GONE, partition=partition, offset=first, failure=failure
                )
                self._out.append(report)

    def unreadable(self, event: e.Unreadable) -> None:
        """Tell of a partition that cannot be read on."""
        epoch = self._epochs.of(event.member, event.partition)
        if epoch is None or epoch.draining:
            return
        epoch.halt()
        kind, failure = c.ReportKind.UNREADABLE, Failure("Unreadable", event.text)
        report = c.Report(kind, partition=event.partition, offset=event.offset, failure=failure)
        self._out.append(report)
