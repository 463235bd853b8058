"""The sink on Apache Kafka: what only a real broker answers."""

from __future__ import annotations

import logging

import pytest

from kqworker.core.commands import Produce
from kqworker.core.events import Delivered, Event
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.kafka.sink import KafkaSink
from kqworker.types import Output
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.waiting import pump

TIMEOUT = 30.0


def properties(cluster: Cluster, **extra: str) -> dict[str, str]:
    security = {k: v for k, v in cluster.client.items() if k != "bootstrap.servers"}
    dotted = {name.replace("_", "."): value for name, value in extra.items()}
    return producer_properties(cluster.bootstrap, {**security, **dotted})


def answer(sink: KafkaSink) -> Delivered:
    """The next event, waited for."""
    events: list[Event] = []
    took = pump(lambda: events, lambda s: events.extend(s.events()), sink, within=TIMEOUT)
    assert took, "no answer"
    (event,) = events
    assert isinstance(event, Delivered)
    return event


def test_a_record_of_1_mib_and_more_is_the_broker_s_to_refuse(
    kafka: Cluster, topic: NewTopic
) -> None:
    small, large = topic(), topic(config={"max.message.bytes": "8000000"})
    sink = KafkaSink(Outgoing(properties(kafka)))
    sink.produce(Produce(1, Output(large, bytes(7_000_000))))
    assert answer(sink) == Delivered(1)
    sink.produce(Produce(2, Output(small, bytes(7_000_000))))
    refused = answer(sink)

    assert refused.failure is not None and not refused.retriable
    assert refused.failure.type == "KafkaError.MSG_SIZE_TOO_LARGE"
    assert refused.failure.text == (
        f"its 7,000,000 bytes (before compression) are more than topic {small!r} takes: "
        "raise the topic's max.message.bytes, or the brokers' message.max.bytes"
    )
    assert sink.close(TIMEOUT)


def test_a_topic_that_does_not_exist_is_the_answer_and_is_not_created(
    kafka: Cluster, topic: NewTopic
) -> None:
    existing = topic()
    sink = KafkaSink(Outgoing(properties(kafka, topic_metadata_propagation_max_ms="500")))
    sink.produce(Produce(1, Output(f"{existing}-misspelt", b"1")))
    refused = answer(sink)

    assert refused.failure is not None and not refused.retriable
    assert "opic" in refused.failure.text
    assert sink.close(TIMEOUT)


def test_a_fatal_error_costs_a_new_producer_and_no_answer(
    kafka: Cluster, topic: NewTopic, caplog: pytest.LogCaptureFixture
) -> None:
    # A gap where none is allowed is the fatal error that needs no faulty broker.
    caplog.set_level(logging.INFO, "kqworker.kafka")
    name = topic(config={"max.message.bytes": "2000"})
    sink = KafkaSink(Outgoing(properties(kafka, enable_gapless_guarantee="true")))
    sink.produce(Produce(1, Output(name, b"before")))
    assert answer(sink) == Delivered(1)
    sink.produce(Produce(2, Output(name, bytes(5000))))
    refused = answer(sink)

    assert refused.failure is not None
    sink.produce(Produce(3, Output(name, b"after")))
    assert answer(sink) == Delivered(3)
    assert kafka.end_offsets(name) == {0: 2}
    assert "FATAL" in {record.__dict__.get("facility") for record in caplog.records}
    assert sink.close(TIMEOUT)


def test_records_survive_the_end_of_the_partition_s_leader(kafka3: Cluster) -> None:
    name = kafka3.new_topic()
    sink = KafkaPushSink(Outgoing(properties(kafka3)))
    sink.send(Output(name, b"first")).wait(TIMEOUT)
    leader = kafka3.leader(name)
    kafka3.kill(leader)
    sent = [sink.send(Output(name, str(number).encode())) for number in range(1000)]

    assert [delivery.wait(TIMEOUT).offset for delivery in sent] == list(range(1, 1001))
    kafka3.restart(leader)
    assert kafka3.end_offsets(name) == {0: 1001}
    assert sink.close(TIMEOUT)


def test_a_frozen_cluster_does_not_hold_up_a_close(kafka3: Cluster) -> None:
    name = kafka3.new_topic()
    sink = KafkaPushSink(Outgoing(properties(kafka3)))
    sink.send(Output(name, b"first")).wait(TIMEOUT)
    for index in range(3):
        kafka3.freeze(index)
    delivery = sink.send(Output(name, b"held"))

    assert not sink.close(0.5)
    assert delivery.done


def test_tls_and_scram_are_plain_settings(kafka_tls: Cluster) -> None:
    sink = KafkaPushSink(Outgoing(properties(kafka_tls)))

    assert sink.send(Output(kafka_tls.new_topic(), b"1")).wait(TIMEOUT).offset == 0
    assert sink.close(TIMEOUT)
