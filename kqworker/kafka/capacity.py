"""What fits on the built-in broker before it drops messages that are not handled yet.

The broker keeps so much of each partition and drops the oldest beyond that, even if a group waits
for it. Decides how much may be pushed to a topic now. A record may go to any of its partitions, so
the fullest one counts, and records on their way count as if they went there. A message is not
handled if a group that reads the topic has not committed it; if no group reads it, no message is.
A thread of its own asks the broker. Tested by tests/kafka_unit/test_bounded.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from kqworker.errors import BrokerError
from kqworker.kafka.devbroker import BATCH_BYTES, KEPT_BYTES
from kqworker.kafka.holdings import Holdings, size_of
from kqworker.kafka.producing import Answered
from kqworker.kafka.readers import Reader, readers
from kqworker.types import Output
from kqworker.watch import logs

_logger = logs.logger("kqworker.kafka")

# Of one partition. Whole batches are dropped, and others may push at the same time.
ROOM_BYTES = KEPT_BYTES - 8 * BATCH_BYTES
# How much may be on its way at once: this, or one part in so many of what is free, because others
# who push do not see it yet.
GRANT_BYTES = BATCH_BYTES
SHARE = 8
# How soon a full topic is looked at again, and how soon the reason is told again.
LOOK_SECONDS = 0.1
ARRIVAL_SECONDS = 0.01
FIRST_TELL_SECONDS = 2.0
TELL_SECONDS = 10.0
# How long a run may take to start, once there is no room and nobody reads.
PATIENCE = 5.0
# How long the broker may go without an answer.
ANSWER_SECONDS = 10.0


@dataclass(slots=True)
class _Partition:
    """The messages of a partition that are not handled: their sizes, by offset."""

    floor: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    total: int = 0

    def add(self, offset: int, size: int) -> None:
        if offset >= self.floor:
            self.total += size - self.sizes.get(offset, 0)
            self.sizes[offset] = size

    def rise(self, floor: int) -> None:
        for offset in range(self.floor, floor):
            self.total -= self.sizes.pop(offset, 0)
        self.floor = max(self.floor, floor)

    def missing(self, end: int) -> range | list[int]:
        if not self.sizes:
            return range(self.floor, end)
        if self.floor + len(self.sizes) >= end:
            return []
        return [offset for offset in range(self.floor, end) if offset not in self.sizes]


@dataclass(slots=True)
class _Topic:
    """A topic that is pushed to.

    Attributes:
        wanted: The largest record that has found no room since the last look.
        granted: Bytes that may be pushed before the next look.
        sent: Bytes under way, and how many records they are.
        full: Why there is no room, in short; empty if there is room, or if it is not known.
        why: The same as an error's text.
        never: Nobody makes room.
        asked: A look is wanted.
        full_since: Since when there is no room and nobody reads.
        silent_since: Since when the broker does not answer.
        tell_at: When to log the reason again.
    """

    partitions: dict[int, _Partition] = field(default_factory=dict)
    wanted: int = 0
    granted: int = 0
    sent: int = 0
    under_way: int = 0
    full: str = ""
    why: str = ""
    never: bool = False
    asked: bool = False
    full_since: float | None = None
    silent_since: float | None = None
    tell_at: float = 0.0


class Capacity:
    """The room on the built-in broker, for one producer; every method is safe in any thread.

    Args:
        address: The broker's.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._changed: Callable[[], None]
        self._condition = threading.Condition()
        self._topics: dict[str, _Topic] = {}
        self._holdings = Holdings(address)
        self._closing = False
        self._failed = ""
        # A daemon, like its sink's thread: a close waits for both.
        self._thread = threading.Thread(target=self._run, name="kqworker-capacity", daemon=True)

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to ask the broker; the thread calls `changed` when there may be room again."""
        self._changed = changed
        self._thread.start()

    @property
    def full(self) -> str:
        """Which topic has no room, and what it waits for, in short; empty if all have room."""
        with self._condition:
            return next((topic.full for topic in self._topics.values() if topic.full), "")

    def passes(
        self, output: Output, answered: Answered, accepts: Callable[[Output, Answered], bool]
    ) -> bool:
        """Hand a record on if it fits now; return whether it was accepted. Never blocks.

        Args:
            output: The record.
            answered: Called when it is known how the record ends.
            accepts: Takes the record, and returns whether it had room.

        Raises:
            BrokerError: It does not fit, and nobody makes room.
        """
        if not self._admit(output):
            return False
        if accepts(output, partial(self._answered, output, answered)):
            return True
        self._settle(output, None)
        return False

    def close(self, timeout: float) -> None:
        """End the thread and its connections, within so many seconds."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout)

    def _admit(self, output: Output) -> bool:
        """Return whether a record fits now; then it is under way until `_settle`."""
        size = size_of(output)
        with self._condition:
            if self._failed:
                raise BrokerError(self._failed)
            topic = self._topics.get(output.topic) or self._topics.setdefault(
                output.topic, _Topic()
            )
            fits = topic.granted >= size
            if fits:
                topic.granted -= size
                topic.sent += size
                topic.under_way += 1
            else:
                topic.wanted = max(topic.wanted, size)
            # Ask early enough, so that no push has to wait for the answer.
            if not topic.asked and (not fits or topic.granted < GRANT_BYTES):
                topic.asked = True
                self._condition.notify()
            if not fits and topic.never:
                # The next record has the broker asked again.
                topic.never = False
                raise BrokerError(topic.why, retriable=True)
            return fits

    def _answered(
        self,
        output: Output,
        answered: Answered,
        error: KafkaError | None,
        message: Message | None,
    ) -> None:
        self._settle(output, message if error is None else None)
        answered(error, message)

    def _settle(self, output: Output, message: Message | None) -> None:
        """Note that a record is no longer under way, and its place if it is in the log."""
        size = size_of(output)
        with self._condition:
            topic = self._topics[output.topic]
            topic.sent -= size
            topic.under_way -= 1
            if message is not None and message.partition() is not None:
                offset = message.offset()
                if offset is not None:
                    number = message.partition() or 0
                    topic.partitions.setdefault(number, _Partition()).add(offset, size)

    # -- the thread

    def _run(self) -> None:
        try:
            while (asked := self._asked()) is not None:
                for name in asked:
                    try:
                        self._look(name)
                    except KafkaException as error:
                        self._unanswered(name, error.args[0])
                self._changed()
                self._rest()
        except Exception as error:  # the top of this thread: no push must wait for it for ever
            _logger.exception("the room on the built-in broker is not known any more")
            with self._condition:
                self._failed = f"the room on the built-in broker is not known: {error!r}"
        finally:
            self._holdings.close()

    def _asked(self) -> list[str] | None:
        with self._condition:
            while not self._closing:
                asked = [name for name, topic in self._topics.items() if topic.asked]
                for name in asked:
                    self._topics[name].asked = False
                if asked:
                    return asked
                self._condition.wait()
        return None

    def _rest(self) -> None:
        """Do not ask the broker too often while there is no room."""
        with self._condition:
            full = any(topic.full for topic in self._topics.values())
            tight = any(topic.asked and not topic.granted for topic in self._topics.values())
            if full or tight:
                seconds = LOOK_SECONDS if full else ARRIVAL_SECONDS
                self._condition.wait_for(lambda: self._closing, seconds)

    def _look(self, name: str) -> None:
        """Ask the broker, and grant what may be pushed."""
        found = readers(self._address, name)
        groups = [reader for reader in found if reader.lives] or found
        with self._condition:
            topic = self._topics[name]
            under_way = topic.under_way
        ends = self._holdings.ends(name)
        floors = self._holdings.floors(name, groups, ends)
        missing: dict[int, range | list[int]] = {}
        with self._condition:
            for number, end in ends.items():
                partition = topic.partitions.setdefault(number, _Partition())
                partition.rise(floors[number])
                if unknown := partition.missing(end):
                    missing[number] = unknown
        # Offsets that we do not know are under way, or somebody else has pushed them.
        others: list[tuple[int, int, int]] = []
        if sum(map(len, missing.values())) > under_way:
            others = self._holdings.read(name, {n: (m[0], m[-1] + 1) for n, m in missing.items()})
        with self._condition:
            for number, offset, size in others:
                topic.partitions[number].add(offset, size)
            self._grant(name, topic, groups, {n: end - floors[n] for n, end in ends.items()})

    def _grant(self, name: str, topic: _Topic, groups: list[Reader], left: dict[int, int]) -> None:
        fullest = max(left, key=lambda number: topic.partitions[number].total)
        held = topic.partitions[fullest].total
        free = ROOM_BYTES - held - topic.sent
        wanted = max(topic.wanted, GRANT_BYTES)
        topic.silent_since = None
        topic.granted = 0
        if free >= max(topic.wanted, 1):
            topic.granted = max(0, min(free, (ROOM_BYTES - held) // SHARE - topic.sent))
            if topic.sent == 0:
                topic.granted = max(topic.granted, min(free, wanted))
        elif held + topic.sent == 0:
            # The record fills a partition alone: the last batch is always kept.
            topic.granted = wanted
        if topic.granted:
            topic.wanted, topic.full, topic.never, topic.full_since = 0, "", False, None
        elif topic.sent and held + topic.wanted <= ROOM_BYTES:
            # The record waits for those on their way.
            topic.asked = True
        else:
            self._deny(name, topic, groups, fullest, left)

    def _deny(
        self, name: str, topic: _Topic, groups: list[Reader], number: int, left: dict[int, int]
    ) -> None:
        now = time.monotonic()
        if not topic.full:
            # A short wait is not worth a line.
            topic.tell_at = now + FIRST_TELL_SECONDS
        room = f"the built-in broker has no room for more in topic {name!r}"
        living = sorted({reader.group for reader in groups if reader.lives})
        if living:
            count = sum(left.values())
            waits = f"waiting for group {', '.join(living)} to handle {count:,} messages"
            topic.full = f"full: group {living[0]} has {count:,} to handle"
            topic.why = f"{room}: {waits}"
            topic.never, topic.full_since = False, None
        else:
            topic.full_since = topic.full_since or now
            topic.never = now - topic.full_since > PATIENCE
            topic.full = "full, and no run reads it"
            topic.why = (
                f"{room}: {name}[{number}] holds {left[number]:,} messages that are not handled, "
                f"and no run reads them. A partition keeps {KEPT_BYTES // 2**20} MiB and drops the "
                "oldest beyond that: start a run, and push the rest while it goes on"
            )
        # Where no run reads, an error tells the push at once.
        if living and now >= topic.tell_at:
            topic.tell_at = now + TELL_SECONDS
            _logger.warning("%s", topic.why, extra={"event": "full"})

    def _unanswered(self, name: str, error: KafkaError) -> None:
        now = time.monotonic()
        with self._condition:
            topic = self._topics[name]
            topic.granted = 0
            topic.silent_since = topic.silent_since or now
            topic.full = "the built-in broker does not answer"
            topic.why = f"the built-in broker does not say what topic {name!r} holds: {error.str()}"
            topic.never = now - topic.silent_since > ANSWER_SECONDS
