"""Partitions in our words and in confluent_kafka's, and where a group left them off.

Decides how long the group is asked. Keeps nothing. Tested by tests/contract/test_source.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.events import Start
from kqworker.types import TopicPartition

logger = logging.getLogger("kqworker.kafka")

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
) -> dict[TopicPartition, Start]:
    """Ask the group where partitions were left off.

    Returns:
        A start for each; unknown where the group has no commit, or does not answer.
    """
    starts = {ours(p): Start(None) for p in partitions}
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
        asked = [p for p in found if p.error is not None]
    return starts


def is_cooperative(properties: Mapping[str, object]) -> bool:
    """Return whether partitions are assigned one by one rather than all at once.

    librdkafka refuses to mix the two kinds of strategies.

    >>> is_cooperative({"partition.assignment.strategy": "range,roundrobin"})
    False
    """
    if str(properties.get("group.protocol", "classic")).lower() == "consumer":
        return True
    return "cooperative" in str(properties.get("partition.assignment.strategy", ""))
