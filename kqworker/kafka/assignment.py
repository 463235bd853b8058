"""What is assigned to a consumer, and where librdkafka reads it.

Decides how a partition is begun, moved and let go with each kind of group. Called on the
member's thread only. Tested by tests/kafka_unit/test_member.py and tests/kafka/test_damage.py.
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
        properties: librdkafka's, of the consumer.
        fence: Knows how far each was read.

    Attributes:
        owned: The partitions; replaced, never changed, so that any thread may read it.
    """

    def __init__(self, properties: Mapping[str, object], fence: CommitFence) -> None:
        self.owned: frozenset[TopicPartition] = frozenset()
        self._fence = fence
        self._cooperative = is_cooperative(properties)

    def begin(self, consumer: Consumer, beginnings: Mapping[TopicPartition, Beginning]) -> None:
        """Have these read beside the others; with none of them, the group is still answered."""
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
        """Have a partition read from where the fence says that it was read to."""
        at = self._place(partition)
        try:
            # While the group has a rebalance to tell, an unassign would be taken for its
            # answer: a seek is never.
            consumer.seek(at)
        except KafkaException:
            # It is not read at all since its offset was out of range.
            if self._cooperative:
                consumer.incremental_unassign(theirs([partition]))
                consumer.incremental_assign([at])
            else:
                self._assign_all(consumer)

    def end(self, consumer: Consumer, partitions: Set[TopicPartition]) -> None:
        """Have these read no longer; all of them where a group gives all back at once."""
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
