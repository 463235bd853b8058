"""Which partitions a member has paused, and for which reason.

Decides what is resumed: what the core has paused stays so when everything that was parked
goes on. Called on the member's thread only. Tested by tests/contract/test_source.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from confluent_kafka import Consumer

from kqworker.kafka.partitions import theirs
from kqworker.types import TopicPartition


class Pauses:
    """The paused partitions of one consumer.

    Attributes:
        parked: Everything that is owned is paused, whatever the core has paused.
    """

    def __init__(self) -> None:
        self.parked = False
        self._by_command: set[TopicPartition] = set()
        self._held: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()

    @property
    def paused(self) -> Set[TopicPartition]:
        """What is paused now, for whatever reason."""
        return self._paused

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Note what the core has paused."""
        self._by_command.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Note what the core has resumed, or what has gone."""
        self._by_command.difference_update(partitions)

    def hold(self, partitions: set[TopicPartition]) -> None:
        """Note what cannot be read on at present, all of it."""
        self._held = partitions

    def apply(self, consumer: Consumer, owned: Set[TopicPartition]) -> None:
        """Make librdkafka do as noted."""
        wanted = self._by_command | (owned if self.parked else self._held)
        if begin := wanted - self._paused:
            consumer.pause(theirs(begin))
        if end := self._paused - wanted:
            consumer.resume(theirs(end))
        self._paused = wanted
