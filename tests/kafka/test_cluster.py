"""The clusters that the other tests stand on do what their methods say."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.kafka import distribution
from tests.kafka.cluster import Cluster, Committed
from tests.kafka.fixtures import NewCluster, NewTopic
from tests.kafka.node import free_ports
from tests.processes import ROOT, Process

PATIENCE = 60.0


def produce(client: Mapping[str, str], topic: str, *payloads: bytes) -> None:
    """Delivers each payload to partition 0, confirmed by all copies in sync."""
    failures: list[object] = []
    with Producer({**client, "acks": "all", "log_level": 0}) as producer:
        for payload in payloads:
            producer.produce(
                topic, payload, partition=0, on_delivery=lambda e, _: failures.append(e) if e else 0
            )
        assert producer.flush(PATIENCE) == 0, "not all were delivered in time"
    assert failures == []


def consume(client: Mapping[str, str], topic: str, count: int) -> list[bytes]:
    """The first messages of partition 0."""
    settings = {**client, "group.id": "reader", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(settings)
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        messages = consumer.consume(count, PATIENCE)
        assert not any(message.error() for message in messages)
        return [message.value() or b"" for message in messages]
    finally:
        consumer.close()


def commit(cluster: Cluster, group: str, at: TopicPartition) -> None:
    consumer = Consumer({**cluster.client, "group.id": group, "log_level": 0})
    try:
        consumer.commit(offsets=[at], asynchronous=False)
    finally:
        consumer.close()


def test_one_broker_gives_back_what_it_was_given(kafka: Cluster, topic: NewTopic) -> None:
    name = topic(partitions=2)

    produce(kafka.client, name, b"one", b"", b"three")

    assert consume(kafka.client, name, 3) == [b"one", b"", b"three"]
    assert kafka.end_offsets(name) == {0: 3, 1: 0}


def test_a_commit_is_seen_with_its_metadata(kafka: Cluster, topic: NewTopic) -> None:
    name, group = topic(partitions=2), f"g-{uuid.uuid4().hex[:12]}"
    assert kafka.committed(group, name) == {}

    commit(kafka, group, TopicPartition(name, 1, 7, "map"))

    assert kafka.committed(group, name) == {1: Committed(7, "map")}


def test_a_misspelt_topic_stays_missing(kafka: Cluster) -> None:
    name = f"t-{uuid.uuid4().hex[:12]}"

    with Producer({**kafka.client, "log_level": 0}) as producer:
        producer.list_topics(name, timeout=PATIENCE)
        assert name not in producer.list_topics(timeout=PATIENCE).topics


def test_the_process_that_listens_is_the_one_we_started(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    port = int(cluster.bootstrap.rpartition(":")[2])
    pid = cluster.pid(0)

    assert psutil.Process(pid).ppid() == os.getpid()
    listeners = [
        c.laddr.port
        for c in psutil.Process(pid).net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    ]
    assert port in listeners

    cluster.stop()
    assert not psutil.pid_exists(pid)


def test_three_brokers_outlive_the_loss_of_each_in_turn(kafka3: Cluster) -> None:
    name = kafka3.new_topic(partitions=1)
    produce(kafka3.client, name, b"before")

    for lost in range(3):
        kafka3.kill(lost)
        produce(kafka3.client, name, b"without %d" % lost)
        kafka3.restart(lost)
        kafka3.wait_in_sync(name)

    expected = [b"before", b"without 0", b"without 1", b"without 2"]
    assert consume(kafka3.client, name, 4) == expected
    assert kafka3.brokers == 3


def test_a_frozen_leader_keeps_its_connections_and_says_nothing(kafka3: Cluster) -> None:
    name = kafka3.new_topic(partitions=1)
    leader = kafka3.leader(name)
    pid = kafka3.pid(leader)

    kafka3.freeze(leader)
    try:
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
        # The others notice that it is silent and elect another leader.
        produce(kafka3.client, name, b"meanwhile")
        assert kafka3.leader(name) != leader
    finally:
        kafka3.thaw(leader)

    kafka3.wait_in_sync(name)
    assert kafka3.pid(leader) == pid
    assert consume(kafka3.client, name, 1) == [b"meanwhile"]


def test_what_a_test_left_broken_is_repaired(kafka3: Cluster) -> None:
    kafka3.kill(0)
    kafka3.freeze(1)

    kafka3.repair()

    assert kafka3.brokers == 3
    assert len(kafka3.pids()) == 3


def test_a_broker_comes_back_with_what_it_had(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    name = cluster.new_topic()
    produce(cluster.client, name, b"kept")
    first = cluster.pid(0)

    cluster.kill(0)
    assert not psutil.pid_exists(first)
    cluster.restart(0)

    assert cluster.pid(0) != first
    assert consume(cluster.client, name, 1) == [b"kept"]


def test_tls_with_scram_lets_in_who_has_the_password(kafka_tls: Cluster) -> None:
    name = kafka_tls.new_topic()

    produce(kafka_tls.client, name, b"secret")

    assert kafka_tls.client["security.protocol"] == "SASL_SSL"
    assert consume(kafka_tls.client, name, 1) == [b"secret"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("sasl.password", "wrong", id="wrong password"),
        pytest.param("security.protocol", "PLAINTEXT", id="no TLS"),
        pytest.param("ssl.ca.location", "/etc/ssl/certs/ca-certificates.crt", id="other authority"),
    ],
)
def test_tls_with_scram_lets_in_nobody_else(kafka_tls: Cluster, name: str, value: str) -> None:
    if name == "ssl.ca.location" and not Path(value).exists():
        pytest.skip(f"this system has no {value}")
    client = {**kafka_tls.client, name: value, "log_level": 0}
    with Producer(client) as producer, pytest.raises(KafkaException):
        producer.list_topics(timeout=2.0)


def test_settings_of_a_broker_can_be_given(new_cluster: NewCluster) -> None:
    cluster = new_cluster(properties={"offset.metadata.max.bytes": "10"})
    name = cluster.new_topic()

    commit(cluster, "g", TopicPartition(name, 0, 1, "x" * 9))
    with pytest.raises(KafkaException, match=r"(?i)metadata"):
        commit(cluster, "g", TopicPartition(name, 0, 1, "x" * 11))


def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=r"num\.io\.threads"):
        new_cluster(properties={"num.io.threads": "none"})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_no_broker_outlives_the_process_that_started_it(kafka: Cluster, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.kafka.cluster import Cluster;"
        "c = Cluster.start(dir=Path(sys.argv[1])); print(c.pid(0), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with Process(command, folder=ROOT, stdin=subprocess.PIPE) as runner:
        broker = psutil.Process(int(runner.line()))
        assert broker.is_running()
        runner.kill()

        # psutil waits for a process that is not our child, too.
        broker.wait(timeout=5)
        assert not broker.is_running()


def test_the_jars_are_kept_by_version_outside_the_clone(kafka: Cluster) -> None:
    folder = distribution.jars()

    assert distribution.kafka_version() in folder.name
    assert not folder.is_relative_to(Path(__file__).parents[2])
    assert (folder / f"kafka_2.13-{distribution.kafka_version()}.jar").is_file()


def test_ports_are_distinct_and_away_from_those_the_system_hands_out() -> None:
    ports = free_ports(30)

    assert len(set(ports)) == 30
    handed_out = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if handed_out.exists():
        lowest, highest = map(int, handed_out.read_text().split())
        if lowest > 22000:
            assert not any(lowest <= port <= highest for port in ports)


def test_runs_side_by_side_take_no_port_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    taken = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        # So many that two who drew from the same ports would meet.
        taken.append({port for _ in range(20) for port in free_ports(150)})

    assert not taken[0] & taken[1]
