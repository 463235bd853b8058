"""A part of a topic, read once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kqworker.errors import BrokerError
from kqworker.kafka import range_reader
from kqworker.kafka.devbroker import PROPERTIES, DevBroker, create_topics, start_dev_broker
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import consumer_properties, producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.types import Output, TopicPartition

ZERO, ONE = TopicPartition("test", 0), TopicPartition("test", 1)


@pytest.fixture(scope="module")
def broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        create_topics(started.address, ["test"])
        sink = KafkaPushSink(Outgoing(producer_properties(started.address)))
        for number in range(10):
            value = None if number == 4 else b"%d" % number
            sink.send(Output("test", value, partition=number % 2))
        assert sink.close(20.0)
        yield started


@pytest.fixture
def properties(broker: DevBroker) -> dict[str, str]:
    return consumer_properties(broker.address, "nobody", extra=PROPERTIES)


def test_values_come_in_their_order_from_the_first_to_the_end(properties: dict[str, str]) -> None:
    values = list(range_reader.read(properties, {}, {ZERO: 5, ONE: 0}))
    assert values == [b"0", b"2", None, b"6", b"8"]


def test_only_the_part_that_was_asked_for_comes(properties: dict[str, str]) -> None:
    values = list(range_reader.read(properties, {ZERO: 3, ONE: 1}, {ZERO: 4, ONE: 3}))
    assert sorted(values, key=str) == [b"3", b"5", b"6"]


def test_what_has_nothing_to_read_is_not_waited_for(properties: dict[str, str]) -> None:
    assert list(range_reader.read(properties, {ZERO: 5}, {ZERO: 5})) == []


def test_an_end_that_never_comes_is_an_error(
    properties: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_reader, "SILENCE", 0.1)
    with pytest.raises(BrokerError, match=r"^nothing came from test\[0\] for 0.1 s$"):
        list(range_reader.read(properties, {}, {ZERO: 6}))


def test_what_is_not_in_the_log_is_an_error_and_not_left_out(properties: dict[str, str]) -> None:
    with pytest.raises(BrokerError, match=r"^cannot read: test\[0\]@9: "):
        list(range_reader.read(properties, {ZERO: 9}, {ZERO: 12}))
