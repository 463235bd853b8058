"""The Pusher on Apache Kafka: what only real brokers answer."""

from __future__ import annotations

import time

import pytest

from kqworker.errors import BrokerError
from kqworker.kq import Pusher, with_balancer, with_sync_push
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kq.vectors import HASHES, hashed

TIMEOUT = 30.0


@pytest.mark.parametrize("name", HASHES)
def test_keys_go_where_kafka_go_puts_them_on_1_to_12_partitions(
    kafka: Cluster, topic: NewTopic, name: str
) -> None:
    expected = hashed(name)
    for count in range(1, 13):
        with Pusher(kafka.bootstrap, topic(count), with_balancer(HASHES[name])) as pusher:
            pushed = {key: pusher.push_with_key(key, b"") for key in expected}
        found = {key: delivery.partition for key, delivery in pushed.items()}
        assert found == {key: chosen[count - 1] for key, chosen in expected.items()}


def test_a_missing_topic_is_told_within_15_seconds(kafka: Cluster, topic: NewTopic) -> None:
    began = time.monotonic()
    name = f"{topic()}-misspelt"
    with (
        pytest.raises(BrokerError, match=f"topic '{name}' does not exist"),
        Pusher(kafka.bootstrap, name, with_sync_push()) as pusher,
    ):
        pusher.push("1")
    assert time.monotonic() - began < 15
