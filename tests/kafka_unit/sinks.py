"""What the core was answered, and what the broker has."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

from kqworker.core.events import Event
from kqworker.kafka.devbroker import (
    PROPERTIES,
    DevBroker,
)
from kqworker.kafka.sink import KafkaSink
from kqworker.types import Output
from tests.waiting import pump

TIMEOUT = 20.0


def deliveries(sink: KafkaSink, count: int) -> list[Event]:
    """The next `count` events, each waited for with the descriptor alone."""
    events: list[Event] = []
    there = pump(
        lambda: len(events) >= count, lambda s: events.extend(s.events()), sink, within=TIMEOUT
    )
    assert there, f"only {len(events)} of {count}"
    return events


def stored(broker: DevBroker, topic: str, partition: int, count: int) -> list[Output]:
    """What the broker has, as it would be produced again."""
    member = Consumer({"bootstrap.servers": broker.address, "group.id": "reader", **PROPERTIES})
    member.assign([TopicPartition(topic, partition, 0)])
    outputs = []
    for _ in range(count):
        message = member.poll(TIMEOUT)
        assert message is not None and message.error() is None
        headers = tuple(message.headers() or ())
        stamp = message.timestamp()[1]
        outputs.append(
            Output(topic, message.value(), message.key(), headers, partition, stamp)  # type: ignore[arg-type]
        )
    member.close()
    return outputs
