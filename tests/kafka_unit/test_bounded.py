"""Nothing that is not handled is dropped by the built-in broker, whoever pushes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from kqworker.app.delivery import Delivery
from kqworker.core.commands import Produce
from kqworker.core.events import Delivered
from kqworker.errors import BrokerError
from kqworker.kafka import capacity, holdings
from kqworker.kafka.bounded import bounded
from kqworker.kafka.devbroker import KEPT_BYTES, DevBroker, create_topics, start_dev_broker
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.kafka.readers import published
from kqworker.kafka.sink import KafkaSink
from kqworker.types import Output
from tests.waiting import until

LARGE = bytes(100_000)
# Of records that large, in one partition.
FITTING = capacity.ROOM_BYTES // (len(LARGE) + holdings.RECORD_BYTES)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(capacity, "PATIENCE", 0.0)


@pytest.fixture(scope="module")
def broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        yield started


@pytest.fixture
def topic(broker: DevBroker, request: pytest.FixtureRequest) -> str:
    name = str(request.node.name.replace("[", "-").rstrip("]"))[:200]
    create_topics(broker.address, [name])
    return name


@pytest.fixture
def sink(broker: DevBroker) -> Iterator[KafkaPushSink]:
    sink = KafkaPushSink(bounded(producer_properties(broker.address)))
    yield sink
    sink.close(5.0)


@pytest.fixture
def of_a_run(broker: DevBroker) -> Iterator[KafkaSink]:
    sink = KafkaSink(bounded(producer_properties(broker.address)))
    yield sink
    sink.close(5.0)


def large(topic: str, partition: int | None = 0, value: bytes = LARGE) -> Output:
    return Output(topic, value, partition=partition)


def filled(sink: KafkaPushSink, topic: str) -> int:
    """Push until there is no room; return how many there was room for."""
    sent: list[Delivery] = []
    with pytest.raises(BrokerError, match="no run reads them"):
        while len(sent) < 1000:
            sent.append(sink.send(large(topic)))
    for delivery in sent:
        delivery.wait(10)
    return len(sent)


def begins(broker: DevBroker, topic: str, partition: int = 0) -> int:
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "x"})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)[0]
    finally:
        consumer.close()


def handled(broker: DevBroker, group: str, topic: str, offset: int, partitions: int = 1) -> None:
    """Commit for a group."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": group})
    marks = [TopicPartition(topic, partition, offset) for partition in range(partitions)]
    consumer.commit(offsets=marks, asynchronous=False)
    consumer.close()


def test_where_nobody_reads_an_error_comes_before_anything_is_dropped(
    broker: DevBroker, sink: KafkaPushSink, topic: str
) -> None:
    assert filled(sink, topic) == FITTING
    assert begins(broker, topic) == 0
    # Another partition would have room, but a record may go anywhere.
    with pytest.raises(BrokerError) as refused:
        sink.send(large(topic, None))

    assert refused.value.retriable
    assert f"{topic}[0] holds {FITTING} messages" in str(refused.value)
    assert sink.full == "full, and no run reads it"


def test_a_push_waits_for_a_run_that_reads_and_goes_on_as_it_commits(
    broker: DevBroker, sink: KafkaPushSink, topic: str
) -> None:
    pushed: list[int] = []

    def push() -> None:
        for number in range(3 * FITTING):
            sink.send(large(topic)).wait(30)
            pushed.append(number)

    with published(broker.address, "g", [topic], "earliest"):
        thread = threading.Thread(target=push)
        thread.start()
        until(lambda: len(pushed) == FITTING and "full: group g has " in sink.full, "a full topic")
        handled(broker, "g", topic, 20, partitions=4)
        until(lambda: len(pushed) == FITTING + 20, "the room that was made")
        for offset in range(20, 3 * FITTING + 20, 20):
            handled(broker, "g", topic, min(offset, FITTING), partitions=4)
        until(lambda: len(pushed) == 2 * FITTING, "more room")
        assert begins(broker, topic) <= FITTING
        handled(broker, "g", topic, 2 * FITTING, partitions=4)
        thread.join(30)

    assert len(pushed) == 3 * FITTING
    assert sink.full == ""


def test_what_others_push_counts_too(broker: DevBroker, sink: KafkaPushSink, topic: str) -> None:
    other = Producer({"bootstrap.servers": broker.address})
    for _ in range(20):
        other.produce(topic, LARGE, headers={"h": b"x"}, partition=0)
    assert other.flush(10) == 0

    assert filled(sink, topic) == FITTING - 20
    assert begins(broker, topic) == 0


def test_two_that_push_at_once_drop_nothing(
    broker: DevBroker, sink: KafkaPushSink, topic: str
) -> None:
    other = KafkaPushSink(bounded(producer_properties(broker.address)))
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda one=one: counts.append(filled(one, topic)))  # type: ignore[misc]
        for one in (sink, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close(5.0)

    assert begins(broker, topic) == 0
    assert 2 * KEPT_BYTES // 3 < sum(counts) * len(LARGE) <= KEPT_BYTES


def test_what_a_group_that_has_ended_has_handled_makes_room(
    broker: DevBroker, sink: KafkaPushSink, topic: str
) -> None:
    with published(broker.address, "g", [topic], "earliest"):
        pass
    filled(sink, topic)
    handled(broker, "g", topic, 30, partitions=4)

    assert filled(sink, topic) == 30
    assert begins(broker, topic) <= 30


def test_small_messages_are_bounded_by_what_they_cost(
    broker: DevBroker, sink: KafkaPushSink, topic: str
) -> None:
    sent = 0
    with pytest.raises(BrokerError, match="no run reads them"):
        while sent < 100_000:
            sink.send(Output(topic, b"", partition=1))
            sent += 1

    assert begins(broker, topic, 1) == 0
    assert sent == capacity.ROOM_BYTES // holdings.RECORD_BYTES < 60_000


def test_a_record_that_fills_a_partition_alone_is_pushed_alone(
    broker: DevBroker, sink: KafkaPushSink, topic: str
) -> None:
    huge = large(topic, value=bytes(6 * 2**20))

    sink.send(huge).wait(20)
    with pytest.raises(BrokerError, match="no run reads them"):
        sink.send(huge)
        sink.send(large(topic))
    assert begins(broker, topic) == 0


def test_a_runs_record_that_finds_no_room_is_tried_again_later(
    broker: DevBroker, sink: KafkaPushSink, of_a_run: KafkaSink, topic: str
) -> None:
    filled(sink, topic)
    create_topics(broker.address, [f"{topic}-other"])

    of_a_run.produce(Produce(1, large(topic)))
    of_a_run.produce(Produce(2, large(f"{topic}-other")))

    told: dict[int, Delivered] = {}

    def look() -> bool:
        for event in of_a_run.events():
            assert isinstance(event, Delivered)
            told[event.ticket] = event
        return len(told) == 2

    until(look, "both answers")
    assert told[2] == Delivered(2)
    assert told[1].retriable and told[1].failure is not None
    assert "no run reads them" in told[1].failure.text


def test_one_topics_records_do_not_wait_for_anothers_room(
    broker: DevBroker, of_a_run: KafkaSink, topic: str
) -> None:
    with published(broker.address, "g", [topic], "earliest"):
        for number in range(FITTING + 5):
            of_a_run.produce(Produce(number, large(topic)))
        of_a_run.produce(Produce(1000, large(f"{topic}-other")))

        told: set[int] = set()

        def look() -> bool:
            told.update(event.ticket for event in of_a_run.events() if isinstance(event, Delivered))
            return 1000 in told and len(told) == FITTING + 1

        until(look, "the other topic's answer")
        handled(broker, "g", topic, 10, partitions=4)
        until(lambda: look() or len(told) == FITTING + 6, "the rest")


def test_a_broker_that_does_not_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capacity, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(holdings, "ASK_SECONDS", 0.2)
    sink = KafkaPushSink(bounded(producer_properties("127.0.0.1:1")))

    with pytest.raises(BrokerError, match="does not say what topic 'a' holds"):
        sink.send(large("a"))
    sink.close(0.0)
