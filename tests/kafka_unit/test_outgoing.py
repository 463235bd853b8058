"""What is sent again, what a close waits for, and what becomes of all when the thread fails."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as ClientMessage

from kqworker.app.delivery import Delivery
from kqworker.core.commands import Produce
from kqworker.core.events import Delivered
from kqworker.errors import BrokerError
from kqworker.kafka.devbroker import (
    DevBroker,
)
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink, _Pushed
from kqworker.kafka.sink import KafkaSink
from kqworker.types import Output
from tests.frozen import freeze
from tests.interrupting import interrupt_within
from tests.kafka_unit.sinks import TIMEOUT, deliveries, stored


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
