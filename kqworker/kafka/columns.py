"""From messages of a consumer to columns of records.

Decides how a batch is cut: into runs of one partition with ascending offsets, in the order in
which they came. Costs 0.25 µs a message, because one loop in C makes each column. Knows
nothing of consumers.
Tested by tests/kafka_unit/test_columns.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress, pairwise
from operator import le, ne, or_
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from kqworker.types import Records, TopicPartition, payload_size
from kqworker.watch import logs

if TYPE_CHECKING:
    from kqworker.types import Headers

T = TypeVar("T")

logger = logs.logger("kqworker.kafka")


def to_records(messages: Sequence[Message], *, timestamps: bool = True) -> list[Records]:
    """Return messages as columns, one `Records` for each run of one partition.

    Offsets that go back, as after a truncation of the log, begin a run of their own.

    Args:
        messages: What `consume` returned, without errors.
        timestamps: Whether the times of messages are read: a third of the whole.

    Returns:
        The runs in the order of `messages`; a partition may come more than once.
    """
    if not messages:
        return []
    topics = list(map(Message.topic, messages))
    partitions = list(map(Message.partition, messages))
    offsets: list[int] = list(map(Message.offset, messages))  # type: ignore[arg-type]
    values = list(map(Message.value, messages))
    keys = list(map(Message.key, messages))
    headers = _headers(messages)
    times = _times(messages) if timestamps else None
    records = []
    for start, stop in _runs(topics, partitions, offsets):
        if start == 0 and stop == len(values):
            run_values, run_keys = values, _used(keys)
            run_offsets, run_times, run_headers = offsets, times, _used(headers)
        else:
            run_values, run_keys = values[start:stop], _used(keys[start:stop])
            run_offsets, run_times = offsets[start:stop], times and times[start:stop]
            run_headers = _used(headers[start:stop])
        records.append(
            Records(
                TopicPartition(topics[start], partitions[start]),  # type: ignore[arg-type]
                _compact(run_offsets),
                run_values,
                run_keys,
                run_times,
                run_headers,
                payload_size(run_keys, run_values),
            )
        )
    return records


def _times(messages: Sequence[Message]) -> list[int]:
    return [
        time if kind != TIMESTAMP_NOT_AVAILABLE else -1
        for kind, time in map(Message.timestamp, messages)
    ]


def _headers(messages: Sequence[Message]) -> list[Headers | None]:
    """Return the headers of each message; None, and a warning, where they cannot be read.

    confluent_kafka cannot represent a header whose name is not UTF-8, which other clients
    can write: it raises. One such record must not stop its partition for ever.
    """
    column: list[Headers | None] = []
    rest = map(Message.headers, messages)
    while True:
        try:
            # This keeps what came before the error. A message is not asked twice: the second
            # time it returns a list with a hole in it, and touching that is a segfault.
            column.extend(rest)  # type: ignore[arg-type]
            return column
        except SystemError:
            bad = messages[len(column)]
            logger.error(
                "a record comes without its headers: a header's name is not UTF-8: %s[%s]@%s",
                bad.topic(),
                bad.partition(),
                bad.offset(),
                extra={
                    "event": "headers_unreadable",
                    "topic": bad.topic(),
                    "partition": bad.partition(),
                    "offset": bad.offset(),
                },
            )
            column.append(None)


def _runs(
    topics: Sequence[object], partitions: Sequence[object], offsets: list[int]
) -> list[tuple[int, int]]:
    """Return where each run of one partition with ascending offsets starts and stops."""
    count = len(topics)
    if count == 1:
        return [(0, 1)]
    changes: Iterable[bool] = map(le, offsets[1:], offsets)
    if topics.count(topics[0]) != count:
        changes = map(or_, changes, map(ne, topics, topics[1:]))
    if partitions.count(partitions[0]) != count:
        changes = map(or_, changes, map(ne, partitions, partitions[1:]))
    return list(pairwise([0, *compress(range(1, count), changes), count]))


def _used(column: list[T | None]) -> list[T | None] | None:
    # The count compares by identity first: an empty key does not count as a missing one.
    return None if column.count(None) == len(column) else column


def _compact(offsets: list[int]) -> Sequence[int]:
    first, last = offsets[0], offsets[-1]
    return range(first, last + 1) if last - first == len(offsets) - 1 else offsets
