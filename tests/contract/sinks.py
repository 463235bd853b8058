"""The sinks that the contract of `Sink` binds, each with what it has stored."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from confluent_kafka import Consumer, TopicPartition

from kqworker import ports
from kqworker.kafka.devbroker import DevBroker, create_topics
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.sink import KafkaSink
from kqworker.types import Output
from tests.contract.brokers import PARTITIONS, TIMEOUT
from tests.contract.simulated import SimulatedSink
from tests.kafka.cluster import Cluster

# What leads from properties to Kafka.
Way: TypeAlias = Callable[[dict[str, str]], Outgoing]


class Shore(Protocol):
    """A sink, and what arrives behind it."""

    sink: ports.Sink
    topic: str

    def stored(self, count: int) -> Sequence[Output]:
        """Return what has arrived, each partition in its order; there must be `count`."""
        ...


class Simulated:
    """The simulator's."""

    def __init__(self) -> None:
        self.sink = SimulatedSink()
        self.topic = "out"

    def stored(self, count: int) -> Sequence[Output]:
        assert len(self.sink.landed) == count
        return self.sink.landed


class OnKafka:
    """A producer of librdkafka, and a broker."""

    def __init__(self, way: Way, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self.topic = topic
        self.sink: ports.Sink = KafkaSink(way(producer_properties(bootstrap)))

    def stored(self, count: int) -> Sequence[Output]:
        reader = Consumer({"bootstrap.servers": self._bootstrap, "group.id": "reader"})
        reader.assign([TopicPartition(self.topic, number, 0) for number in range(PARTITIONS)])
        found: list[Output] = []
        try:
            while len(found) < count:
                message = reader.poll(TIMEOUT)
                assert message is not None, f"{len(found)} of {count} have arrived"
                assert message.error() is None
                value, key, headers = message.value(), message.key(), message.headers()
                place, stamp = message.partition(), message.timestamp()[1]
                found.append(Output(self.topic, value, key, tuple(headers or ()), place, stamp))  # type: ignore[arg-type]
            assert reader.poll(0.2) is None, "more has arrived than was produced"
        finally:
            reader.close()
        return found


def built_in(way: Way, broker: DevBroker) -> OnKafka:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    create_topics(broker.address, [topic])
    return OnKafka(way, broker.address, topic)


def apache(cluster: Cluster) -> OnKafka:
    return OnKafka(Outgoing, cluster.bootstrap, cluster.new_topic(PARTITIONS))
