"""How many partitions a topic had when a group began to read it: in those `latest` means the end.

Decides which partitions came later, so that all their messages are read. The group's commits of the
topic's other partitions hold the count. If none holds it, the topic counts as it was when this
run began. Commits of other partitions prove nothing by themselves: two members that start
together must not read what was there before.

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
    """Return how many partitions each topic had at first, as far as its commits say.

    Args:
        starts: What the group has committed, or that it has nothing, by partition.
        present: How many there were when this run began; an absent topic came later.

    Returns:
        By topic, the least of all counts: a later member may have seen more partitions.
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
    """Return the other partitions of the topics, as far as they are known."""
    given = set(partitions)
    most: dict[str, int] = {}
    for topic, number in given:
        most[topic] = max(most.get(topic, present.get(topic, 0)), number + 1)
    every = (TopicPartition(topic, n) for topic, count in most.items() for n in range(count))
    return [partition for partition in every if partition not in given]
