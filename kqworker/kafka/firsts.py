"""How many partitions a topic had when a group began to read it: where `latest` means the end.

Decides which partitions came later, so that all that they hold is to be read. The count stands in
the group's commits of the topic's other partitions; where none has it, the topic as it was when
this run began counts. Other partitions that are read prove nothing by themselves: two
members that start together must not read what was there before.

Pure. Tested by tests/kafka_unit/test_firsts.py and tests/kafka/test_latest.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kqworker.core.completion import decode
from kqworker.core.events import Start
from kqworker.types import TopicPartition


def said(start: Start) -> int | None:
    """Return the count that a commit carries; None if it carries none."""
    if start.offset is None:
        return None
    found = decode(start.metadata, start.offset)
    return found.partitions if found is not None else None


def first_counts(
    starts: Mapping[TopicPartition, Start], present: Mapping[str, int]
) -> dict[str, int]:
    """Return how many partitions each topic had at first, as far as its commits tell.

    Args:
        starts: What the group has committed, or that it has nothing, by partition.
        present: How many there were when this run began; a topic that is absent came later.

    Returns:
        The least of all that is said, by topic: who started later may have seen more.
    """
    counts: dict[str, int] = {}
    for partition, start in starts.items():
        topic = partition.topic
        known = counts.setdefault(topic, present.get(topic, 0))
        count = said(start)
        if count is not None:
            counts[topic] = min(known, count)
    return counts


def others(
    partitions: Iterable[TopicPartition], present: Mapping[str, int]
) -> list[TopicPartition]:
    """Return the other partitions of the topics, as far as they are known of."""
    given = set(partitions)
    most: dict[str, int] = {}
    for topic, number in given:
        most[topic] = max(most.get(topic, present.get(topic, 0)), number + 1)
    every = (TopicPartition(topic, n) for topic, count in most.items() for n in range(count))
    return [partition for partition in every if partition not in given]
