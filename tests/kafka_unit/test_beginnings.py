"""Where partitions begin, asked of a consumer that answers in part or not at all."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.events import Start
from kqworker.errors import BrokerError
from kqworker.kafka.beginnings import Beginning, beginnings_of
from kqworker.types import TopicPartition

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)
AWAY = KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Consumer:
    """Answers what a group has committed, and where partitions end."""

    def __init__(
        self,
        committed: list[KafkaPartition] | KafkaException,
        ends: list[KafkaPartition] | KafkaException = AWAY,
    ) -> None:
        self._committed = committed
        self._ends = ends

    def committed(self, asked: list[KafkaPartition], timeout: float) -> list[KafkaPartition]:
        assert timeout > 0 and asked
        if isinstance(self._committed, KafkaException):
            raise self._committed
        return self._committed

    def offsets_for_times(
        self, asked: list[KafkaPartition], timeout: float
    ) -> list[KafkaPartition]:
        assert timeout > 0
        assert [p.offset for p in asked] == [-1] * len(asked)
        if isinstance(self._ends, KafkaException):
            raise self._ends
        return self._ends


def none() -> list[KafkaPartition]:
    return [KafkaPartition(*ONE), KafkaPartition(*OTHER)]


def begin(consumer: Consumer, offset: str) -> dict[TopicPartition, Beginning]:
    return beginnings_of(consumer, [ONE, OTHER], offset)  # type: ignore[arg-type]


@pytest.mark.parametrize("offset", ["earliest", "latest", "error"])
def test_what_is_committed_counts_whatever_the_setting(offset: str) -> None:
    consumer = Consumer([KafkaPartition(*ONE, 7, "map"), KafkaPartition(*OTHER, 0)])

    assert begin(consumer, offset) == {
        ONE: Beginning(Start(7, "map"), 7),
        OTHER: Beginning(Start(0), 0),
    }


def test_without_a_commit_the_setting_counts() -> None:
    ends = [KafkaPartition(*ONE, 5), KafkaPartition(*OTHER, 0)]

    assert begin(Consumer(none(), ends), "earliest") == dict.fromkeys(
        (ONE, OTHER), Beginning(Start(None), OFFSET_BEGINNING)
    )
    assert begin(Consumer(none(), ends), "latest") == {
        ONE: Beginning(Start(None), 5),
        OTHER: Beginning(Start(None), 0),
    }
    with pytest.raises(BrokerError, match=r"t\[0\]: the group has no committed offset"):
        begin(Consumer(none(), ends), "error")


def test_an_end_of_which_nothing_is_heard_is_no_beginning() -> None:
    consumer = Consumer(none(), [KafkaPartition(*ONE, 5), KafkaPartition(*OTHER, -1)])

    assert begin(consumer, "latest") == {ONE: Beginning(Start(None), 5)}


@pytest.mark.parametrize("offset", ["earliest", "latest", "error"])
def test_without_an_answer_nothing_begins(offset: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "kqworker.kafka"):
        assert begin(Consumer(AWAY), offset) == {}
    assert "committed offsets are not to be had" in caplog.text


def test_a_cluster_that_does_not_tell_its_ends_lets_nothing_begin(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "kqworker.kafka"):
        assert begin(Consumer(none()), "latest") == {}
    assert "ends of partitions are not to be had" in caplog.text
