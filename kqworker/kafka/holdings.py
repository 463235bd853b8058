"""What the partitions of the built-in broker hold, by asking it and counting.

Decides what a record costs there, and below which offset of a partition everything is handled, by
the commits of the groups that read it. capacity.py decides what follows from that.
Tested by tests/kafka_unit/test_bounded.py.
"""

from __future__ import annotations

import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
)
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.kafka.logs import client_log
from kqworker.kafka.readers import Reader
from kqworker.types import Output

# What a record costs beside its content: at worst it is a batch of its own. With this there are
# fewer than the 100,000 batches that are kept.
RECORD_BYTES = 80
HEADER_BYTES = 10
# How long one question may take.
ASK_SECONDS = 2.0
READ_BATCH = 1000


class Holdings:
    """Asks the built-in broker; for one thread.

    Every method raises KafkaException if the broker does not answer.

    Args:
        address: The broker's.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._groups: dict[str, Consumer] = {}
        self._numbers: dict[str, list[int]] = {}

    def close(self) -> None:
        """End the connections."""
        for consumer in self._groups.values():
            consumer.close()

    def ends(self, name: str) -> dict[int, int]:
        """Return where each partition of a topic ends."""
        return self._offsets(name, OFFSET_END)

    def floors(self, name: str, groups: list[Reader], ends: dict[int, int]) -> dict[int, int]:
        """Return the offset of each partition below which all groups have handled everything."""
        places: list[dict[int, int]] = []
        for reader in groups:
            asked = [KafkaPartition(name, number) for number in ends]
            told = self._consumer(reader.group).committed(asked, ASK_SECONDS)
            places.append({p.partition: p.offset for p in told if p.offset >= 0})
            if reader.from_end:
                places[-1] = {**ends, **places[-1]}
        if places and all(place.keys() == ends.keys() for place in places):
            return {n: min(end, *(place[n] for place in places)) for n, end in ends.items()}
        begins = self._offsets(name, OFFSET_BEGINNING)
        return {
            number: min(end, *(place.get(number, begins[number]) for place in places or [begins]))
            for number, end in ends.items()
        }

    def read(self, name: str, ranges: dict[int, tuple[int, int]]) -> list[tuple[int, int, int]]:
        """Read records that others have pushed; return partition, offset and size of each."""
        consumer = self._consumer("kqworker-capacity")
        consumer.assign([KafkaPartition(name, n, begin) for n, (begin, _) in ranges.items()])
        left = {number: end for number, (_, end) in ranges.items()}
        found = []
        deadline = time.monotonic() + ASK_SECONDS
        while left and time.monotonic() < deadline:
            for message in consumer.consume(READ_BATCH, 0.05):
                number, offset = message.partition(), message.offset()
                if message.error() is not None or number is None or offset is None:
                    continue
                value, key = message.value() or b"", message.key() or b""
                size = RECORD_BYTES + len(value) + len(key) + _headers_size(message)
                found.append((number, offset, size))
                if offset + 1 >= left.get(number, 0):
                    left.pop(number, None)
        consumer.unassign()
        if left:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return found

    def _consumer(self, group: str) -> Consumer:
        if group not in self._groups:
            properties = {
                "bootstrap.servers": self._address,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": True,
                "fetch.wait.max.ms": 10,
                "log.connection.close": False,
            }
            self._groups[group] = Consumer(properties, logger=client_log)
        return self._groups[group]

    def _offsets(self, name: str, where: int) -> dict[int, int]:
        consumer = self._consumer("kqworker-capacity")
        if name not in self._numbers:
            listed = consumer.list_topics(name, timeout=ASK_SECONDS).topics[name]
            if listed.error is not None:
                raise KafkaException(listed.error)
            self._numbers[name] = list(listed.partitions)
        asked = [KafkaPartition(name, number, where) for number in self._numbers[name]]
        # One question, where get_watermark_offsets asks one for each partition.
        told = consumer.offsets_for_times(asked, ASK_SECONDS)
        failed = next((p.error for p in told if p.error is not None), None)
        if failed is not None:
            raise KafkaException(failed)
        return {p.partition: p.offset for p in told}


def size_of(output: Output) -> int:
    """Return what a record costs on the broker, in bytes."""
    size = RECORD_BYTES + len(output.value or b"") + len(output.key or b"")
    for name, value in output.headers:
        size += len(name) + len(value or b"") + HEADER_BYTES
    return size


def _headers_size(message: Message) -> int:
    try:
        pairs = message.headers() or ()
    except UnicodeDecodeError:  # a name is not UTF-8; then no header can be read
        return 0
    return sum(len(str(pair[0])) + len(pair[1] or b"") + HEADER_BYTES for pair in pairs)
