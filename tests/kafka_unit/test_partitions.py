"""Where partitions end, asked of a consumer that answers in part or not at all."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.kafka.partitions import ends_of
from kqworker.types import TopicPartition

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


class Consumer:
    """Answers one question after the end of partitions."""

    def __init__(self, answer: list[KafkaPartition] | KafkaException) -> None:
        self._answer = answer

    def offsets_for_times(
        self, asked: list[KafkaPartition], timeout: float
    ) -> list[KafkaPartition]:
        assert timeout > 0
        assert [p.offset for p in asked] == [-1, -1]
        if isinstance(self._answer, KafkaException):
            raise self._answer
        return self._answer


def test_an_end_of_which_nothing_is_heard_is_absent() -> None:
    consumer = Consumer([KafkaPartition("t", 0, 5), KafkaPartition("t", 1, -1)])
    assert ends_of(consumer, [ONE, OTHER]) == {ONE: 5}  # type: ignore[arg-type]


def test_a_cluster_that_does_not_answer_leaves_the_start_to_librdkafka(
    caplog: pytest.LogCaptureFixture,
) -> None:
    consumer = Consumer(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    with caplog.at_level(logging.WARNING, "kqworker.kafka"):
        assert ends_of(consumer, [ONE, OTHER]) == {}  # type: ignore[arg-type]
    assert "ends of partitions are not to be had" in caplog.text
