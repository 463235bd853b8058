"""A loop that polls its consumer itself: the shape that kqworker does not have.

`fetching.py` compares it with what kqworker does. It polls with a timeout while all workers are
idle and without one between the workers' answers, and serves the workers from inside the
revoke callback. Core, workers, columns and ledger are kqworker's own.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, Message
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core import commands as c
from kqworker.core.events import Assigned, Event, Fetched, Finished, Revoked, Tick
from kqworker.kafka.assignment import Assignment
from kqworker.kafka.beginnings import beginnings_of
from kqworker.kafka.columns import to_records
from kqworker.kafka.commit_fence import CommitFence
from kqworker.kafka.commits import Commits
from kqworker.kafka.partitions import ours
from kqworker.ports import Workers
from kqworker.runtime.loop import Core

# How long the loop looks at the workers before it looks at the consumer again.
LOOK = 0.001
POLL = 0.05
BATCH = 10_000


class PollingSource:
    """A consumer that is polled by whoever calls `fetch`; it is its own mailbox."""

    def __init__(self, properties: dict[str, str], topics: list[str]) -> None:
        self.fetching = True
        self.serve: Callable[[Callable[[], bool]], None]
        self._waiting: list[Event] = []
        self._kept: list[Message] = []
        self._released: c.Release | None = None
        self._fence = CommitFence()
        self._assignment = Assignment(properties, self._fence)
        self._commits = Commits(self._fence, self)
        self._consumer = Consumer(
            {**properties, "on_commit": lambda *a: self._commits.answered(self._consumer, *a)}
        )
        self._consumer.subscribe(topics, on_assign=self._assign, on_revoke=self._revoke)

    def put(self, *events: Event) -> None:
        self._waiting += events

    def take(self) -> list[Event]:
        events, self._waiting = self._waiting, []
        return events

    def fetch(self, timeout: float) -> bool:
        """Fetch what there is, waiting for the first; return whether there was anything."""
        first = self._consumer.poll(timeout)
        if first is None:
            return False
        messages = [*self._kept, first, *self._consumer.consume(BATCH, 0)]
        self._kept.clear()
        records = [
            run
            for run in to_records([m for m in messages if m.error() is None])
            if run.partition in self._fence.owned
        ]
        for run in records:
            self._fence.reach(run.partition, run.offsets[-1] + 1)
        self.put(Fetched(records, 0))
        return True

    def answer(self) -> None:
        """Let the answers to commits come, which takes a poll; keep the message that it brings."""
        message = self._consumer.poll(0)
        if message is not None:
            self._kept.append(message)

    def execute(self, command: c.Command) -> None:
        match command:
            case c.Commit():
                self._commits.ask(self._consumer, command.marks)
            case c.Fetching():
                self.fetching = command.on
            case c.Release():
                self._released = command

    def _assign(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        found = beginnings_of(consumer, map(ours, partitions), "earliest")
        self._assignment.begin(consumer, found)
        self.put(Assigned(0, {partition: found[partition].start for partition in found}))

    def _revoke(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        revoked = tuple(map(ours, partitions))
        self._released = None
        self.put(Revoked(0, revoked, 30.0))
        # This is inside poll(): the workers are served from here until they have drained.
        self.serve(lambda: self._released is not None)
        marks = self._released.marks if self._released is not None else {}
        self._commits.last(consumer, marks, revoked)
        consumer.incremental_unassign(partitions)
        self.put(*self._fence.end(revoked))

    def close(self, timeout: float) -> None:
        self.serve = lambda until: None
        self._consumer.close()


class PollingLoop:
    """Consumer and workers take turns."""

    def __init__(self, core: Core, source: PollingSource, workers: Workers) -> None:
        self._core = core
        self._source = source
        self._workers = workers
        self._flying = 0
        self._stopped = False
        self._chores: list[tuple[float, Callable[[], Iterable[Event]], list[float]]] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(workers.fileno(), selectors.EVENT_READ)
        source.serve = self._serve

    def every(self, seconds: float, chore: Callable[[], Iterable[Event]]) -> None:
        self._chores.append((seconds, chore, [time.monotonic() + seconds]))

    def run(self) -> None:
        self._do(self._core.start(time.monotonic()))
        while not self._stopped:
            if self._source.fetching:
                waited = self._source.fetch(0.0 if self._flying else POLL) or not self._flying
            else:
                waited = False
                if not self._flying:
                    self._source.answer()
            self._turn(0.0 if waited else LOOK)
        self._selector.close()

    def _serve(self, done: Callable[[], bool]) -> None:
        while not done():
            self._turn(LOOK)

    def _turn(self, timeout: float) -> None:
        self._feed(self._source.take())
        if self._selector.select(timeout):
            self._feed(self._workers.events())
        now = time.monotonic()
        deadline = self._core.deadline()
        if deadline is not None and deadline <= now:
            self._feed([Tick()])
        for seconds, chore, due in self._chores:
            if due[0] <= now:
                due[0] = now + seconds
                self._feed(chore())

    def _feed(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Finished) and event.complete:
                self._flying -= 1
            self._do(self._core.handle(event, time.monotonic()))

    def _do(self, commands: list[c.Command]) -> None:
        for command in commands:
            match command:
                case c.Commit() | c.Release() | c.Fetching() | c.Pause() | c.Resume():
                    self._source.execute(command)
                case c.Stopped():
                    self._stopped = True
                case c.Report():
                    pass
                case _:
                    self._flying += isinstance(command, c.Send)
                    self._workers.execute(command)
