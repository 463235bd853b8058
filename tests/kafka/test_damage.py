"""Partitions that cannot be read on: damaged batches, and records larger than is taken."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Foreign
from confluent_kafka.admin import AdminClient

from kqworker.core.events import Gone, Unreadable
from kqworker.kafka import places
from kqworker.types import TopicPartition
from tests.contract.owner import run
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import Key, read
from tests.kafka.records import PATIENCE
from tests.kafka.segments import damage
from tests.kafka.sources import Opened, new_group
from tests.kafka.supervisors import HEAVY, Supervise, Supervisor
from tests.waiting import becomes

pytestmark = HEAVY

BATCHES, SIZE = 10, 20


def produce(
    cluster: Cluster, topic: str, partition: int = 0, count: int = BATCHES, **more: object
) -> list[Key]:
    """Fill a partition with batches of SIZE messages."""
    with Producer({**cluster.client, "linger.ms": 1000, **more}) as producer:
        for _ in range(count):
            for _ in range(SIZE):
                producer.produce(topic, b"ok", partition=partition)
            assert producer.flush(PATIENCE) == 0
    return [Key(topic, partition, offset) for offset in range(count * SIZE)]


def commit(cluster: Cluster, group: str, topic: str, offsets: Iterable[int]) -> None:
    """Commit for a group that has no members."""
    consumer = Consumer({**cluster.client, "group.id": group, "log_level": 0})
    marks = [Foreign(topic, p, offset) for p, offset in enumerate(offsets)]
    consumer.commit(offsets=marks, asynchronous=False)
    consumer.close()


def committed(cluster: Cluster, group: str, topic: str) -> dict[int, int]:
    told = cluster.committed(group, topic)
    return {partition: mark.offset for partition, mark in told.items()}


def delete_below(cluster: Cluster, topic: str, offset: int) -> None:
    """Delete what partition 0 has below an offset."""
    admin = AdminClient(cluster.client)
    for future in admin.delete_records([Foreign(topic, 0, offset)]).values():
        future.result(PATIENCE)


@pytest.fixture
def retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets what cannot be read be tried again soon."""
    monkeypatch.setattr(places, "RETRY_SECONDS", 0.5)


on_every_kind_of_group = pytest.mark.parametrize(
    "protocol",
    [
        pytest.param({"partition_assignment_strategy": "cooperative-sticky"}, id="cooperative"),
        pytest.param({"partition_assignment_strategy": "range"}, id="eager"),
        pytest.param({"group_protocol": "consumer"}, id="848"),
    ],
)


def handled(supervisor: Supervisor) -> list[Key]:
    """Every attempt's message, in order."""
    return sorted(attempt.key for attempt in read(supervisor.journal))


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("offset", ["earliest", "latest"])
def test_a_damaged_batch_stops_its_partition_alone_and_loses_and_repeats_nothing(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, offset: str, protocol: str
) -> None:
    name = topic(2)
    produced = produce(kafka, name, 0) + produce(kafka, name, 1)
    batch = damage(kafka.segment(name), 5 * SIZE + 3)
    commit(kafka, supervise.group, name, [0, 0])
    options = ("--offset", offset, "-X", f"group.protocol={protocol}")

    supervisor = supervise(kafka, name, "--until-caught-up", *options)

    assert supervisor.wait() == 6, supervisor
    readable = [key for key in produced if key.partition == 1 or key.offset < batch.first]
    assert handled(supervisor) == readable
    assert committed(kafka, supervise.group, name) == {0: batch.first, 1: BATCHES * SIZE}
    (told,) = supervisor.events("unreadable")
    assert f"topic={name} partition=0 offset={batch.first}" in told
    assert f"--topic {name}:0 --reset-offsets --to-offset {batch.last + 1} --execute" in told
    assert f"{name}[0] from offset {batch.first} on" in supervisor.events("abandoned")[0]


def test_an_offset_committed_behind_it_is_the_way_past_a_damaged_batch(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    produced = produce(kafka, name)
    batch = damage(kafka.segment(name), 5 * SIZE)
    first = supervise(kafka, name, "--until-caught-up")
    assert first.wait() == 6, first
    commit(kafka, supervise.group, name, [batch.last + 1])

    second = supervise(kafka, name, "--until-caught-up")

    assert second.wait() == 0, second
    assert sorted(handled(first) + handled(second)) == [
        key for key in produced if not batch.first <= key.offset <= batch.last
    ]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_damaged_batch_is_seen_behind_its_compression(
    kafka: Cluster, topic: NewTopic, opened: Opened, codec: str
) -> None:
    name, group = topic(), new_group()
    produce(kafka, name, **{"compression.type": codec})
    batch = damage(kafka.segment(name), 5 * SIZE)
    owner = opened(kafka, name, group)
    run(lambda: bool(owner.of(Unreadable)), owner)

    assert sorted(offset for _, offset in owner.taken) == list(range(batch.first))


@pytest.mark.parametrize(
    "byte",
    [0, 6, 8, 16, 17, 22, 60],
    ids=["offset", "offset", "length", "magic", "crc", "codec", "count"],
)
def test_whichever_byte_of_a_batch_is_damaged_nothing_behind_it_is_handed_over(
    kafka: Cluster, topic: NewTopic, opened: Opened, monkeypatch: pytest.MonkeyPatch, byte: int
) -> None:
    monkeypatch.setattr(places, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(places, "TRIAL_SECONDS", 2.0)
    name = topic()
    produce(kafka, name)
    batch = damage(kafka.segment(name), 5 * SIZE, byte)
    owner = opened(kafka, name, new_group())
    run(lambda: bool(owner.of(Unreadable)), owner)

    assert owner.at == {TopicPartition(name, 0): batch.first}
    assert sorted(offset for _, offset in owner.taken) == list(range(batch.first))


def test_a_record_that_unpacks_to_more_than_is_taken_stops_its_partition_alone(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, megabytes = topic(2), 101
    produce(kafka, name, 0, count=1)
    large = {"compression.type": "zstd", "message.max.bytes": 200_000_000}
    with Producer({**kafka.client, **large}) as producer:
        producer.produce(name, b"ok " + bytes(megabytes * 1_000_000), partition=0)
        assert producer.flush(PATIENCE) == 0
    produce(kafka, name, 0, count=1)
    produce(kafka, name, 1, count=1)

    first = supervise(kafka, name, "--until-caught-up")
    assert first.wait() == 6, first
    assert len(handled(first)) == 2 * SIZE
    (told,) = first.events("unreadable")
    assert f"topic={name} partition=0 offset={SIZE}" in told
    assert "set receive.message.max.bytes above" in told and "(now 100000000)" in told
    assert committed(kafka, supervise.group, name) == {0: SIZE, 1: SIZE}

    more = ("-X", "receive.message.max.bytes=200000000")
    second = supervise(kafka, name, "--until-caught-up", *more)
    # As the guide says: what it unpacks to, and its largest record once more.
    assert becomes(lambda: second.look_at_memory() and second.process.poll() is not None, PATIENCE)
    assert second.wait() == 0, second
    assert second.peak_memory < (2 * megabytes + 150) * 1_000_000
    assert len(handled(second)) == 1 + SIZE


@on_every_kind_of_group
def test_what_stands_still_goes_on_by_itself_once_it_can_be_read(
    kafka: Cluster, topic: NewTopic, opened: Opened, protocol: dict[str, str], retries: None
) -> None:
    name, group = topic(2), new_group()
    produce(kafka, name, 0)
    batch = damage(kafka.segment(name), 5 * SIZE)
    owner = opened(kafka, name, group, **protocol)
    run(lambda: len(owner.of(Unreadable)) == 3, owner)
    assert owner.at[TopicPartition(name, 0)] == batch.first
    produce(kafka, name, 1)
    run(lambda: len(owner.taken) == 15 * SIZE, owner)

    # As a copy that is whole would be, once it leads.
    damage(kafka.segment(name), 5 * SIZE)
    run(lambda: len(owner.taken) == 20 * SIZE, owner)

    assert set(owner.taken.values()) == {1}


@on_every_kind_of_group
def test_a_damaged_batch_that_kafka_deletes_is_gone_like_any_other(
    kafka: Cluster, topic: NewTopic, opened: Opened, protocol: dict[str, str], retries: None
) -> None:
    name, group = topic(), new_group()
    produce(kafka, name)
    batch = damage(kafka.segment(name), 5 * SIZE)
    owner = opened(kafka, name, group, **protocol)
    run(lambda: bool(owner.of(Unreadable)), owner)
    delete_below(kafka, name, batch.last + 1)
    run(lambda: len(owner.taken) == 9 * SIZE, owner)

    assert owner.of(Gone) == [Gone({TopicPartition(name, 0): batch.last + 1}, 0)]
    assert set(owner.taken.values()) == {1}


@on_every_kind_of_group
def test_what_kafka_deletes_ahead_of_a_partition_is_told_and_passed_over(
    kafka: Cluster, topic: NewTopic, opened: Opened, protocol: dict[str, str]
) -> None:
    name, group = topic(2), new_group()
    commit(kafka, group, name, [10, 20])
    produce(kafka, name, 0)
    produce(kafka, name, 1)
    delete_below(kafka, name, 50)
    owner = opened(kafka, name, group, offset="latest", **protocol)
    run(lambda: len(owner.taken) == 150 + 180, owner)

    assert owner.of(Gone) == [Gone({TopicPartition(name, 0): 50}, 0)]
    assert set(owner.taken.values()) == {1}
