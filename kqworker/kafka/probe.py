"""Where a partition can be read again, behind an offset at which it cannot.

Decides how to search: it reads at later offsets, in steps that double, and then between
the last two. A damaged batch does not say where it ends. Keeps nothing.
Tested by tests/kafka_unit/test_probe.py and tests/kafka/test_damage.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.types import TopicPartition

# How long the whole search may take: it runs once for a place, on a member's thread.
SECONDS = 5.0
# No batch has more offsets than this.
FARTHEST = 2**31
_OWN = {
    "auto.offset.reset": "error",
    "enable.partition.eof": "true",
    "enable.auto.commit": "false",
    # One message is enough.
    "queued.min.messages": "1",
}


class _Late(Exception):
    """The time is over."""


def first_readable(
    properties: Mapping[str, object], partition: TopicPartition, offset: int
) -> int | None:
    """Return the first offset behind `offset` at which reading meets no error.

    Args:
        properties: librdkafka's properties of a consumer; its group is not joined.
        partition: The partition.
        offset: The offset that cannot be read.

    Returns:
        The offset, which may be the partition's end; None if none was found in 5 s. Where
        short readable stretches alternate with unreadable ones, it may be a later one than
        the first.
    """
    ours = {name: value for name, value in properties.items() if name != "group.instance.id"}
    consumer = Consumer({**ours, **_OWN}, logger=_Unheard())
    deadline = time.monotonic() + SECONDS
    try:
        return search(lambda at: _can_be_read(consumer, partition, at, deadline), offset)
    except (_Late, KafkaException):
        return None
    finally:
        consumer.close()


def search(can_be_read: Callable[[int], bool], offset: int) -> int | None:
    """Return the first offset behind `offset` that can be read.

    >>> search(lambda offset: offset >= 100, 90)
    100
    """
    bad, step = offset, 1
    while not can_be_read(offset + step):
        bad, step = offset + step, 2 * step
        if step > FARTHEST:
            return None
    good = offset + step
    while good - bad > 1:
        middle = (bad + good) // 2
        if can_be_read(middle):
            good = middle
        else:
            bad = middle
    return good


def _can_be_read(
    consumer: Consumer, partition: TopicPartition, offset: int, deadline: float
) -> bool:
    at = KafkaPartition(*partition, offset)
    consumer.assign([at])
    while (left := deadline - time.monotonic()) > 0:
        message = consumer.poll(left)
        if message is not None and message.partition() is not None:
            error = message.error()
            if error is None:
                _, high = consumer.get_watermark_offsets(at, cached=True)
                return (message.offset() or 0) < high
            if error.code() == KafkaError._PARTITION_EOF:
                return True
            if error.code() != KafkaError._AUTO_OFFSET_RESET:
                return False
            if message.offset() == offset:
                return True  # behind the end of the log
            # librdkafka has read this position out of damaged bytes, at an earlier offset.
    raise _Late


class _Unheard:
    """Drops log lines: the partition's own consumer has logged the same."""

    def log(self, *_: object) -> None:
        """Drop a line."""
