"""Which partitions a member has paused, and for which reason.

Decides what is resumed: partitions that the core has paused stay paused when all parked
partitions go on. Called only on the member's thread. Tested by tests/contract/test_source.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from confluent_kafka import Consumer

from kqworker.kafka.partitions import theirs
from kqworker.types import TopicPartition


class Pauses:
    """The paused partitions of one consumer.

    Attributes:
        parked: All owned partitions are paused, whatever the core has paused.
    """

    def __init__(self) -> None:
        self.parked = False
        self._by_command: set[TopicPartition] = set()
        self._held: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()

    @property
    def paused(self) -> Set[TopicPartition]:
        """All partitions that are paused now, for any reason."""
        return self._paused

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Note the partitions that the core has paused."""
        self._by_command.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Note the partitions that the core has resumed, or that have gone."""
        self._by_command.difference_update(partitions)

    def hold(self, partitions: set[TopicPartition]) -> None:
        """Note all partitions that cannot be read on at present."""
        self._held = partitions

    def apply(self, consumer: Consumer, owned: Set[TopicPartition]) -> None:
        """Make librdkafka pause and resume as noted."""
        wanted = self._by_command | (owned if self.parked else self._held)
        if begin := wanted - self._paused:
            consumer.pause(theirs(begin))
        if end := self._paused - wanted:
            consumer.resume(theirs(end))
        self._paused = wanted
