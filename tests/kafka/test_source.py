"""The source on Apache Kafka: what only a real broker does."""

from __future__ import annotations

import subprocess
import sys

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient

from kqworker.core.commands import Fetching, Mark, Release
from kqworker.core.events import Assigned, Committed, Lost, Positions, Revoked
from kqworker.kafka import faults
from kqworker.types import TopicPartition
from tests.contract.owner import run
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewCluster, NewTopic
from tests.kafka.sources import Opened, new_group
from tests.processes import Process

TIMEOUT = 30.0

CLASSIC = {"heartbeat.interval.ms": "200"}
CONSUMER = {"group.protocol": "consumer"}
on_both_protocols = pytest.mark.parametrize("protocol", [CLASSIC, CONSUMER], ids=["classic", "848"])


def produce(cluster: Cluster, topic: str, count: int) -> None:
    producer = Producer(cluster.client)
    for number in range(count):
        producer.produce(topic, b"%d" % number, partition=0)
    assert producer.flush(TIMEOUT) == 0


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_commit_of_the_position_reaches_the_end_behind_transaction_markers(
    kafka: Cluster, topic: NewTopic, end: str, opened: Opened
) -> None:
    name, group = topic(), new_group()
    producer = Producer({**kafka.client, "transactional.id": new_group()})
    producer.init_transactions(TIMEOUT)
    for transaction in range(3):
        producer.begin_transaction()
        for _ in range(5):
            producer.produce(name, b"%d" % transaction, partition=0)
        if transaction == 2 and end == "abort":
            producer.flush(TIMEOUT)
            producer.abort_transaction(TIMEOUT)
        else:
            producer.commit_transaction(TIMEOUT)
    owner = opened(kafka, name, group)
    messages = 10 if end == "abort" else 15
    true_end = kafka.end_offsets(name)[0]
    assert true_end > messages
    run(lambda: owner.at.get(TopicPartition(name, 0)) == true_end, owner)
    assert len(owner.values) == messages
    owner.commit()
    run(lambda: bool(owner.answers()), owner)

    assert owner.of(Positions)
    assert kafka.committed(group, name)[0].offset == true_end


def test_metadata_that_the_broker_refuses_is_told_as_too_large(
    kafka: Cluster, topic: NewTopic, opened: Opened
) -> None:
    name, group = topic(), new_group()
    produce(kafka, name, 3)
    owner = opened(kafka, name, group)
    run(lambda: len(owner.values) == 3, owner)
    owner.commit("x" * 5000)
    run(lambda: len(owner.answers()) == 1, owner)
    owner.commit("x" * 4095)
    run(lambda: len(owner.answers()) == 2, owner)

    refused, accepted = owner.answers()
    assert refused.too_large and refused.error is not None
    assert accepted == Committed({TopicPartition(name, 0): Mark(3, "x" * 4095)})
    assert kafka.committed(group, name)[0].metadata == "x" * 4095


@on_both_protocols
def test_nothing_is_committed_of_what_was_lost(
    kafka: Cluster, topic: NewTopic, protocol: dict[str, str], opened: Opened
) -> None:
    name, group = topic(), new_group()
    produce(kafka, name, 10)
    settings = {"max_poll_interval_ms": "6000", **protocol}
    if protocol is CLASSIC:
        settings["session.timeout.ms"] = "6000"
    first = opened(kafka, name, group, **settings)
    run(lambda: len(first.values) == 10, first)
    first.commit(p0=4)
    run(lambda: bool(first.answers()), first)
    # Its thread is stopped for longer than the group puts up with.
    with first.source._members[0]._condition:
        produce(kafka, name, 1)
        second = opened(kafka, name, group, **settings)
        run(lambda: len(second.values) == 7, second)
    first.commit(p0=9)
    run(lambda: bool(first.of(Lost)) and len(first.answers()) == 2, first, second)
    assert not first.of(Revoked)
    assert first.answers()[1].error is not None
    second.commit(p0=5)
    run(lambda: bool(second.answers()), first, second)

    assert kafka.committed(group, name)[0].offset == 5


def test_a_topic_made_anew_begins_a_new_epoch(
    kafka: Cluster, topic: NewTopic, opened: Opened
) -> None:
    name, group = topic(), new_group()
    produce(kafka, name, 10)
    fast = {"topic.metadata.refresh.interval.ms": "200"}
    owner = opened(kafka, name, group, **fast)
    run(lambda: len(owner.values) == 10, owner)
    owner.commit(p0=10)
    run(lambda: bool(owner.answers()), owner)
    admin = AdminClient(kafka.client)
    for future in admin.delete_topics([name]).values():
        future.result(TIMEOUT)
    kafka.create_topic(name)
    produce(kafka, name, 4)
    run(lambda: len(owner.values) == 14, owner)
    tp = TopicPartition(name, 0)
    assert owner.at[tp] == 4
    owner.commit(p0=4)
    run(lambda: Committed({tp: Mark(4, "")}) in owner.answers(), owner)

    assert kafka.committed(group, name)[0].offset == 4


@on_both_protocols
def test_a_static_member_comes_back_to_its_partitions_at_once(
    kafka: Cluster, topic: NewTopic, protocol: dict[str, str], opened: Opened
) -> None:
    name, group = topic(4), new_group()
    settings = {"group.instance.id": "one", **protocol}
    other = opened(kafka, name, group, **protocol)
    run(lambda: len(other.starts) == 4, other)
    first = opened(kafka, name, group, **settings)
    run(lambda: len(first.starts) == len(other.starts) == 2, first, other)
    before = set(first.starts)
    moves = len(other.of(Assigned)) + len(other.of(Revoked))
    assert first.source.close(TIMEOUT)
    again = opened(kafka, name, group, **settings)
    run(lambda: set(again.starts) == before, again, other)

    assert len(other.of(Assigned)) + len(other.of(Revoked)) == moves


def test_a_static_name_that_another_member_has_is_fatal(
    kafka: Cluster, topic: NewTopic, opened: Opened
) -> None:
    name, group = topic(), new_group()
    settings = {"group.instance.id": "one", **CONSUMER}
    first = opened(kafka, name, group, **settings)
    run(lambda: bool(first.starts), first)
    second = opened(kafka, name, group, **settings)
    run(lambda: second.source.fatal is not None, first, second)

    assert KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str() in str(second.source.fatal)
    assert first.source.fatal is None


def test_a_topic_that_does_not_exist_is_fatal_after_a_while(
    kafka: Cluster, topic: NewTopic, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    monkeypatch.setattr(faults, "UNKNOWN_TOPIC_SECONDS", 0.5)
    missing = f"{topic()}-missing"
    owner = opened(kafka, missing, new_group())
    run(lambda: owner.source.fatal is not None, owner)

    assert str(owner.source.fatal) == f"topic {missing!r} does not exist"


def test_a_missing_offset_is_fatal_where_it_was_asked_to_be(
    kafka: Cluster, topic: NewTopic, opened: Opened
) -> None:
    name = topic()
    produce(kafka, name, 1)
    owner = opened(kafka, name, new_group(), offset="error")
    run(lambda: owner.source.fatal is not None, owner)

    assert name in str(owner.source.fatal)
    assert owner.values == []


def test_a_wrong_password_is_fatal(kafka_tls: Cluster, opened: Opened) -> None:
    wrong = {"sasl.password": "wrong"}
    owner = opened(kafka_tls, "t", new_group(), **wrong)
    run(lambda: owner.source.fatal is not None, owner)

    # Why, librdkafka says; all else that could be fatal here has words of ours.
    assert "does not exist" not in str(owner.source.fatal)


FROZEN = """
import select, sys, time
from kqworker.core.commands import Commit, Mark
from kqworker.core.events import Fetched
from kqworker.kafka.properties import consumer_properties
from kqworker.kafka.source import KafkaSource

source = KafkaSource([consumer_properties(sys.argv[1], "frozen")], [sys.argv[2]])
fetched = []
while not fetched:
    select.select([source], [], [])
    fetched = [e for e in source.events() if isinstance(e, Fetched)]
print("ready", flush=True)
sys.stdin.readline()
source.execute(Commit({fetched[0].records[0].partition: Mark(1, "")}))
began = time.monotonic()
left = source.close(1.0)
print(left, time.monotonic() - began < 2.0, flush=True)
"""


@pytest.mark.alone
def test_frozen_brokers_do_not_keep_a_process_from_ending(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    name = cluster.new_topic()
    produce(cluster, name, 1)
    command = [sys.executable, "-c", FROZEN, cluster.bootstrap, name]
    with Process(command, apart=True, stdin=subprocess.PIPE) as process:
        assert process.line() == "ready"
        cluster.freeze(0)
        process.feed("go\n")

        assert process.wait(TIMEOUT) == 0, process
        assert process.lines == ["ready", "False True"]


def test_what_is_fetched_survives_a_freeze(new_cluster: NewCluster, opened: Opened) -> None:
    cluster = new_cluster()
    name, group = cluster.new_topic(), new_group()
    produce(cluster, name, 100)
    owner = opened(cluster, name, group)
    run(lambda: len(owner.values) == 100, owner)
    cluster.freeze(0)
    owner.commit(p0=50)
    # Answers to these do not need a broker.
    owner.source.execute(Fetching(False))
    owner.source.execute(Release(0, (), {TopicPartition("elsewhere", 0): Mark(1, "")}))
    run(lambda: bool(owner.answers()), owner)
    assert TopicPartition(name, 0) not in owner.answers()[0].marks
    cluster.thaw(0)
    owner.source.execute(Fetching(True))
    produce(cluster, name, 100)
    run(lambda: len(owner.taken) == 200, owner)
    owner.commit()
    tp = TopicPartition(name, 0)
    run(lambda: Committed({tp: Mark(200, "")}) in owner.answers(), owner)

    assert cluster.committed(group, name)[0].offset == 200
