"""Where partitions begin that a member was given: at the group's commit, or where `offset` says.

Decides it for every partition: librdkafka never does (auto.offset.reset=error). What Kafka
does not answer in time stays open, and is asked again. Keeps nothing.
Tested by tests/kafka_unit/test_beginnings.py and tests/contract/test_source.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker import logs
from kqworker.core.events import Start
from kqworker.errors import BrokerError
from kqworker.kafka.partitions import ours, theirs
from kqworker.types import TopicPartition

logger = logs.logger("kqworker.kafka")

# Asking where a partition was left off: each try, and how many. It is done inside a
# rebalance, for which the group waits.
BEGIN_SECONDS = 5.0
BEGIN_TRIES = 2


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a partition begins.

    Attributes:
        start: What the core is told: the group's commit, or that there is none.
        at: What librdkafka is to read first: an offset, or OFFSET_BEGINNING.
    """

    start: Start
    at: int


def beginnings_of(
    consumer: Consumer,
    partitions: Iterable[TopicPartition],
    offset: str,
    seconds: float = BEGIN_SECONDS,
    tries: int = BEGIN_TRIES,
) -> dict[TopicPartition, Beginning]:
    """Ask where partitions begin; those of which it is not known yet are absent.

    Args:
        consumer: Of the group.
        partitions: Which.
        offset: Where one begins that the group has no commit of: earliest, latest or error.
        seconds: How long each question may take.
        tries: How often the group's commits are asked for.

    Raises:
        BrokerError: The group has no commit, and that is an error.
    """
    found: dict[TopicPartition, Beginning] = {}
    fresh: list[TopicPartition] = []
    for partition, start in _committed(consumer, partitions, seconds, tries).items():
        if start.offset is None:
            fresh.append(partition)
        else:
            found[partition] = Beginning(start, start.offset)
    if offset == "error" and fresh:
        raise BrokerError(
            f"{fresh[0]}: the group has no committed offset, and `offset: error` lets none begin"
        )
    if offset == "latest":
        # At a number, not at OFFSET_END: it is committed before any message comes. Otherwise
        # a restart would begin at a later end.
        ends = _ends(consumer, fresh, seconds)
        found |= {partition: Beginning(Start(None), end) for partition, end in ends.items()}
    else:
        found |= {partition: Beginning(Start(None), OFFSET_BEGINNING) for partition in fresh}
    return found


def _committed(
    consumer: Consumer, partitions: Iterable[TopicPartition], seconds: float, tries: int
) -> dict[TopicPartition, Start]:
    """Return what the group has committed, or that it has nothing; what is unknown is absent."""
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


def _ends(
    consumer: Consumer, partitions: Iterable[TopicPartition], seconds: float
) -> dict[TopicPartition, int]:
    asked = [KafkaPartition(p.topic, p.partition, OFFSET_END) for p in partitions]
    if not asked:
        return {}
    try:
        # A time of -1 is Kafka's own word for the end: one question to each broker, where
        # get_watermark_offsets asks one for each partition.
        found = consumer.offsets_for_times(asked, seconds)
    except KafkaException as error:
        logger.warning("the ends of partitions are not to be had: %s", error.args[0].str())
        return {}
    return {ours(p): p.offset for p in found if p.error is None and p.offset >= 0}
