"""The sink on the built-in broker: every record is answered once, whatever happens."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as ClientMessage

from kqworker import App
from kqworker.app.delivery import Delivery
from kqworker.core.commands import Produce
from kqworker.core.events import Delivered, Event
from kqworker.errors import BrokerError
from kqworker.kafka import counting, refusals
from kqworker.kafka.devbroker import (
    PARTITIONS,
    PROPERTIES,
    DevBroker,
    create_topics,
    start_dev_broker,
)
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink, _Pushed
from kqworker.kafka.sink import KafkaSink, _Produced
from kqworker.types import Output
from tests.frozen import freeze
from tests.interrupting import interrupt_within
from tests.waiting import pump, until

TIMEOUT = 20.0


@pytest.fixture
def broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        create_topics(started.address, ["out"])
        yield started


@pytest.fixture
def sink(broker: DevBroker) -> Iterator[KafkaSink]:
    opened = KafkaSink(Outgoing(producer_properties(broker.address)))
    yield opened
    opened.close(TIMEOUT)


@pytest.fixture
def pushes(broker: DevBroker) -> Iterator[KafkaPushSink]:
    opened = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    yield opened
    opened.close(TIMEOUT)


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


def test_send_waits_for_room_in_the_queue(broker: DevBroker) -> None:
    pushes = KafkaPushSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.messages": "10"})
    )
    sent = [pushes.send(Output("out", b"1", partition=0)) for _ in range(200)]

    assert sorted(delivery.wait(TIMEOUT).offset or 0 for delivery in sent) == list(range(200))
    assert pushes.close(TIMEOUT)


def test_send_waits_for_room_as_long_as_it_is_told(broker: DevBroker) -> None:
    pushes = KafkaPushSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.messages": "10"})
    )
    freeze(broker.pid)
    sent = [pushes.send(Output("out", b"1", partition=0), timeout=0) for _ in range(10)]
    for timeout in (0, 0.1):
        with pytest.raises(TimeoutError):
            pushes.send(Output("out", b"2", partition=0), timeout=timeout)
    os.kill(broker.pid, signal.SIGCONT)
    sent.append(pushes.send(Output("out", b"1", partition=0), timeout=TIMEOUT))

    assert [delivery.wait(TIMEOUT).offset for delivery in sent] == list(range(11))
    assert pushes.close(TIMEOUT)


def test_send_tells_the_delivery_that_it_is_given(pushes: KafkaPushSink) -> None:
    delivery = Delivery()

    assert pushes.send(Output("out", b"1"), delivery) is delivery
    assert delivery.wait(TIMEOUT).offset == 0


def test_partitions_are_those_of_the_broker(pushes: KafkaPushSink) -> None:
    assert pushes.partitions("out", TIMEOUT) == PARTITIONS


def test_a_topic_without_partitions_is_told_and_not_created(
    broker: DevBroker, pushes: KafkaPushSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long may an answer take; the topic is waited for until nobody wants it any more.
    monkeypatch.setattr(counting, "ASK", TIMEOUT)
    unwanted = [False, True]
    with pytest.raises(BrokerError, match="topic 'nowhere' does not exist") as raised:
        pushes.partitions("nowhere", TIMEOUT, lambda: unwanted.pop(0))
    assert not raised.value.retriable
    assert not unwanted
    # And as long as was said.
    with pytest.raises(BrokerError):
        pushes.partitions("nowhere", 0.1)
    creating = {**producer_properties(broker.address), "allow.auto.create.topics": "true"}
    other = KafkaPushSink(Outgoing(creating))
    assert other.partitions("nowhere", TIMEOUT) == PARTITIONS
    assert other.close(TIMEOUT)


def test_a_broker_that_is_away_does_not_tell_partitions(
    broker: DevBroker, pushes: KafkaPushSink
) -> None:
    broker.stop()
    said: list[str] = []

    def refused() -> bool:
        with pytest.raises(BrokerError, match="cannot read how many partitions") as raised:
            pushes.partitions("out", 0.5)
        assert raised.value.retriable
        said.append(str(raised.value))
        return "refused" in said[-1]

    until(refused, "the reason")
    assert re.search(r"there are: .* \(connection refused\)$", said[-1])


def test_send_tells_where_the_record_is(pushes: KafkaPushSink) -> None:
    delivery = pushes.send(Output("out", b"1", partition=2)).wait(TIMEOUT)

    assert (delivery.done, delivery.partition, delivery.offset) == (True, 2, 0)


def test_several_threads_may_send(pushes: KafkaPushSink) -> None:
    def push() -> None:
        for delivery in [pushes.send(Output("out", b"1", partition=1)) for _ in range(250)]:
            delivery.wait(TIMEOUT)

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert pushes.send(Output("out", b"1", partition=1)).wait(TIMEOUT).offset == 1000


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


class Batches(Producer):
    """Answers for what the broker stored as if it had refused every batch of several records.

    Attributes:
        sizes: Of each batch, by the producer that has sent it.
    """

    refused = KafkaError.INVALID_RECORD

    def __init__(self, settings: dict[str, Any], **named: Any) -> None:
        super().__init__(settings, **named)
        self._alone = settings.get("batch.num.messages") == "1"

    def produce(self, topic: str, value: bytes | None, *rest: Any, **named: Any) -> None:
        answered = named.pop("on_delivery")
        bad = value == b"bad"

        def told(error: KafkaError | None, message: ClientMessage) -> None:
            refused = KafkaError(self.refused) if bad or not self._alone else None
            answered(error or refused, message)

        super().produce(topic, value, *rest, on_delivery=told, **named)


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.INVALID_RECORD,
        KafkaError._INVALID_DIFFERENT_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
    ],
)
def test_what_was_refused_with_its_batch_is_sent_again_alone(
    broker: DevBroker, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # What a real broker answers: tests/kafka/test_unwanted_records.py.
    monkeypatch.setattr("kqworker.kafka.producing.Producer", Batches)
    monkeypatch.setattr(Batches, "refused", code)
    sink = KafkaSink(Outgoing(producer_properties(broker.address)))
    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    for ticket, value in enumerate((b"good", b"bad", b"good")):
        sink.produce(Produce(ticket, Output("out", value, partition=0)))
    pushed = pushes.send(Output("out", b"good", partition=0))
    refused = pushes.send(Output("out", b"bad", partition=0))

    answers = {event.ticket: event for event in deliveries(sink, 3)}  # type: ignore[union-attr]
    assert pushed.wait(TIMEOUT).done
    with pytest.raises(BrokerError):
        refused.wait(TIMEOUT)
    assert (answers[0], answers[2]) == (Delivered(0), Delivered(2))
    assert isinstance(answers[1], Delivered) and answers[1].failure is not None
    assert answers[1].failure.type == f"KafkaError.{KafkaError(code).name()}"
    assert sink.close(TIMEOUT)
    assert pushes.close(TIMEOUT)


def test_what_a_batch_of_its_own_was_refused_with_is_not_sent_again(
    broker: DevBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kqworker.kafka.producing.Producer", Batches)
    sink = KafkaSink(Outgoing({**producer_properties(broker.address), "batch.size": "1000"}))
    sink.produce(Produce(1, Output("out", bytes(1000), partition=0)))

    (answer,) = deliveries(sink, 1)
    assert isinstance(answer, Delivered) and answer.failure is not None
    assert len(stored(broker, "out", 0, 1)) == 1
    assert sink._outgoing._single is None
    assert sink.close(TIMEOUT)


def test_a_close_waits_for_what_is_sent_again_alone(
    broker: DevBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kqworker.kafka.producing.Producer", Batches)
    pushes = KafkaPushSink(Outgoing({**producer_properties(broker.address), "linger.ms": "25000"}))
    sent = [pushes.send(Output("out", b"good", partition=0)) for _ in range(100)]

    assert pushes.close(TIMEOUT)
    assert [delivery.wait(0).done for delivery in sent] == [True] * 100


def test_what_was_to_be_sent_again_alone_has_failed_once_the_close_is_over(
    broker: DevBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kqworker.kafka.producing.Producer", Batches)
    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    assert pushes.send(Output("out", b"good", partition=0)).wait(TIMEOUT).done
    freeze(broker.pid)
    single = pushes._outgoing._single
    assert single is not None
    sent = [Delivery() for _ in range(10)]
    for delivery in sent:
        single.push(_Pushed(Output("out", b"good", partition=0), delivery), None, None)

    assert not pushes.close(0.2)
    assert all(delivery.done for delivery in sent)
    os.kill(broker.pid, signal.SIGCONT)


def test_a_missing_right_to_write_is_worth_waiting_for_and_ends_a_push(
    broker: DevBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kqworker.kafka.producing.Producer", Batches)
    monkeypatch.setattr(Batches, "refused", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    sink = KafkaSink(Outgoing(producer_properties(broker.address)))
    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    sink.produce(Produce(1, Output("out", b"1", partition=0)))

    (answer,) = deliveries(sink, 1)
    assert isinstance(answer, Delivered) and answer.failure is not None
    assert answer.retriable and "no right to write to topic 'out'" in answer.failure.text
    with pytest.raises(BrokerError, match="no right to write to topic 'out'") as raised:
        pushes.send(Output("out", b"1", partition=0)).wait(TIMEOUT)
    assert not raised.value.retriable
    assert sink.close(TIMEOUT)
    assert pushes.close(TIMEOUT)


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


def test_a_producer_that_librdkafka_has_given_up_is_replaced(
    broker: DevBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a real one does: tests/kafka/test_sink.py.
    made: list[Producer] = []

    class GivenUp(Producer):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

        def produce(self, *arguments: Any, **named: Any) -> None:
            if self is made[0]:
                raise KafkaException(KafkaError(KafkaError._FATAL, fatal=True))
            super().produce(*arguments, **named)

    monkeypatch.setattr("kqworker.kafka.producing.Producer", GivenUp)
    sink = KafkaSink(Outgoing(producer_properties(broker.address)))
    for ticket in range(10):
        sink.produce(Produce(ticket, Output("out", b"1", partition=0)))

    assert deliveries(sink, 10) == [Delivered(ticket) for ticket in range(10)]
    assert len(made) == 2
    assert sink.close(TIMEOUT)
    made.clear()
    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    assert pushes.send(Output("out", b"1", partition=0)).wait(TIMEOUT).offset == 10
    assert len(made) == 2
    assert pushes.close(TIMEOUT)
    made.clear()


def test_a_producer_without_any_right_is_made_anew_now_and_then_and_the_reason_is_told(
    broker: DevBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a real one does: tests/kafka/test_unwanted_records.py.
    made: list[float] = []
    why = KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "not yours", fatal=True)

    class Powerless(Producer):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(time.monotonic())

        def poll(self, timeout: float = -1) -> int:  # type: ignore[override]
            raise KafkaException(why)

        def produce(self, *arguments: Any, **named: Any) -> None:
            # It is queued, and nothing of the queue is sent any more.
            super().produce("nowhere", *arguments[1:], **named)

    monkeypatch.setattr("kqworker.kafka.producing.Producer", Powerless)
    monkeypatch.setattr("kqworker.kafka.producing.FIRST_PAUSE", 0.2)
    sink = KafkaSink(Outgoing(producer_properties(broker.address)))
    answers = []
    for ticket in range(3):
        sink.produce(Produce(ticket, Output("out", b"1", partition=0)))
        answers += deliveries(sink, 1)

    for answer in answers:
        assert isinstance(answer, Delivered) and answer.failure is not None
        assert answer.failure.type == "KafkaError.CLUSTER_AUTHORIZATION_FAILED"
        assert answer.failure.text == "no right to write to topic 'out', grant WRITE: not yours"
        assert answer.retriable
    pauses = [after - before for before, after in pairwise(made[1:])]
    assert all(pause >= 0.2 for pause in pauses), pauses
    assert sink.close(TIMEOUT)


def test_close_waits_for_what_is_under_way(broker: DevBroker) -> None:
    pushes = KafkaPushSink(Outgoing({**producer_properties(broker.address), "linger.ms": "25000"}))
    sent = [pushes.send(Output("out", b"1")) for _ in range(1000)]

    assert pushes.close(TIMEOUT)
    assert all(delivery.done for delivery in sent)


def test_close_answers_what_it_could_not_deliver(broker: DevBroker) -> None:
    sink = KafkaSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.messages": "10"})
    )
    freeze(broker.pid)
    for ticket in range(20):
        sink.produce(Produce(ticket, Output("out", b"1")))

    assert not sink.close(0.2)
    assert sink.close(0.2) is False
    os.kill(broker.pid, signal.SIGCONT)


def test_a_push_that_waits_for_room_learns_of_the_close(broker: DevBroker) -> None:
    pushes = KafkaPushSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.messages": "10"})
    )
    freeze(broker.pid)
    sent = [pushes.send(Output("out", b"1")) for _ in range(10)]
    waiting: list[bool] = []
    sender = threading.Thread(target=lambda: waiting.append(closed_under(pushes)))
    sender.start()

    assert not pushes.close(0.2)
    sender.join()
    assert waiting == [True]
    assert all(delivery.done for delivery in sent)
    assert pushes.close(0.2) is False
    os.kill(broker.pid, signal.SIGCONT)


def closed_under(pushes: KafkaPushSink) -> bool:
    """Whether a send that waits for room learns that there will be none."""
    try:
        pushes.send(Output("out", b"1"))
    except RuntimeError:
        return True
    return False


def test_deliveries_that_a_close_cuts_off_have_failed(broker: DevBroker) -> None:
    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    freeze(broker.pid)
    sent = [pushes.send(Output("out", b"1")) for _ in range(20)]

    assert not pushes.close(0.2)
    for delivery in sent:
        with pytest.raises(BrokerError, match=r"delivered: .* before the close") as raised:
            delivery.wait(0)
        assert raised.value.retriable
    os.kill(broker.pid, signal.SIGCONT)


def test_a_delivery_that_does_not_return_holds_up_no_close(broker: DevBroker) -> None:
    entered, going_on = threading.Event(), threading.Event()

    class Slow(Delivery):
        def _resolve(self, partition: int | None, offset: int | None) -> None:
            entered.set()
            going_on.wait(TIMEOUT)
            super()._resolve(partition, offset)

    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    slow = pushes.send(Output("out", b"1"), Slow())
    assert entered.wait(TIMEOUT)

    assert not pushes.close(0.0)
    assert not slow.done
    going_on.set()
    pushes._outgoing._thread.join(TIMEOUT)
    assert slow.done and not pushes._outgoing._thread.is_alive()


@pytest.mark.parametrize("error", [RecursionError, SystemExit])
def test_a_thread_that_fails_fails_all_records_and_says_so(
    broker: DevBroker, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Delivery):
        def _resolve(self, partition: int | None, offset: int | None) -> None:
            raise error("why")

        def _fail(self, _: BaseException) -> None:
            raise RuntimeError

    pushes = KafkaPushSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.messages": "10"})
    )
    freeze(broker.pid)
    first = [pushes.send(Output("out", b"1")) for _ in range(4)]
    pushes.send(Output("out", b"2"), Failing())
    sent = [pushes.send(Output("out", b"3")) for _ in range(5)]
    waiting: list[BaseException] = []
    sender = threading.Thread(target=lambda: waiting.append(refusal(pushes)))
    sender.start()
    os.kill(broker.pid, signal.SIGCONT)

    for delivery in (*first, *sent):
        with contextlib.suppress(BrokerError):
            assert delivery.wait(TIMEOUT).offset is not None
    sender.join()
    said = f"the thread that delivers records has failed, .*: {error.__name__}: why"
    assert re.search(said, str(pushes.fatal))
    assert isinstance(refusal(pushes), BrokerError)
    with pytest.raises(BrokerError, match=said):
        pushes.partitions("out", 1.0)
    assert not pushes.close(TIMEOUT)
    assert re.search(said, caplog.text)


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


def refusal(pushes: KafkaPushSink) -> BaseException:
    """What ends a row of pushes."""
    while True:
        try:
            pushes.send(Output("out", b"4"))
        except BrokerError as error:
            return error


def test_an_interrupted_close_can_be_called_again(broker: DevBroker) -> None:
    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    freeze(broker.pid)
    sent = pushes.send(Output("out", b"1"))
    interrupt_within("KafkaPushSink.close")
    with pytest.raises(KeyboardInterrupt):
        pushes.close(TIMEOUT)
    assert not sent.done
    with pytest.raises(RuntimeError, match="closed"):
        pushes.send(Output("out", b"2"))
    os.kill(broker.pid, signal.SIGCONT)

    assert pushes.close(TIMEOUT)
    assert sent.wait(0).offset == 0


def test_a_closed_sink_takes_nothing(sink: KafkaSink, pushes: KafkaPushSink) -> None:
    assert sink.close(TIMEOUT)
    assert pushes.close(TIMEOUT)

    with pytest.raises(RuntimeError, match="closed"):
        pushes.send(Output("out", b"1"))
    with pytest.raises(RuntimeError, match="closed"):
        pushes.partitions("out", 1.0)
    with pytest.raises(RuntimeError, match="closed"):
        sink.produce(Produce(1, Output("out", b"1")))


def test_the_exit_goes_on_with_an_interrupted_close_of_the_app(broker: DevBroker) -> None:
    program = f"""
import os, signal
from kqworker import App
from tests.frozen import freeze
from tests.interrupting import interrupt_within
app = App("orders", brokers={broker.address!r})
app.push("out", "1", partition=0).wait()
freeze({broker.pid})
app.push("out", "2", partition=0)
interrupt_within("KafkaPushSink.close")
try:
    app.close()
except KeyboardInterrupt:
    print("interrupted")
os.kill({broker.pid}, signal.SIGCONT)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
    assert [output.value for output in stored(broker, "out", 0, 2)] == [b"1", b"2"]


def push_and_end(address: str) -> None:
    App("orders", brokers=address).push("out", "1", partition=0)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_a_process_pushed_is_delivered_when_it_ends(broker: DevBroker, method: str) -> None:
    child = multiprocessing.get_context(method).Process(target=push_and_end, args=(broker.address,))
    child.start()
    child.join()

    assert child.exitcode == 0
    child.close()
    assert [output.value for output in stored(broker, "out", 0, 1)] == [b"1"]
