"""Where a partition can be read again, looked for among offsets and on the built-in broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.kafka import probe
from kqworker.kafka.devbroker import PROPERTIES, DevBroker, create_topics, start_dev_broker
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.probe import first_readable, search
from kqworker.kafka.properties import consumer_properties, producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.types import Output, TopicPartition

ZERO = TopicPartition("test", 0)


@given(st.integers(0, 2**40), st.integers(1, 2**31))
def test_the_end_of_one_stretch_that_cannot_be_read_is_found_in_few_steps(
    offset: int, length: int
) -> None:
    asked: list[int] = []

    def can_be_read(at: int) -> bool:
        asked.append(at)
        return at >= offset + length

    assert search(can_be_read, offset) == offset + length
    assert len(asked) <= 2 * length.bit_length() + 1


def test_what_can_be_read_nowhere_is_not_looked_for_without_end() -> None:
    assert search(lambda _: False, 5) is None


@pytest.fixture(scope="module")
def broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        create_topics(started.address, ["test"])
        sink = KafkaPushSink(Outgoing(producer_properties(started.address)))
        for _ in range(5):
            sink.send(Output("test", b"v", partition=0))
        assert sink.close(20.0)
        yield started


@pytest.mark.parametrize("offset", [0, 3, 4])
def test_without_damage_it_is_the_next_offset_or_the_end(broker: DevBroker, offset: int) -> None:
    properties = consumer_properties(broker.address, "nobody", extra=PROPERTIES)

    assert first_readable(properties, ZERO, offset) == offset + 1


def test_without_an_answer_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.1)
    properties = consumer_properties("127.0.0.1:9", "nobody")

    assert first_readable(properties, ZERO, 0) is None
