"""What is asked at the start, of Apache Kafka."""

from __future__ import annotations

import time
import uuid

import pytest

from kqworker.errors import BrokerError
from kqworker.kafka.admin import Admin
from kqworker.kafka.group_lag import left_to_read
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import admin_properties, producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.types import Output, TopicPartition
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic

TIMEOUT = 30.0


def admin(cluster: Cluster, **changed: str) -> Admin:
    security = {k: v for k, v in cluster.client.items() if k != "bootstrap.servers"}
    dotted = {name.replace("_", "."): value for name, value in changed.items()}
    return Admin(admin_properties(cluster.bootstrap, security | dotted))


def refusal(asking: Admin, timeout: float) -> str:
    with asking, pytest.raises(BrokerError) as raised:
        asking.cluster(timeout)
    return str(raised.value)


def test_all_brokers_are_counted(kafka3: Cluster) -> None:
    with admin(kafka3) as asking:
        assert asking.cluster(TIMEOUT).brokers == 3


def test_a_topic_is_created_once_and_usable_at_once(kafka3: Cluster) -> None:
    name = f"created-{uuid.uuid4().hex[:8]}"
    with admin(kafka3) as asking:
        asking.create_topics([name], 5)
        asking.create_topics([name], 7)

        assert asking.require_topics([f"^{name}$"]) == {name: 5}
        ends = asking.end_offsets(
            [TopicPartition(name, number) for number in range(5)], timeout=TIMEOUT
        )
        assert set(ends.values()) == {0}


def test_what_kafka_refuses_to_create_is_told(kafka: Cluster) -> None:
    with admin(kafka) as asking, pytest.raises(BrokerError, match="cannot create topic 'x y'"):
        asking.create_topics(["x y"], 1)


def test_asking_for_a_missing_topic_creates_nothing(new_topic_name: str, kafka: Cluster) -> None:
    with admin(kafka) as asking:
        with pytest.raises(BrokerError, match="does not exist"):
            asking.require_topics([new_topic_name])
        assert new_topic_name not in asking.topics()


@pytest.fixture
def new_topic_name() -> str:
    return f"missing-{uuid.uuid4().hex[:8]}"


def test_a_group_is_behind_where_something_is_left(kafka: Cluster, topic: NewTopic) -> None:
    name = topic(partitions=2)
    sink = KafkaPushSink(Outgoing(producer_properties(kafka.bootstrap)))
    for _ in range(3):
        sink.send(Output(name, b"1", partition=1))
    assert sink.close(TIMEOUT)
    group = f"g-{uuid.uuid4().hex[:8]}"
    with admin(kafka) as asking:
        assert asking.committed(group, [TopicPartition(name, 1)]) == {}
        assert left_to_read(asking, group, {name: 2}, "earliest") == {TopicPartition(name, 1): 3}
        assert left_to_read(asking, group, {name: 2}, "latest") == {}


def test_tls_and_scram_are_plain_settings(kafka_tls: Cluster) -> None:
    with admin(kafka_tls) as asking:
        assert asking.cluster(TIMEOUT).brokers == 1


def test_a_wrong_password_ends_the_wait_at_once_and_is_not_shown(kafka_tls: Cluster) -> None:
    began = time.monotonic()
    text = refusal(admin(kafka_tls, sasl_password="not-the-password"), TIMEOUT)

    assert text.startswith(f"Kafka at {kafka_tls.bootstrap} refuses the login: ")
    assert "not-the-password" not in text
    assert time.monotonic() - began < TIMEOUT / 2


def test_no_tls_where_kafka_wants_it_asks_for_the_security_protocol(kafka_tls: Cluster) -> None:
    assert "security.protocol" in refusal(admin(kafka_tls, security_protocol="plaintext"), 3)


def test_a_frozen_cluster_gives_no_answer(kafka3: Cluster) -> None:
    for index in range(3):
        kafka3.freeze(index)

    assert refusal(admin(kafka3), 1).endswith("(waited 1s)")


@pytest.mark.alone
def test_offsets_of_a_frozen_cluster_are_not_waited_for_beyond_the_timeout(kafka3: Cluster) -> None:
    name = kafka3.new_topic()
    with admin(kafka3) as asking:
        assert asking.end_offsets([TopicPartition(name, 0)]) == {TopicPartition(name, 0): 0}
        for index in range(3):
            kafka3.freeze(index)

        for ask in (
            lambda: asking.end_offsets([TopicPartition(name, 0)], timeout=1.0),
            lambda: asking.committed("g", [TopicPartition(name, 0)], 1.0),
        ):
            began = time.monotonic()
            with pytest.raises(BrokerError) as raised:
                ask()
            assert raised.value.retriable
            assert time.monotonic() - began < 3.0
