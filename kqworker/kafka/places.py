"""Where each partition is read: its beginning, and where it goes on after librdkafka could not.

Decides what an error of one partition means for it. A partition whose beginning Kafka has not
told yet is not begun. One whose position is not in the log goes on at the log's start: with the
first message there if messages were deleted, as a new log if it was truncated or made anew. One
that cannot be read stands still, because what librdkafka reads behind an error cannot be trusted,
and is tried again now and then. Called only on the member's thread.
Tested by tests/kafka_unit/test_member.py and, against Apache Kafka, tests/kafka/test_damage.py.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.events import Assigned, Gone, Lost, Positions, Start, Unreadable
from kqworker.errors import BrokerError
from kqworker.kafka.assignment import Assignment
from kqworker.kafka.beginnings import Beginning, Beginnings
from kqworker.kafka.commit_fence import CommitFence
from kqworker.kafka.damage import explained
from kqworker.kafka.faults import Faults
from kqworker.kafka.halts import Halt, Stop, Why
from kqworker.kafka.mailbox import Mailbox
from kqworker.kafka.pauses import Pauses
from kqworker.kafka.probe import first_readable
from kqworker.types import Records, TopicPartition
from kqworker.watch import logs

logger = logs.logger("kqworker.kafka")

# How long a question may take that holds up only this member's other partitions, and when it is
# asked again.
ASK_SECONDS = 2.0
ASK_AGAIN_SECONDS = 5.0
# When to try again what could not be read: soon, for errors that pass, and then now and then.
# The second error at the same place is reported, and each one after it.
FIRST_RETRY_SECONDS = 1.0
RETRY_SECONDS = 30.0
# A try without an error for so long has succeeded, even if no message came.
TRIAL_SECONDS = 5.0
# The time between two looks for partitions without messages: the first look suspects one, the
# second one takes it for unreadable.
SILENT_SECONDS = 30.0

_SILENT = KafkaError(KafkaError._BAD_MSG, "nothing comes, although the partition goes on")


class Places:
    """The places of one member's partitions.

    Args:
        member: Its number.
        properties: librdkafka's properties of the member; auto.offset.reset is the user's.
        assignment: What is assigned.
        fence: Knows how far each partition was read.
        pauses: Holds the partitions that stand still.
        faults: Knows which errors concern more than one partition.
        mailbox: Gets the events.
        present: How many partitions each topic had when the run began.
        from_zero: A partition without a commit begins at 0, and not at its first message.
    """

    def __init__(
        self,
        member: int,
        properties: Mapping[str, object],
        assignment: Assignment,
        fence: CommitFence,
        pauses: Pauses,
        faults: Faults,
        mailbox: Mailbox,
        present: Mapping[str, int],
        from_zero: bool = False,
    ) -> None:
        self._member = member
        self._properties = properties
        self._offset = str(properties.get("auto.offset.reset", "earliest"))
        self._beginnings = Beginnings(self._offset, present, from_zero)
        self._assignment = assignment
        self._fence = fence
        self._pauses = pauses
        self._faults = faults
        self._mailbox = mailbox
        self._halts: dict[TopicPartition, Halt] = {}
        self._stops: dict[TopicPartition, Stop] = {}
        self._highs: dict[TopicPartition, int] = {}  # up to where offsets are known to exist
        self._watch_at = 0.0
        self._suspects: dict[TopicPartition, int] = {}

    @property
    def halted(self) -> Collection[TopicPartition]:
        """The partitions that stand still, or are being tried again."""
        return self._halts.keys()

    # -- around a rebalance

    def begin(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Begin what was assigned, now or as soon as its beginning is known."""
        found = self._find(consumer, partitions)
        self._begin(consumer, found or {})
        if found is not None:
            due = time.monotonic() + ASK_AGAIN_SECONDS
            self._halts |= {p: Halt(Why.UNKNOWN, due) for p in partitions if p not in found}

    def end(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions that are no longer read."""
        for partition in partitions:
            self._halts.pop(partition, None)
            self._highs.pop(partition, None)
            if partition in self._fence.owned and self._fence.committed(partition):
                self._beginnings.committed(partition.topic)
        self._pauses.hold(self._standing())

    def _find(
        self, consumer: Consumer, partitions: Sequence[TopicPartition], *limits: float
    ) -> dict[TopicPartition, Beginning] | None:
        try:
            return self._beginnings.of(consumer, partitions, *limits)  # type: ignore[arg-type]
        except BrokerError as error:
            self._mailbox.fail(error)
            return None

    def _begin(self, consumer: Consumer, found: Mapping[TopicPartition, Beginning]) -> None:
        self._assignment.begin(consumer, found)
        self._pauses.apply(consumer, self._assignment.owned)
        if not found:
            return
        starts = {partition: beginning.start for partition, beginning in found.items()}
        self._mailbox.put(Assigned(self._member, starts))
        known = {p: b.at for p, b in found.items() if b.start.offset is None and b.at >= 0}
        if known:
            self._mailbox.put(Positions(known, self._member))

    # -- while messages come

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has something to do."""
        return bool(self._stops)

    def readable(self, messages: Iterable[Message]) -> list[Message]:
        """Return the messages to hand over: none of a partition after an error.

        The caller notes in the fence what it hands over, and then calls `settle`.
        """
        kept = []
        for message in messages:
            topic, number = message.topic(), message.partition()
            partition = TopicPartition(topic or "", -1 if number is None else number)
            error = message.error()
            if error is not None:
                if self._faults.is_of_partition(message) and partition in self._assignment.owned:
                    self._stops.setdefault(partition, Stop(error, message.offset()))
            elif partition not in self._stops and self._goes_on(partition, message.offset()):
                kept.append(message)
        return kept

    def _goes_on(self, partition: TopicPartition, offset: int | None) -> bool:
        """Return whether to take a message of a partition, which may stand still."""
        halt = self._halts.get(partition)
        if halt is None:
            return True
        if not halt.trying:
            return False
        reached = self._fence.reached(partition)
        if halt.lacking and reached is not None and offset != reached:
            text = f"offset {reached} is missing: {offset} comes next"
            self._stops[partition] = Stop(KafkaError(KafkaError._BAD_MSG, text), reached, True)
            return False
        del self._halts[partition]
        return True

    def fitting(self, consumer: Consumer, records: Records) -> Records | None:
        """Return the records that can follow; if that is not all, their partition stands still.

        The checksum of a batch does not cover its own offset.
        """
        partition, offsets = records.partition, records.offsets
        stop = self._stops.get(partition) if self._stops else None
        if stop is not None and stop.lacking:
            return None
        reached = self._fence.reached(partition)
        if self._comes_next(partition, reached, offsets):
            return records
        if reached is not None and offsets[0] < reached:
            count, text = 0, f"offset {offsets[0]} comes again behind {reached - 1}"
        elif offsets[-1] >= (high := self._high(consumer, partition, offsets[-1])):
            count = bisect_left(offsets, high)
            text = f"offset {offsets[count]} comes, and the partition ends at {high}"
        else:
            return records
        error = KafkaError(KafkaError._BAD_MSG, text)
        self._stops[partition] = Stop(error, reached, lacking=True)
        return records.slice(0, count) if count else None

    def _comes_next(
        self, partition: TopicPartition, reached: int | None, offsets: Sequence[int]
    ) -> bool:
        """Return whether a partition was read to its end, and just these were written since.

        Then nobody need be asked for the end. Anywhere else a batch with a false offset may have
        begun before `reached`, and what is left of it would seem to follow.
        """
        if reached is None or reached != self._highs.get(partition) or offsets[0] != reached:
            return False
        if offsets[-1] - reached + 1 != len(offsets):
            return False
        self._highs[partition] = offsets[-1] + 1
        return True

    def _high(self, consumer: Consumer, partition: TopicPartition, last: int) -> int:
        """Return where a partition ends, or an offset above `last` that it reaches."""
        high = self._highs.get(partition, -1)
        if last >= high:
            _, high = _known_ends(consumer, partition)
            if high < 0:
                return last + 1
            self._highs[partition] = high
        return high

    def settle(self, consumer: Consumer) -> bool:
        """Halt partitions that had errors; return whether there is something to `look` at."""
        now = time.monotonic()
        for partition, stop in self._stops.items():
            halt = self._halts.get(partition)
            if stop.error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._came_outside(partition, halt, stop.offset, now)
            elif halt is None or halt.trying:
                self._came_to_a_stop(partition, stop, now)
        self._stops = {}
        self._pauses.hold(self._standing())
        self._pauses.apply(consumer, self._assignment.owned)
        return any(halt.due <= now for halt in self._halts.values())

    def again(self, consumer: Consumer, partition: TopicPartition) -> None:
        """Begin a new epoch: the log was truncated or made anew, and offsets come again."""
        logger.warning("%s goes back in its offsets: the log was truncated or recreated", partition)
        answers = self._fence.end([partition])
        start = self._beginnings.told(partition.topic, Start(None))
        self._fence.begin(partition, start)
        # The core may have paused the former epoch.
        self._pauses.resume([partition])
        self._pauses.apply(consumer, self._assignment.owned)
        lost = Lost(self._member, (partition,))
        self._mailbox.put(*answers, lost, Assigned(self._member, {partition: start}))

    def _came_outside(
        self, partition: TopicPartition, halt: Halt | None, offset: int | None, now: float
    ) -> None:
        """Take an error: an offset is not in the log."""
        reached = self._fence.reached(partition)
        if halt is None:
            # It may have been on its way when the partition was revoked and assigned again.
            if reached is None or offset is None or offset >= reached:
                self._halts[partition] = Halt(Why.OUTSIDE, now)
        elif halt.trying and offset in (reached, None):
            self._halts[partition] = Halt(Why.OUTSIDE, now)
        elif halt.trying:
            # Before this try, librdkafka has read this position out of damaged bytes.
            halt.trying, halt.due = False, now + FIRST_RETRY_SECONDS

    def _came_to_a_stop(self, partition: TopicPartition, stop: Stop, now: float) -> None:
        """Take an error: the next message cannot be read."""
        halt = self._halts.setdefault(partition, Halt(Why.UNREADABLE, now))
        halt.errors, halt.trying = halt.errors + 1, False
        halt.lacking = halt.lacking or stop.lacking
        halt.due = now + (FIRST_RETRY_SECONDS if halt.errors == 1 else RETRY_SECONDS)
        if halt.errors == 1:
            return
        reached = self._fence.reached(partition)
        if halt.errors == 2 and reached is not None and not halt.silent:
            halt.past = first_readable(self._properties, partition, reached)
        text = explained(partition, stop.error, self._properties, halt.past)
        offset = -1 if reached is None else reached
        self._mailbox.put(Unreadable(self._member, partition, offset, text))

    def _standing(self) -> set[TopicPartition]:
        owned = self._assignment.owned
        return {p for p, halt in self._halts.items() if not halt.trying and p in owned}

    # -- now and then

    def look(self, consumer: Consumer) -> None:
        """Ask, or try again, what is due; called about once a second."""
        now = time.monotonic()
        due = {p: halt for p, halt in self._halts.items() if halt.due <= now}
        if not due:
            return
        self._ask_beginnings(consumer, [p for p, halt in due.items() if halt.why is Why.UNKNOWN])
        for partition, halt in due.items():
            if halt.why is Why.OUTSIDE:
                self._ask_range(consumer, partition, halt)
            elif halt.trying and halt.silent and partition in self._pauses.paused:
                halt.due = now + TRIAL_SECONDS
            elif halt.trying and halt.silent and not self._has_moved(consumer, partition):
                self._came_to_a_stop(partition, Stop(_SILENT, None), now)
            elif halt.trying:
                del self._halts[partition]
            elif halt.why is Why.UNREADABLE:
                self._assignment.move(consumer, partition)
                halt.trying, halt.due = True, time.monotonic() + TRIAL_SECONDS
        self._pauses.hold(self._standing())
        self._pauses.apply(consumer, self._assignment.owned)

    def watch(self, consumer: Consumer, drained: bool) -> bool:
        """Find partitions without messages and without errors; called with `look`.

        librdkafka takes a batch whose length is damaged for one that is not complete yet.

        Args:
            consumer: The consumer of the partitions.
            drained: At some moment since the last round, everything fetched had been taken, and
                nothing has kept more from being fetched since.

        Returns:
            Whether it was time for a round.
        """
        now = time.monotonic()
        if now < self._watch_at:
            return False
        self._watch_at = now + SILENT_SECONDS
        before, self._suspects = self._suspects if drained else {}, {}
        for partition in self._assignment.owned - self._halts.keys() - self._pauses.paused:
            reached = self._fence.reached(partition)
            low, high = _known_ends(consumer, partition)
            position = low if reached is None else reached
            if not 0 <= position < high:
                continue
            if before.get(partition) != position:
                self._suspects[partition] = position
                continue
            try:
                # This asks whether a broker answers at all.
                consumer.get_watermark_offsets(KafkaPartition(*partition), ASK_SECONDS)
            except KafkaException:
                continue
            halt = self._halts[partition] = Halt(Why.UNREADABLE, now, errors=1, silent=True)
            self._assignment.move(consumer, partition)
            halt.trying, halt.due = True, now + TRIAL_SECONDS
        return True

    def _has_moved(self, consumer: Consumer, partition: TopicPartition) -> bool:
        (at,) = consumer.position([KafkaPartition(*partition)])
        return at.offset > (self._fence.reached(partition) or 0)

    def _ask_beginnings(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        if not partitions:
            return
        found = self._find(consumer, partitions, ASK_SECONDS, 1) or {}
        for partition in partitions:
            if partition in found:
                del self._halts[partition]
            else:
                self._halts[partition].due = time.monotonic() + ASK_AGAIN_SECONDS
        if found:
            self._begin(consumer, found)

    def _ask_range(self, consumer: Consumer, partition: TopicPartition, halt: Halt) -> None:
        try:
            low, high = consumer.get_watermark_offsets(KafkaPartition(*partition), ASK_SECONDS)
        except KafkaException as error:
            logger.warning("the ends of %s are not to be had: %s", partition, error.args[0].str())
            halt.due = time.monotonic() + ASK_AGAIN_SECONDS
            return
        reached = self._fence.reached(partition)
        if self._offset == "error" and reached is not None:
            self._mailbox.fail(
                BrokerError(
                    f"{partition}: offset {reached} is to be read next, and Kafka has {low} to "
                    f"{high}; `offset: error` lets it go on nowhere else"
                )
            )
            halt.due = float("inf")
            return
        del self._halts[partition]
        if reached is not None and reached < low:
            self._fence.reach(partition, low)
            self._mailbox.put(Gone({partition: low}, self._member))
        elif reached is not None:
            self.again(consumer, partition)
        self._assignment.move(consumer, partition)


def _known_ends(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """Return a partition's ends by the last answer to a fetch; below 0 if there is none."""
    try:
        return consumer.get_watermark_offsets(KafkaPartition(*partition), cached=True)
    except KafkaException:
        return -1, -1
