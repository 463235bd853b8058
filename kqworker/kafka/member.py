"""One member of a consumer group: a consumer, and the thread that owns it.

Decides when messages are fetched and when they stay where they are, and what the core is
told around a rebalance. This thread makes every call of the consumer: a consumer has one
gate, and another caller would wait behind a poll. commit_fence.py decides what may be
committed, places.py where a partition is read, the core what a message means.
Tested by tests/contract/test_source.py and, against Apache Kafka, tests/kafka/test_source.py.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, assert_never

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.clock import TimeOut
from kqworker.core.commands import Commit, Fetching, Pause, Release, Resume
from kqworker.core.events import Fetched, Lost, Positions, Revoked
from kqworker.errors import BrokerError, ConfigError
from kqworker.kafka.assignment import Assignment
from kqworker.kafka.columns import to_records
from kqworker.kafka.commit_fence import CommitFence
from kqworker.kafka.commits import Commits
from kqworker.kafka.faults import Faults
from kqworker.kafka.logs import client_log
from kqworker.kafka.mailbox import Mailbox
from kqworker.kafka.partitions import ours, theirs
from kqworker.kafka.pauses import Pauses
from kqworker.kafka.places import Places
from kqworker.types import Records, TopicPartition
from kqworker.watch import logs

if TYPE_CHECKING:
    from kqworker.core.commands import SourceCommand

logger = logs.logger("kqworker.kafka")

# How long a poll may delay commands.
POLL_SECONDS = 0.05
# How much one batch may hold, and so how long one may keep the loop busy. Larger batches
# cost more: at 10,000 messages 0.2 µs each, because they no longer fit the processor's cache.
BATCH_BYTES = 8 * 2**20
BATCH_MESSAGES = 2_000
FIRST_BATCH = 256
# A message costs this much beside its payload.
OVERHEAD_BYTES = 100
# Pausing throws away what librdkafka has prefetched, so it is for long waits only.
PARK_SECONDS = 1.0
LOOK_SECONDS = 1.0
# The core answers when the drain is over, and its answer takes a moment to come here.
ANSWER_SECONDS = 1.0


class Member:
    """One member of the group.

    Args:
        number: Its number, from 0; it is in the events.
        properties: librdkafka's properties of this member.
        subscriptions: Names of topics, or patterns that begin with `^`.
        mailbox: Where events go.
        drain_seconds: How long a revoke may wait for the core.
        present: How many partitions each topic had when the run began.
        from_zero: A partition without a commit begins at 0, and not at its first message.
        timestamps: Whether the times of messages are read.

    Raises:
        ConfigError: librdkafka refuses the properties or the subscription.
    """

    def __init__(
        self,
        number: int,
        properties: Mapping[str, object],
        subscriptions: Sequence[str],
        mailbox: Mailbox,
        drain_seconds: float,
        present: Mapping[str, int],
        from_zero: bool = False,
        timestamps: bool = True,
    ) -> None:
        self.number = number
        self._timestamps = timestamps
        self._mailbox = mailbox
        self._faults = Faults(mailbox, properties)
        interval = float(str(properties.get("max.poll.interval.ms", 300_000))) / 1000
        self._drain_seconds = max(0.0, min(drain_seconds, interval / 2 - ANSWER_SECONDS))
        # Guards what both threads use: the commands, the count of batches, the closing.
        self._condition = threading.Condition()
        self._commands: deque[SourceCommand] = deque()
        self._untaken = 0
        self._closing_at: float | None = None

        self._fence = CommitFence()
        self._commits = Commits(self._fence, mailbox)
        self._fetching = True
        self._held_since: float | None = None
        self._pauses = Pauses()
        self._assignment = Assignment(properties, self._fence)
        self._places = Places(
            number,
            properties,
            self._assignment,
            self._fence,
            self._pauses,
            self._faults,
            mailbox,
            present,
            from_zero,
        )
        self._batch = FIRST_BATCH
        self._look_at = 0.0
        self._drained = self._held_back = False  # since the last round of `Places.watch`
        self._unseen = False  # something was handed over since the last look
        self._consumer: Consumer = self._subscribed(properties, subscriptions)
        # Daemon: a frozen broker must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._run, name=f"kqworker-member-{number}", daemon=True
        )

    def _subscribed(
        self, properties: Mapping[str, object], subscriptions: Sequence[str]
    ) -> Consumer:
        own: dict[str, object] = {
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # Only kqworker decides where a partition is read: librdkafka would also apply this in
            # the middle of an assignment, for example after a damaged batch.
            "auto.offset.reset": "error",
            "on_commit": lambda *answer: self._commits.answered(self._consumer, *answer),
            "error_cb": self._faults.on_error,
        }
        consumer = None
        try:
            consumer = Consumer({**properties, **own}, logger=client_log)
            consumer.subscribe(
                list(subscriptions),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        except KafkaException as error:
            if consumer is not None:
                consumer.close()
            raise ConfigError(f"Kafka refuses the consumer: {error.args[0].str()}") from None
        return consumer

    @property
    def owned(self) -> frozenset[TopicPartition]:
        """The partitions that it reads; from any thread."""
        return self._assignment.owned

    # -- for the loop's thread

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def post(self, command: SourceCommand) -> None:
        """Have the thread carry out a command; never block."""
        with self._condition:
            self._commands.append(command)
            self._condition.notify()

    def taken(self) -> None:
        """Note that the loop has taken all batches that waited."""
        if self._untaken:
            with self._condition:
                self._untaken = 0
                self._condition.notify()

    def close(self, deadline: float) -> None:
        """Begin to leave the group; commits under way may take until `deadline`."""
        with self._condition:
            self._closing_at = deadline
            self._condition.notify()

    def join(self, deadline: float) -> bool:
        """Wait for the thread's end; return whether it came before `deadline`."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        else:
            self._consumer.close()
        return not self._thread.is_alive()

    # -- the thread

    def _run(self) -> None:
        try:
            while self._closing_at is None:
                self._execute_posted()
                if self._may_fetch():
                    self._let_in()
                    self._fetch()
                else:
                    self._hold()
                now = time.monotonic()
                if now >= self._look_at:
                    self._look_at = now + LOOK_SECONDS
                    self._look()
            self._settle()
        except Exception as error:  # the top of this thread: it must not end unheard
            logger.exception("a fetch thread failed", extra={"member": self.number})
            self._mailbox.fail(BrokerError(f"a fetch thread failed: {error!r}"))
        finally:
            self._closing_at = self._closing_at or 0.0
            self._consumer.close()

    def _fetch(self) -> None:
        # Not consume() alone: it waits for the whole timeout unless it gets the full number.
        messages = self._consumer.consume(self._batch, 0)
        if not messages:
            first = self._consumer.poll(POLL_SECONDS)
            if first is None:
                self._drained = True
                if self._unseen:
                    # Everything was read: the gap between the last message and the end is known.
                    self._look_at = 0.0
                return
            messages = [first]
        self._take(messages, full=len(messages) >= self._batch)

    def _take(self, messages: list[Message], full: bool = False) -> None:
        if self._places.halted or any(map(Message.error, messages)):
            messages = self._places.readable(messages)
        self._hand_over(messages, full)
        if self._places.unsettled and self._places.settle(self._consumer):
            self._look_at = 0.0

    def _hand_over(self, messages: list[Message], full: bool) -> None:
        count = size = 0
        records: list[Records] = []
        owned = self._assignment.owned
        for come in to_records(messages, timestamps=self._timestamps):
            if come.partition not in owned:
                continue  # revoked in the meantime: its next owner reads it
            run = self._places.fitting(self._consumer, come)
            if run is None:
                continue
            self._fence.reach(run.partition, run.offsets[-1] + 1)
            records.append(run)
            count += len(run)
            size += run.size
        if not records:
            return
        grown = 2 * self._batch if full else self._batch
        fitting = BATCH_BYTES * count // (size + OVERHEAD_BYTES * count)
        self._batch = max(1, min(grown, fitting, BATCH_MESSAGES))
        self._unseen = True
        with self._condition:
            self._untaken += 1
        self._mailbox.put(Fetched(records, self.number))

    def _hold(self) -> None:
        """Leave messages where they are, but still answer the group."""
        now = time.monotonic()
        self._held_back = True
        if self._held_since is None:
            self._held_since = now
        if not self._pauses.parked and now - self._held_since > PARK_SECONDS:
            self._park(True)
        with self._condition:
            if not self._commands and self._closing_at is None and not self._may_fetch():
                self._condition.wait(POLL_SECONDS)
            if self._commands or self._may_fetch():
                return
        if self._pauses.parked or self._fence.busy:
            # Polled for its callbacks. It may return a message that was already on its way.
            message = self._consumer.poll(0)
            if message is not None:
                self._take([message])

    def _may_fetch(self) -> bool:
        return self._fetching and self._untaken < 2

    def _let_in(self) -> None:
        self._held_since = None
        if self._pauses.parked:
            self._park(False)

    def _park(self, on: bool) -> None:
        self._pauses.parked = on
        self._pauses.apply(self._consumer, self.owned)

    def _settle(self) -> None:
        """Carry out the commands posted before the end, and wait for their answers."""
        self._execute_posted()
        self._park(True)
        while self._fence.busy and time.monotonic() < (self._closing_at or 0.0):
            # A message that comes now is not handed over, so it is not committed either.
            self._consumer.poll(POLL_SECONDS)

    # -- commands

    def _execute_posted(self) -> None:
        while self._commands:
            self._execute(self._commands.popleft())

    def _execute(self, command: SourceCommand) -> None:
        match command:
            case Commit() | Release():
                # A Release comes too late here; partitions that came back may still be committed.
                self._commits.ask(self._consumer, command.marks)
            case Fetching():
                self._fetching = command.on
            case Pause():
                self._pauses.pause(self.owned.intersection(command.partitions))
                self._pauses.apply(self._consumer, self.owned)
            case Resume():
                self._pauses.resume(command.partitions)
                self._pauses.apply(self._consumer, self.owned)
            case _:
                assert_never(command)

    # -- rebalances, called by librdkafka inside poll() and consume()

    def _on_assign(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        self._faults.assigned({p.topic for p in partitions})
        self._places.begin(consumer, list(map(ours, partitions)))

    def _on_revoke(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        revoked = self._begun(partitions)
        if revoked:
            self._mailbox.put(Revoked(self.number, revoked, self._drain_seconds))
            self._await_release(consumer, revoked)
        self._let_go(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        lost = self._begun(partitions)
        self._let_go(consumer, partitions)
        if lost:
            self._mailbox.put(Lost(self.number, lost))

    def _await_release(self, consumer: Consumer, revoked: tuple[TopicPartition, ...]) -> None:
        """Carry out commands until the core has drained, the time is over or the end begins."""
        time_out = TimeOut(self._drain_seconds + ANSWER_SECONDS, ANSWER_SECONDS)
        while self._closing_at is None:
            with self._condition:
                left = time_out.left
                if not self._commands and left > 0:
                    self._condition.wait(min(left, ANSWER_SECONDS))
                command = self._commands.popleft() if self._commands else None
            if isinstance(command, Release) and set(command.partitions) == set(revoked):
                self._commits.last(consumer, command.marks, revoked)
                return
            if isinstance(command, Commit):
                # Answers to other commits come through poll(), and this runs inside poll().
                self._commits.last(consumer, command.marks)
            elif command is not None:
                self._execute(command)
            elif left <= 0:
                logger.warning(
                    "partitions are given back although the core has not released them",
                    extra={"member": self.number, "seconds": self._drain_seconds},
                )
                return

    def _begun(self, partitions: list[KafkaPartition]) -> tuple[TopicPartition, ...]:
        """Return the partitions that the core knows."""
        return tuple(p for p in map(ours, partitions) if p in self.owned)

    def _let_go(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        gone = set(map(ours, partitions))
        self._assignment.end(consumer, gone)
        self._places.end(gone)
        self._mailbox.put(*self._fence.end(gone))
        # A pause outlives the assignment: they would come back paused.
        self._pauses.resume(gone)
        self._pauses.apply(consumer, self.owned)

    # -- positions

    def _look(self) -> None:
        """Look how far partitions were read, also past offsets without a message."""
        self._unseen = False
        changed = {}
        # A halted partition was read to its halt: librdkafka's position may be further on.
        for p in self._consumer.position(theirs(self.owned.difference(self._places.halted))):
            partition, reached = ours(p), self._fence.reached(ours(p))
            if p.offset >= 0 and (reached is None or p.offset > reached):
                self._fence.reach(partition, p.offset)
                changed[partition] = p.offset
        if changed:
            self._mailbox.put(Positions(changed, self.number))
        self._faults.look(self._consumer)
        self._places.look(self._consumer)
        if self._places.watch(self._consumer, self._drained and not self._held_back):
            self._drained = self._held_back = False
