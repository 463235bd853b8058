"""Partitions in our words and in confluent_kafka's, and where a group left them off.

Decides how long the group is asked. Keeps nothing.
Tested by tests/kafka_unit/test_partitions.py and tests/contract/test_source.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import OFFSET_END, Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker import logs
from kqworker.core.events import Start
from kqworker.types import TopicPartition

logger = logs.logger("kqworker.kafka")

# Asking where a partition was left off: each try, and how many. It is done inside a
# rebalance, for which the group waits.
BEGIN_SECONDS = 5.0
BEGIN_TRIES = 2


def ours(partition: KafkaPartition) -> TopicPartition:
    """Return a partition in our words."""
    return TopicPartition(partition.topic, partition.partition)


def theirs(partitions: Iterable[TopicPartition]) -> list[KafkaPartition]:
    """Return partitions in confluent_kafka's words."""
    return [KafkaPartition(p.topic, p.partition) for p in partitions]


def begin_at(
    consumer: Consumer, partitions: Iterable[KafkaPartition]
) -> tuple[dict[TopicPartition, Start], list[TopicPartition]]:
    """Ask the group where partitions were left off.

    Returns:
        A start for each, unknown where the group has no commit or does not answer; and
        those of which it has said that it has none.
    """
    starts = {ours(p): Start(None) for p in partitions}
    fresh: list[TopicPartition] = []
    asked = theirs(starts)
    for _ in range(BEGIN_TRIES):
        if not asked:
            break
        try:
            found = consumer.committed(asked, BEGIN_SECONDS)
        except KafkaException as error:
            logger.warning("committed offsets are not to be had: %s", error.args[0].str())
            continue
        for p in found:
            if p.error is None and p.offset >= 0:
                starts[ours(p)] = Start(p.offset, p.metadata or "")
            elif p.error is None:
                fresh.append(ours(p))
        asked = [p for p in found if p.error is not None]
    return starts, fresh


def ends_of(consumer: Consumer, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Ask where partitions end now; those of which nothing is heard are absent."""
    asked = [KafkaPartition(p.topic, p.partition, OFFSET_END) for p in partitions]
    if not asked:
        return {}
    try:
        # A time of -1 is Kafka's own word for the end: one question to each broker, where
        # get_watermark_offsets asks one for each partition.
        found = consumer.offsets_for_times(asked, BEGIN_SECONDS)
    except KafkaException as error:
        logger.warning("the ends of partitions are not to be had: %s", error.args[0].str())
        return {}
    return {ours(p): p.offset for p in found if p.error is None and p.offset >= 0}


def is_cooperative(properties: Mapping[str, object]) -> bool:
    """Return whether partitions are assigned one by one rather than all at once.

    librdkafka refuses to mix the two kinds of strategies.

    >>> is_cooperative({"partition.assignment.strategy": "range,roundrobin"})
    False
    """
    if str(properties.get("group.protocol", "classic")).lower() == "consumer":
        return True
    return "cooperative" in str(properties.get("partition.assignment.strategy", ""))
