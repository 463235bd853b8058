"""What is assigned to a consumer, and where librdkafka reads it.

Decides how a partition is begun, moved and let go with each kind of group. Called only on the
member's thread. Tested by tests/kafka_unit/test_member.py and tests/kafka/test_damage.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.kafka.beginnings import Beginning
from kqworker.kafka.commit_fence import CommitFence
from kqworker.kafka.partitions import theirs
from kqworker.types import TopicPartition


class Assignment:
    """The partitions of one consumer that have begun.

    Args:
        properties: librdkafka's properties of the consumer.
        fence: Knows how far each partition was read.

    Attributes:
        owned: The partitions; replaced, never changed, so that any thread may read it.
    """

    def __init__(self, properties: Mapping[str, object], fence: CommitFence) -> None:
        self.owned: frozenset[TopicPartition] = frozenset()
        self._fence = fence
        self._cooperative = is_cooperative(properties)

    def begin(self, consumer: Consumer, beginnings: Mapping[TopicPartition, Beginning]) -> None:
        """Read these beside the others; without any, still answer the group."""
        for partition, beginning in beginnings.items():
            self._fence.begin(partition, beginning.start)
            if beginning.at >= 0:
                self._fence.reach(partition, beginning.at)
        self.owned = frozenset(self._fence.owned)
        if self._cooperative:
            consumer.incremental_assign([KafkaPartition(*p, b.at) for p, b in beginnings.items()])
        else:
            self._assign_all(consumer)

    def move(self, consumer: Consumer, partition: TopicPartition) -> None:
        """Read a partition from the position that the fence has for it."""
        at = self._place(partition)
        try:
            # While the group waits for the answer to a rebalance, it would take an unassign for
            # that answer, and never a seek.
            consumer.seek(at)
        except KafkaException:
            # The consumer has not read it at all since its offset was out of range.
            if self._cooperative:
                consumer.incremental_unassign(theirs([partition]))
                consumer.incremental_assign([at])
            else:
                self._assign_all(consumer)

    def end(self, consumer: Consumer, partitions: Set[TopicPartition]) -> None:
        """Stop reading these; all of them if the group gives all back at once."""
        if self._cooperative:
            consumer.incremental_unassign(theirs(self.owned & partitions))
        else:
            consumer.unassign()
        self.owned = self.owned.difference(partitions)

    def _assign_all(self, consumer: Consumer) -> None:
        consumer.assign([self._place(partition) for partition in self.owned])

    def _place(self, partition: TopicPartition) -> KafkaPartition:
        reached = self._fence.reached(partition)
        return KafkaPartition(*partition, OFFSET_BEGINNING if reached is None else reached)


def is_cooperative(properties: Mapping[str, object]) -> bool:
    """Return whether partitions are assigned one by one rather than all at once.

    librdkafka refuses to mix the two kinds of strategies.

    >>> is_cooperative({"partition.assignment.strategy": "range,roundrobin"})
    False
    """
    if str(properties.get("group.protocol", "classic")).lower() == "consumer":
        return True
    return "cooperative" in str(properties.get("partition.assignment.strategy", ""))
