"""Where a member's new partitions begin: at the group's commit, or where `offset` says.

`latest` means the end at the group's first start. A partition that came later begins at its
beginning.

Decides this for every partition: librdkafka never does (auto.offset.reset=error). A question
that Kafka does not answer in time stays open, and is asked again.
Tested by tests/kafka_unit/test_beginnings.py and tests/contract/test_source.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.events import Start
from kqworker.errors import BrokerError
from kqworker.kafka.firsts import first_counts, others, said
from kqworker.kafka.partitions import ours, theirs
from kqworker.types import TopicPartition
from kqworker.watch import logs

logger = logs.logger("kqworker.kafka")

# How long each question about a partition's commit may take, and how often it is asked. It is
# asked inside a rebalance, and the group waits for that.
BEGIN_SECONDS = 5.0
BEGIN_TRIES = 2


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a partition begins.

    Attributes:
        start: What the core gets: the group's commit, or that there is none.
        at: What librdkafka reads first: an offset, or OFFSET_BEGINNING.
    """

    start: Start
    at: int


class Beginnings:
    """Where the partitions of one member begin.

    Args:
        offset: Where a partition begins without a commit: earliest, latest or error.
        present: How many partitions each topic had when the run began.
        from_zero: "earliest" means offset 0, and not the first offset that is still there.
    """

    def __init__(self, offset: str, present: Mapping[str, int], from_zero: bool = False) -> None:
        self._offset = offset
        self._earliest = 0 if from_zero else OFFSET_BEGINNING
        # By topic: an upper bound of the partitions that it had at first.
        self._counts = dict(present)
        self._committed: set[str] = set()

    def of(
        self,
        consumer: Consumer,
        partitions: Sequence[TopicPartition],
        seconds: float = BEGIN_SECONDS,
        tries: int = BEGIN_TRIES,
    ) -> dict[TopicPartition, Beginning]:
        """Ask where partitions begin; those that are not known yet are absent.

        Args:
            consumer: A consumer of the group.
            partitions: The partitions.
            seconds: How long each question may take.
            tries: How often to ask for the group's commits.

        Raises:
            BrokerError: The group has no commit, and `offset` is error.
        """
        starts = _committed(consumer, partitions, seconds, tries)
        fresh = [partition for partition, start in starts.items() if start.offset is None]
        if self._offset == "error" and fresh:
            raise BrokerError(
                f"{fresh[0]}: the group has no committed offset, and `offset: error` lets none "
                "begin"
            )
        if self._offset != "latest":
            return {p: _at(start, self._earliest) for p, start in starts.items()}
        known = self._count(consumer, starts, seconds, tries)
        # A number, not OFFSET_END: it is committed before any message comes. Otherwise a restart
        # would begin at a later end, and skip what came after the group's start.
        edges = {
            p: OFFSET_BEGINNING if p.partition >= self._counts.get(p.topic, 0) else OFFSET_END
            for p in fresh
            if p.topic in known
        }
        at = _offsets(consumer, edges, seconds)
        return {
            p: _at(
                self.told(p.topic, start) if p.topic in known else start,
                at.get(p, OFFSET_BEGINNING),
            )
            for p, start in starts.items()
            if start.offset is not None or p in at
        }

    def told(self, topic: str, start: Start) -> Start:
        """Return a start with the count that the commits of its topic must carry."""
        if self._offset != "latest":
            return start
        return replace(start, partitions=self._counts.get(topic, 0))

    def committed(self, topic: str) -> None:
        """Note that the group has committed in a topic; if that is gone later, it was made anew."""
        self._committed.add(topic)

    def _count(
        self,
        consumer: Consumer,
        starts: Mapping[TopicPartition, Start],
        seconds: float,
        tries: int,
    ) -> set[str]:
        """Learn how many partitions topics had at first; return the topics that are known."""
        silent = {p.topic for p, start in starts.items() if said(start) is None}
        asked = others((p for p in starts if p.topic in silent), self._counts)
        answers = _committed(consumer, asked, seconds, tries)
        unknown = {p.topic for p in asked if p not in answers}
        found = {p: start for p, start in {**starts, **answers}.items() if p.topic not in unknown}
        used = {p.topic for p, start in found.items() if start.offset is not None}
        for topic in self._committed.intersection(p.topic for p in found) - used:
            self._counts[topic] = 0
            self._committed.discard(topic)
        self._counts |= first_counts(found, self._counts)
        self._committed |= used
        return {p.topic for p in found}


def _at(start: Start, fresh: int) -> Beginning:
    return Beginning(start, fresh if start.offset is None else start.offset)


def _committed(
    consumer: Consumer, partitions: Iterable[TopicPartition], seconds: float, tries: int
) -> dict[TopicPartition, Start]:
    """Return what the group has committed, or that it has nothing; the unknown is absent."""
    told: dict[TopicPartition, Start] = {}
    asked = theirs(partitions)
    for _ in range(tries):
        if not asked:
            break
        try:
            found = consumer.committed(asked, seconds)
        except KafkaException as error:
            logger.warning("committed offsets are not to be had: %s", error.args[0].str())
            continue
        for p in found:
            if p.error is None:
                told[ours(p)] = Start(p.offset, p.metadata or "") if p.offset >= 0 else Start(None)
        asked = [p for p in found if p.error is not None]
    return told


def _offsets(
    consumer: Consumer, edges: Mapping[TopicPartition, int], seconds: float
) -> dict[TopicPartition, int]:
    """Return the offsets of ends or beginnings; partitions without an answer are absent."""
    asked = [KafkaPartition(*p, edge) for p, edge in edges.items()]
    if not asked:
        return {}
    try:
        # The times -1 and -2 mean the end and the beginning in Kafka: one question to each
        # broker, where get_watermark_offsets asks one for each partition.
        found = consumer.offsets_for_times(asked, seconds)
    except KafkaException as error:
        logger.warning("the ends of partitions are not to be had: %s", error.args[0].str())
        return {}
    return {ours(p): p.offset for p in found if p.error is None and p.offset >= 0}
