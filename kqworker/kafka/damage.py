"""The text about a partition that cannot be read on, and about the way past that place.

Decides which setting or command helps with which of librdkafka's errors. Keeps nothing.
Tested by tests/kafka_unit/test_damage.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError

from kqworker.types import TopicPartition

# The bytes are not those that the producer has sent.
_DAMAGED = {
    KafkaError._BAD_MSG,
    KafkaError._UNDERFLOW,
    KafkaError._NOT_IMPLEMENTED,
    KafkaError.INVALID_MSG,
}


def explained(
    partition: TopicPartition,
    error: KafkaError,
    properties: Mapping[str, object],
    past: int | None,
) -> str:
    """Return what is wrong and what helps, in one line.

    Args:
        partition: The partition.
        error: What librdkafka said.
        properties: librdkafka's properties of the consumer.
        past: The first readable offset behind it; None if it is not known.
    """
    said = error.str()
    if error.code() in _DAMAGED:
        return f"damaged: {said}. {_way(partition, properties, past)}"
    if error.code() in (KafkaError._BAD_COMPRESSION, KafkaError.MSG_SIZE_TOO_LARGE):
        most = properties.get("receive.message.max.bytes", "100000000")
        return (
            f"damaged, or larger than kqworker takes: {said}. If it is large, set "
            f"receive.message.max.bytes above its size without compression (now {most}). "
            + _way(partition, properties, past)
        )
    return f"Kafka does not give it out: {said}"


def _way(partition: TopicPartition, properties: Mapping[str, object], past: int | None) -> str:
    brokers, group = properties.get("bootstrap.servers"), properties.get("group.id")
    where = "an offset N behind it" if past is None else "the first offset that can be read"
    return (
        f"To go past it, stop the group and commit {where}: kafka-consumer-groups.sh "
        f"--bootstrap-server {brokers} --group {group} --topic {partition.topic}:"
        f"{partition.partition} --reset-offsets --to-offset {'N' if past is None else past} "
        "--execute"
    )
