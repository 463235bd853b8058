"""What is said of a partition that cannot be read on, by librdkafka's error."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from kqworker.kafka.damage import explained
from kqworker.types import TopicPartition

COMMAND = (
    "kafka-consumer-groups.sh --bootstrap-server b:9092 --group g --topic orders:3 "
    "--reset-offsets --to-offset"
)


def said(code: int, past: int | None = 100, **more: str) -> str:
    properties = {"bootstrap.servers": "b:9092", "group.id": "g", **more}
    error = KafkaError(code, "the reason")
    return explained(TopicPartition("orders", 3), error, properties, past)


@pytest.mark.parametrize("code", [KafkaError._BAD_MSG, KafkaError.INVALID_MSG])
def test_damage_is_told_with_the_way_past_it(code: int) -> None:
    text = said(code)
    assert text.startswith("damaged: the reason. ")
    assert text.endswith(f"commit the first offset that can be read: {COMMAND} 100 --execute")
    assert said(code, None).endswith(f"commit an offset N behind it: {COMMAND} N --execute")


@pytest.mark.parametrize("code", [KafkaError._BAD_COMPRESSION, KafkaError.MSG_SIZE_TOO_LARGE])
def test_what_may_be_too_large_is_told_with_the_setting_and_its_value(code: int) -> None:
    assert "set receive.message.max.bytes above" in said(code)
    assert "(now 100000000)" in said(code)
    assert "(now 7)" in said(code, **{"receive.message.max.bytes": "7"})
    assert said(code).endswith(f"{COMMAND} 100 --execute")


def test_what_a_broker_refuses_is_told_in_its_words_alone() -> None:
    assert said(KafkaError.UNKNOWN) == "Kafka does not give it out: the reason"
