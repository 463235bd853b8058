"""Records in and out of a cluster: what a test produces, reads back, and finds committed.

Decides nothing of kqworker's: uses confluent_kafka alone, and holds no client between
calls. The history of a group's commits comes from the broker's own log of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from tests.kafka.cluster import Cluster
from tests.kafka.journal import Key

PATIENCE = 60.0
COMMITS = "__consumer_offsets"


def produce(
    cluster: Cluster,
    topic: str,
    values: Iterable[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    partitions: int = 1,
) -> list[Key]:
    """Deliver records, in turn to each partition, or by key; return where each is.

    Args:
        partitions: Those of the topic; records without a key are spread evenly.
    """
    keys_of = list(keys) if keys is not None else None
    placed: dict[int, Key] = {}
    failures: list[KafkaError] = []
    settings = {"acks": "all", "log_level": 0, "linger.ms": 5, "message.max.bytes": 50_000_000}
    with Producer({**cluster.client, **settings}) as producer:
        count = 0
        for number, value in enumerate(values):
            count += 1

            def delivered(error: KafkaError | None, message: Message, number: int = number) -> None:
                if error is not None:
                    failures.append(error)
                placed[number] = Key(topic, message.partition() or 0, message.offset() or 0)

            where = {"partition": number % partitions} if keys_of is None else {}
            key = None if keys_of is None else keys_of[number]
            while True:
                try:
                    producer.produce(topic, value, key, on_delivery=delivered, **where)
                    break
                except BufferError:
                    producer.poll(1.0)
        assert producer.flush(PATIENCE) == 0, "not all were delivered in time"
    assert failures == []
    return [placed[number] for number in range(count)]


def consume(cluster: Cluster, topic: str) -> list[Message]:
    """Return every record of a topic up to its end, by partition."""
    consumer = Consumer(
        {
            **cluster.client,
            "group.id": "nobody",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
            "log_level": 0,
        }
    )
    found: list[Message] = []
    try:
        numbers = consumer.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        open_ = set(numbers)
        while open_:
            message = consumer.poll(PATIENCE)
            assert message is not None, f"{topic} has no end"
            error = message.error()
            if error is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                open_.discard(message.partition() or 0)
    finally:
        consumer.close()
    return found


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that the broker took.

    Attributes:
        at: When, by the broker's clock, in seconds since the epoch; to the millisecond.
    """

    topic: str
    partition: int
    offset: int
    metadata: str
    at: float


def commits(cluster: Cluster, group: str) -> list[Commit]:
    """Return every commit of a group that the broker took, in order for each partition.

    The layouts are Kafka's OffsetCommitKey (version 1) and OffsetCommitValue (0 to 4).
    """
    found = []
    for message in consume(cluster, COMMITS):
        key, value = message.key() or b"", message.value()
        (kind,) = struct.unpack_from(">h", key)
        if kind > 1 or not value:
            continue  # of a member, or the end of a commit's life
        name, at = _text(key, 2)
        if name != group:
            continue
        topic, at = _text(key, at)
        (partition,) = struct.unpack_from(">i", key, at)
        version, offset = struct.unpack_from(">hq", value)
        # Versions from 4 on are flexible: lengths are varints, one more than they count.
        at = 10 + (4 if version >= 3 else 0)
        metadata = _text(value, at)[0] if version < 4 else _compact_text(value, at)
        metadata = metadata.removesuffix("\0")  # confluent_kafka counts C's end of text
        when = message.timestamp()[1] / 1000
        found.append(Commit(topic, partition, offset, metadata, when))
    return found


def _text(raw: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">h", raw, at)
    return raw[at + 2 : at + 2 + size].decode(), at + 2 + size


def _compact_text(raw: bytes, at: int) -> str:
    size = shift = 0
    while True:
        size |= (raw[at] & 0x7F) << shift
        shift += 7
        at += 1
        if raw[at - 1] < 0x80:
            break
    return raw[at : at + size - 1].decode()
