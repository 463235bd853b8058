"""Partitions in our types and in confluent_kafka's.

Decides nothing and keeps nothing. Tested through tests/contract/test_source.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.types import TopicPartition


def ours(partition: KafkaPartition) -> TopicPartition:
    """Return a partition in our type."""
    return TopicPartition(partition.topic, partition.partition)


def theirs(partitions: Iterable[TopicPartition]) -> list[KafkaPartition]:
    """Return partitions in confluent_kafka's type."""
    return [KafkaPartition(p.topic, p.partition) for p in partitions]
