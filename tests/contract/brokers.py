"""The brokers that a source is held against, asked in one way.

A simulated one may join them. Used by tests/contract/conftest.py and the tests of sources.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import Consumer, Producer, TopicPartition

from kqworker.core.commands import Mark
from kqworker.kafka.devbroker import create_topics
from kqworker.kafka.properties import consumer_properties

if TYPE_CHECKING:
    from kqworker.kafka.devbroker import DevBroker
    from tests.kafka.cluster import Cluster

TIMEOUT = 30.0
# The mock cluster gives every topic so many.
PARTITIONS = 4


class Broker(Protocol):
    """What the suite needs of a broker."""

    bootstrap: str
    # Properties that choose the group's protocol.
    protocol: Mapping[str, str]

    def new_topic(self, name: str = "") -> str: ...


class Mock:
    """librdkafka's mock cluster."""

    def __init__(self, broker: DevBroker, protocol: Mapping[str, str]) -> None:
        self.bootstrap = broker.address
        self.protocol = protocol

    def new_topic(self, name: str = "") -> str:
        name = name or f"t-{uuid.uuid4().hex[:12]}"
        create_topics(self.bootstrap, [name])
        return name


class Apache:
    """Apache Kafka."""

    def __init__(self, cluster: Cluster, protocol: Mapping[str, str]) -> None:
        self.bootstrap = cluster.bootstrap
        self.protocol = protocol
        self._cluster = cluster

    def new_topic(self, name: str = "") -> str:
        if name:
            return self._cluster.create_topic(name, PARTITIONS)
        return self._cluster.new_topic(PARTITIONS)


def new_group() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


def properties(broker: Broker, group: str, offset: str = "earliest", **more: str) -> dict[str, str]:
    """Of one member, as the composition root makes them."""
    extra = {name.replace("_", "."): value for name, value in more.items()}
    extra = {**broker.protocol, **extra}
    return consumer_properties(broker.bootstrap, group, offset=offset, extra=extra)


def produce(broker: Broker, topic: str, values: Mapping[int, Sequence[bytes]]) -> None:
    """Puts values into partitions; returns when the broker has them."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 1})
    for partition, batch in values.items():
        for value in batch:
            producer.produce(topic, value, partition=partition)
    assert producer.flush(TIMEOUT) == 0


def committed(broker: Broker, group: str, topic: str) -> dict[int, Mark]:
    """By partition, what the group has committed; partitions without a commit are absent."""
    reader = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, **broker.protocol})
    try:
        asked = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        found = reader.committed(asked, TIMEOUT)
    finally:
        reader.close()
    assert not any(p.error for p in found)
    return {p.partition: Mark(p.offset, p.metadata or "") for p in found if p.offset >= 0}
