"""The values that every room speaks of: partitions, records, tasks, outcomes, messages.

Pure: no Kafka, no clock, no process. Decides nothing.
Tested by tests/core/test_types.py.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

Headers = Sequence[tuple[str, bytes | None]]


class TopicPartition(NamedTuple):
    """A partition of a topic; hashes and compares as the plain tuple that it is."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Ordering(enum.Enum):
    """Which messages of one handler may run at the same time."""

    UNORDERED = "unordered"
    KEY = "key"
    PARTITION = "partition"


class Verdict(enum.IntEnum):
    """What a worker says of one message; the number goes over the wire."""

    ACCEPT = 0
    RELEASE = 1  # failed: another attempt, if the policy has one left
    REJECT = 2  # failed for good: no further attempt


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive messages of one partition, as columns.

    Handing over and finishing cost per frame, not per message: a frame is a slice of
    these columns. Columns that no message uses are None. `offsets` ascend and may have
    gaps (compaction, transaction markers); without gaps they are a `range`.

    Attributes:
        partition: Where the messages come from.
        offsets: Ascending offsets, one a message.
        values: The payloads; None is a tombstone.
        keys: The keys, or None if no message has one.
        timestamps: Milliseconds since the epoch, -1 where the broker gave none; None where
            nobody needs them.
        headers: The headers of each message, or None if no message has any.
        size: Bytes of all keys and values.
    """

    partition: TopicPartition
    offsets: Sequence[int]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None
    timestamps: Sequence[int] | None
    headers: Sequence[Headers | None] | None
    size: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def times(self) -> Sequence[int]:
        """The timestamps; -1 for each message where they were not read."""
        return (-1,) * len(self.values) if self.timestamps is None else self.timestamps

    def slice(self, start: int, stop: int) -> Records:
        """Return the messages from index `start` up to, not including, `stop`."""
        if start == 0 and stop >= len(self.values):
            return self
        values = self.values[start:stop]
        keys = self.keys[start:stop] if self.keys is not None else None
        return Records(
            self.partition,
            self.offsets[start:stop],
            values,
            keys,
            self.timestamps[start:stop] if self.timestamps is not None else None,
            self.headers[start:stop] if self.headers is not None else None,
            payload_size(keys, values),
        )

    def pick(self, indices: Sequence[int]) -> Records:
        """Return the messages at `indices`, which ascend."""
        if len(indices) and indices[-1] - indices[0] + 1 == len(indices):
            return self.slice(indices[0], indices[-1] + 1)
        values = [self.values[i] for i in indices]
        keys = [self.keys[i] for i in indices] if self.keys is not None else None
        return Records(
            self.partition,
            [self.offsets[i] for i in indices],
            values,
            keys,
            [self.timestamps[i] for i in indices] if self.timestamps is not None else None,
            [self.headers[i] for i in indices] if self.headers is not None else None,
            payload_size(keys, values),
        )


def payload_size(keys: Sequence[bytes | None] | None, values: Sequence[bytes | None]) -> int:
    """Return the bytes of all keys and values; None counts nothing."""
    return _size(values) if keys is None else _size(values) + _size(keys)


def _size(payloads: Sequence[bytes | None]) -> int:
    try:
        return sum(map(len, payloads))  # type: ignore[arg-type]  # nearly always none is None
    except TypeError:
        # filter(None, …) also drops empty payloads, which weigh nothing.
        return sum(map(len, filter(None, payloads)))


@dataclass(frozen=True, slots=True)
class Segment:
    """Messages of one partition that travel together, all on the same attempt.

    Attributes:
        records: The messages.
        attempt: 1 for the first time that they are handed to a worker.
    """

    records: Records
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """What one frame carries to a worker: messages of one handler, to run in order.

    A message is named by its index, counted through all segments from 0.

    Attributes:
        id: Ascends from 1 over the life of a supervisor; below 2**39.
        handler: Index into the app's handlers.
        ordering: What a worker must skip after a failure: nothing (UNORDERED), the
            later messages with the same partition and key (KEY), or of the same
            partition (PARTITION). What it skips it hands back as unstarted.
        segments: At least one, none of them empty.
    """

    id: int
    handler: int
    ordering: Ordering
    segments: tuple[Segment, ...]

    def __len__(self) -> int:
        if len(self.segments) == 1:
            return len(self.segments[0].records.values)
        return sum(len(segment.records) for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as text: exceptions of a worker are never unpickled.

    Attributes:
        type: The exception's qualified name, or what ended the worker.
        text: Its message, capped.
        traceback: Capped; empty where there is none.
    """

    type: str
    text: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """A record to be produced: what a handler pushed or returned, or a dead letter.

    Attributes:
        returned: A handler returned it.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None
    timestamp: int | None = None
    returned: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message of a task, where that is more than a plain accept.

    Attributes:
        index: The message, counted through the task's segments.
        verdict: ACCEPT (then there are outputs), RELEASE or REJECT.
        failure: Why, for RELEASE and REJECT.
        delay: Seconds until the next attempt, where the handler asked for it.
        outputs: What the handler pushed or returned; only with ACCEPT.
    """

    index: int
    verdict: Verdict
    failure: Failure | None = None
    delay: float | None = None
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """One message as a handler sees it.

    Attributes:
        value: The payload, decoded as the handler's annotation says.
        key: The key as bytes; None where there is none.
        topic: The topic it came from.
        partition: The partition's number.
        offset: The offset in the partition.
        timestamp: Seconds since the epoch, or None where the broker gave none.
        headers: In the record's order; a name may stand more than once.
    """

    value: T
    key: bytes | None = None
    topic: str = ""
    partition: int = 0
    offset: int = 0
    timestamp: float | None = None
    headers: Headers = field(default=())
