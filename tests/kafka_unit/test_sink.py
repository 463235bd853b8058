"""The sink on the built-in broker: the core is answered once for every record."""

from __future__ import annotations

import os
import re
import select
import signal

import pytest
from confluent_kafka import KafkaError
from confluent_kafka import Message as ClientMessage

from kqworker.core.commands import Produce
from kqworker.core.events import Delivered
from kqworker.errors import BrokerError
from kqworker.kafka import refusals
from kqworker.kafka.devbroker import (
    DevBroker,
)
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.kafka.sink import KafkaSink, _Produced
from kqworker.types import Output
from tests.frozen import freeze
from tests.kafka_unit.sinks import TIMEOUT, deliveries, stored
from tests.waiting import until


def test_a_full_queue_blocks_nobody_and_loses_nothing(broker: DevBroker) -> None:
    properties = {**producer_properties(broker.address), "queue.buffering.max.messages": "10"}
    sink = KafkaSink(Outgoing(properties))
    freeze(broker.pid)
    for ticket in range(500):  # with the broker frozen: nothing of this waits for it
        sink.produce(Produce(ticket, Output("out", str(ticket).encode(), partition=0)))
    os.kill(broker.pid, signal.SIGCONT)

    assert deliveries(sink, 500) == [Delivered(ticket) for ticket in range(500)]
    values = [output.value for output in stored(broker, "out", 0, 500)]
    assert values == [str(number).encode() for number in range(500)]
    assert sink.close(TIMEOUT)


def test_a_record_that_no_queue_can_hold_fails_and_holds_up_no_other(broker: DevBroker) -> None:
    sink = KafkaSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.kbytes": "1"})
    )
    sink.produce(Produce(1, Output("out", bytes(5_000))))
    sink.produce(Produce(2, Output("out", b"2")))

    answers = {event.ticket: event for event in deliveries(sink, 2)}  # type: ignore[union-attr]
    assert answers[2] == Delivered(2)
    assert isinstance(answers[1], Delivered) and not answers[1].retriable
    assert answers[1].failure is not None
    assert "queue.buffering.max.kbytes" in answers[1].failure.text
    assert sink.close(TIMEOUT)


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(Output("out", bytes(200 * 2**20)), id="too large"),
        pytest.param(Output("o\0t", b"1"), id="a NUL in the topic"),
        pytest.param(Output("out", b"1", partition=4), id="no such partition"),
        pytest.param(Output("out", b"1", partition=2**40), id="a partition beyond 32 bits"),
    ],
)
def test_what_no_attempt_can_help_is_answered_as_final(
    sink: KafkaSink, pushes: KafkaPushSink, output: Output
) -> None:
    sink.produce(Produce(1, output))
    (event,) = deliveries(sink, 1)

    assert isinstance(event, Delivered) and event.failure is not None
    assert not event.retriable
    with pytest.raises(BrokerError, match=r"^the record cannot be delivered: \S") as raised:
        pushes.send(output).wait(TIMEOUT)
    assert not raised.value.retriable


def test_what_is_larger_than_librdkafka_takes_is_told_with_the_setting(
    broker: DevBroker,
) -> None:
    sink = KafkaSink(
        Outgoing(producer_properties(broker.address, extra={"message.max.bytes": "2000"}))
    )
    sink.produce(Produce(1, Output("out", bytes(3000), b"key")))
    (event,) = deliveries(sink, 1)

    assert isinstance(event, Delivered) and event.failure is not None and event.too_large
    assert event.failure.text == (
        "its 3,003 bytes are too many: set message.max.bytes above them (now 2000)"
    )
    assert sink.close(TIMEOUT)


@pytest.mark.parametrize(
    ("code", "key", "said"),
    [
        (
            KafkaError.MSG_SIZE_TOO_LARGE,
            b"k",
            "its 5,001 bytes (before compression) are more than topic 'out' takes: raise the ",
        ),
        (KafkaError.INVALID_RECORD, None, "topic 'out' takes no record without a key: is it "),
        (KafkaError.INVALID_RECORD, b"k", "topic 'out' does not take this record: has it a "),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, b"k", "no right to write to topic 'out', grant "),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, b"k", "no right to write to topic 'out', "),
        (KafkaError._UNKNOWN_PARTITION, b"k", "topic 'out' has no such partition, or is deleted"),
    ],
)
def test_what_a_broker_refuses_is_told_with_the_reason_and_the_remedy(
    code: int, key: bytes | None, said: str
) -> None:
    message = ClientMessage("out", 0, value=bytes(5000), key=key)

    assert refusals.why(KafkaError(code), "out", message, "").startswith(said)


def test_a_broker_that_is_away_is_worth_another_attempt(broker: DevBroker) -> None:
    sink = KafkaSink(
        Outgoing({**producer_properties(broker.address), "delivery.timeout.ms": "300"})
    )
    broker.stop()
    said: list[str] = []

    def refused() -> bool:
        sink.produce(Produce(1, Output("out", b"1")))
        (event,) = deliveries(sink, 1)
        assert isinstance(event, Delivered) and event.failure is not None
        assert event.failure.type == "KafkaError._MSG_TIMED_OUT"
        assert event.retriable
        said.append(event.failure.text)
        return "refused" in said[-1]

    until(refused, "the reason")
    assert said[-1] == "Kafka did not confirm it in time (connection refused)"
    assert sink.close(TIMEOUT)


def test_why_no_broker_could_be_reached_is_forgotten_once_one_answers(
    broker: DevBroker, pushes: KafkaPushSink
) -> None:
    pushes._outgoing._ear.log(
        40, "%s", "FAIL", "client", "b:1/1: Connect to ipv4#1.1.1.1:1 failed: No route"
    )
    assert pushes._outgoing._ear.why() == "no route"
    pushes.send(Output("out", b"1")).wait(TIMEOUT)
    assert pushes._outgoing._ear.why() == ""


def test_a_missing_topic_is_named_with_what_cannot_go_there(broker: DevBroker) -> None:
    sink = KafkaSink(
        Outgoing(
            {**producer_properties(broker.address), "topic.metadata.propagation.max.ms": "300"}
        )
    )
    sink.produce(Produce(1, Output("nowhere", b"1")))
    (event,) = deliveries(sink, 1)

    assert isinstance(event, Delivered) and event.failure is not None
    assert event.failure.text == (
        "topic 'nowhere' does not exist: no push, output or dead letter can go there"
    )
    assert sink.close(TIMEOUT)


@pytest.mark.parametrize("error", [RecursionError, SystemExit])
def test_a_thread_that_fails_wakes_the_core_and_confirms_nothing(
    broker: DevBroker,
    error: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def failing(*_: object) -> None:
        raise error("why")

    monkeypatch.setattr(_Produced, "delivered", failing)
    sink = KafkaSink(Outgoing(producer_properties(broker.address)))
    for ticket in range(10):
        sink.produce(Produce(ticket, Output("out", b"1")))

    assert select.select([sink], [], [], TIMEOUT)[0]
    said = f"the thread that delivers records has failed, .*: {error.__name__}: why"
    assert re.search(said, str(sink.fatal))
    sink.produce(Produce(10, Output("out", b"5")))  # and nobody confirms it
    assert sink.events() == []
    assert not sink.close(TIMEOUT)
    assert re.search(said, caplog.text)


def test_a_closed_sink_takes_nothing(sink: KafkaSink, pushes: KafkaPushSink) -> None:
    assert sink.close(TIMEOUT)
    assert pushes.close(TIMEOUT)

    with pytest.raises(RuntimeError, match="closed"):
        pushes.send(Output("out", b"1"))
    with pytest.raises(RuntimeError, match="closed"):
        pushes.partitions("out", 1.0)
    with pytest.raises(RuntimeError, match="closed"):
        sink.produce(Produce(1, Output("out", b"1")))
