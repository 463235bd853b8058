"""The Pusher on Apache Kafka: what only real brokers answer."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from kqworker.errors import BrokerError
from kqworker.kq import (
    LeastBytes,
    Murmur2Balancer,
    Pusher,
    RoundRobin,
    with_allow_auto_topic_creation,
    with_balancer,
    with_sasl,
    with_sync_push,
    with_tls,
)
from kqworker.kq.push.balancers import Balancer
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewCluster, NewTopic
from tests.kafka.records import consume, produce
from tests.kafka.supervisors import Supervise
from tests.kafka.test_worker_kills import kill_one
from tests.kq.vectors import HASHES, hashed

TIMEOUT = 30.0


def values(cluster: Cluster, topic: str) -> Counter[bytes]:
    """What is stored, and how often."""
    return Counter(message.value() or b"" for message in consume(cluster, topic))


@pytest.fixture(scope="module")
def by_partitions(kafka: Cluster) -> dict[int, str]:
    """A topic of each number of partitions, for what looks at the deliveries alone."""
    return {count: kafka.new_topic(count) for count in range(1, 13)}


@pytest.mark.parametrize("name", HASHES)
def test_keys_go_where_kafka_go_puts_them_on_1_to_12_partitions(
    kafka: Cluster, by_partitions: dict[int, str], name: str
) -> None:
    expected = hashed(name)
    for count, topic in by_partitions.items():
        with Pusher(kafka.bootstrap, topic, with_balancer(HASHES[name])) as pusher:
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


def test_brokers_that_create_topics_are_only_asked_to_where_it_is_said(
    new_cluster: NewCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Within 10 s, which this test does not wait for.
    defaults = "kqworker.kafka.properties._PRODUCER"
    monkeypatch.setitem(_dictionary(defaults), "topic.metadata.propagation.max.ms", "500")
    monkeypatch.setattr("kqworker.kq.push.partition_choice.FIRST_COUNT", 0.5)
    creating = new_cluster(properties={"auto.create.topics.enable": "true"})
    balancers: list[Balancer] = [Murmur2Balancer(), RoundRobin(), LeastBytes()]
    for number, balancer in enumerate(balancers):
        where = (creating.bootstrap, f"new-{number}", with_balancer(balancer), with_sync_push())
        for _ in range(2):  # to have asked for it is not to have created it
            with Pusher(*where) as pusher, pytest.raises(BrokerError, match="does not exist"):
                pusher.push("1")
    monkeypatch.undo()
    for number, balancer in enumerate(balancers):
        where = (creating.bootstrap, f"new-{number}", with_balancer(balancer), with_sync_push())
        with Pusher(*where, with_allow_auto_topic_creation()) as pusher:
            assert pusher.push("1").offset == 0


def _dictionary(name: str) -> dict[str, str]:
    module, _, attribute = name.rpartition(".")
    found = getattr(__import__(module, fromlist=[attribute]), attribute)
    assert isinstance(found, dict)
    return found


def test_tls_and_a_login_are_options(kafka_tls: Cluster) -> None:
    given = kafka_tls.client
    secured = with_tls(ca_file=given["ssl.ca.location"])
    login = with_sasl(given["sasl.mechanism"], given["sasl.username"], given["sasl.password"])
    topic = kafka_tls.new_topic()
    with Pusher(kafka_tls.bootstrap, topic, secured, login, with_sync_push()) as pusher:
        assert pusher.push("1").offset == 0


def test_nothing_is_lost_and_nothing_doubled_when_the_leader_dies(kafka3: Cluster) -> None:
    topic = kafka3.new_topic()
    with Pusher(kafka3.bootstrap, topic) as pusher:
        pusher.push("first").wait(TIMEOUT)
        kafka3.kill(kafka3.leader(topic))
        for number in range(1000):
            pusher.push(str(number))

    expected = [b"first", *(str(number).encode() for number in range(1000))]
    assert values(kafka3, topic) == Counter(expected)


def test_a_close_says_how_many_messages_a_frozen_cluster_did_not_take(kafka3: Cluster) -> None:
    topic = kafka3.new_topic()
    pusher = Pusher(kafka3.bootstrap, topic)
    pusher.push("first").wait(TIMEOUT)
    for index in range(3):
        kafka3.freeze(index)
    for number in range(7):
        pusher.push(str(number))
    began = time.monotonic()

    with pytest.raises(
        BrokerError, match=r"7 messages .* could not be delivered, 7 of them still under way after"
    ) as raised:
        pusher.close(timeout=0.5)
    assert raised.value.retriable
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_handler_pushed_is_delivered_when_its_message_is_finished(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, asynchronous: bool
) -> None:
    name, out = topic(partitions=2), topic()
    sent = [b"stop" if number == 7 else str(number).encode() for number in range(200)]
    produce(kafka, name, sent, partitions=2)
    # The pusher is imported once, before the workers are forked.
    supervisor = supervise(
        kafka,
        name,
        "--until-caught-up",
        "--preload",
        app="tests.kafka.pushing:app",
        brokers=kafka.bootstrap,
        out=out,
        asynchronous=asynchronous,
    )
    assert supervisor.wait() == 0, supervisor

    found = values(kafka, out)
    # A message that is handled again pushes again.
    assert found.pop(b"stop") == (1 if asynchronous else 2)
    assert found == Counter(value for value in sent if value != b"stop")


def test_killed_workers_lose_no_push(kafka: Cluster, topic: NewTopic, supervise: Supervise) -> None:
    name, out = topic(partitions=2), topic()
    sent = [str(number).encode() for number in range(2000)]
    produce(kafka, name, sent, partitions=2)
    supervisor = supervise(
        kafka,
        name,
        "--until-caught-up",
        app="tests.kafka.pushing:app",
        brokers=kafka.bootstrap,
        out=out,
    )
    for number in range(1, 6):
        supervisor.handled(number * 300)
        kill_one(supervisor)
    assert supervisor.wait() == 0, supervisor

    found = values(kafka, out)
    assert set(found) == set(sent)
    # One message a kill may have been pushed before it was finished.
    assert sum(found.values()) <= len(sent) + 5
