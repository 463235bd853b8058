"""What every source does, whatever stands behind it."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence

import pytest
from confluent_kafka import Producer

from kqworker.core.commands import Commit, Fetching, Mark, Pause, Release, Resume
from kqworker.core.events import Assigned, Committed, Fetched, Revoked, Start
from kqworker.errors import ConfigError
from kqworker.kafka.devbroker import DevBroker, start_dev_broker
from kqworker.kafka.ledger import BACKWARDS, BEYOND, NOT_OWNED
from kqworker.kafka.source import KafkaSource
from kqworker.types import TopicPartition
from tests.contract.brokers import (
    PARTITIONS,
    TIMEOUT,
    Apache,
    Broker,
    Mock,
    committed,
    new_group,
    produce,
    properties,
)
from tests.contract.owner import Owner, idle, run

CONSUMER = {"group.protocol": "consumer"}
# Members hear of a rebalance by their heartbeats.
COOPERATIVE = {
    "partition.assignment.strategy": "cooperative-sticky",
    "heartbeat.interval.ms": "200",
}
EAGER = {"partition.assignment.strategy": "range", "heartbeat.interval.ms": "200"}

ON_MOCK = pytest.param((Mock, CONSUMER), id="mock")
ON_APACHE = pytest.param((Apache, CONSUMER), id="apache-consumer", marks=pytest.mark.kafka)
ON_APACHE_CLASSIC = [
    pytest.param((Apache, COOPERATIVE), id="apache-cooperative", marks=pytest.mark.kafka),
    pytest.param((Apache, EAGER), id="apache-eager", marks=pytest.mark.kafka),
]
# For tests of what happens around a rebalance.
on_every_protocol = pytest.mark.parametrize(
    "broker", [ON_MOCK, ON_APACHE, *ON_APACHE_CLASSIC], indirect=True
)

ALL = range(PARTITIONS)


@pytest.fixture(params=[ON_MOCK, ON_APACHE])
def broker(request: pytest.FixtureRequest) -> Broker:
    kind, protocol = request.param
    if kind is Mock:
        return Mock(request.getfixturevalue("dev_broker"), protocol)
    return Apache(request.getfixturevalue("kafka"), protocol)


@pytest.fixture
def dev_broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        yield started


Opened = Callable[..., Owner]


@pytest.fixture
def opened(broker: Broker) -> Iterator[Opened]:
    """Opens sources, and closes those that the test has not."""
    owners: list[Owner] = []

    def open_source(
        topics: str | Sequence[str],
        group: str,
        members: int = 1,
        drain_seconds: float = 5.0,
        offset: str = "earliest",
        **more: str,
    ) -> Owner:
        subscriptions = [topics] if isinstance(topics, str) else topics
        mine = [properties(broker, group, offset, **more)] * members
        owners.append(Owner(KafkaSource(mine, subscriptions, drain_seconds)))
        return owners[-1]

    yield open_source
    for owner in owners:
        if owner.source.fileno() >= 0:
            owner.source.close(TIMEOUT)


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_messages_arrive_with_everything_that_they_carry(broker: Broker, opened: Opened) -> None:
    topic = broker.new_topic()
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(topic, b"v", b"k", partition=0, timestamp=1234, headers=[("h", b"1")])
    producer.produce(topic, None, b"", partition=0, timestamp=5678)
    producer.produce(topic, b"", partition=1)
    producer.flush(TIMEOUT)
    owner = opened(topic, new_group())
    run(lambda: len(owner.values) == 3, owner)

    (first,) = (r for r in owner.records() if r.partition == (topic, 0))
    assert first.offsets == range(2)
    assert first.values == [b"v", None]
    assert first.keys == [b"k", b""]
    assert first.timestamps == [1234, 5678]
    assert first.headers == [[("h", b"1")], None]
    assert first.size == 2
    (second,) = (r for r in owner.records() if r.partition == (topic, 1))
    assert (second.values, second.keys, second.headers) == ([b""], None, None)


def test_the_descriptor_is_readable_while_events_wait(broker: Broker, opened: Opened) -> None:
    owner = opened(broker.new_topic(), new_group())
    run(lambda: len(owner.starts) == PARTITIONS, owner)
    owner.source.execute(Commit({TopicPartition("elsewhere", 0): Mark(1, "")}))

    assert select.select([owner], [], [], TIMEOUT)[0] == [owner]
    assert select.select([owner], [], [], 0)[0] == [owner]
    assert owner.source.events()
    assert select.select([owner], [], [], 0)[0] == []
    assert not owner.source.events()


def test_a_group_without_commits_starts_where_it_is_told(broker: Broker, opened: Opened) -> None:
    topic, early = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(5) for p in ALL})
    first, last = opened(topic, early), opened(topic, new_group(), offset="latest")
    run(lambda: len(first.values) == 20 and len(last.starts) == PARTITIONS, first, last)

    assert all(start == Start(None) for start in [*first.starts.values(), *last.starts.values()])
    assert last.values == []


@on_every_protocol
def test_a_start_at_the_end_can_be_committed_before_any_message(
    broker: Broker, opened: Opened
) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(5)})
    first = opened(topic, group, offset="latest")
    run(lambda: len(first.at) == PARTITIONS, first)
    first.commit()
    assert first.source.close(TIMEOUT)
    produce(broker, topic, {0: numbered(3), 1: numbered(2)})
    second = opened(topic, group, offset="latest")
    run(lambda: len(second.values) == 5, second)

    assert committed(broker, group, topic) == {p: Mark(5 if p == 0 else 0, "") for p in ALL}


@on_every_protocol
def test_a_commit_is_answered_and_the_next_owner_begins_there(
    broker: Broker, opened: Opened
) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 40, owner)
    owner.commit("map:7", p0=4, p1=10)
    run(lambda: bool(owner.answers()), owner)
    assert owner.source.close(TIMEOUT)

    assert owner.answers() == [Committed({(topic, 0): 4, (topic, 1): 10})]  # type: ignore[dict-item]
    assert committed(broker, group, topic) == {0: Mark(4, "map:7"), 1: Mark(10, "map:7")}
    following = opened(topic, group)
    run(lambda: len(following.values) == 26, following)
    assert following.starts == {
        (topic, 0): Start(4, "map:7"),
        (topic, 1): Start(10, "map:7"),
        (topic, 2): Start(None),
        (topic, 3): Start(None),
    }


def test_metadata_alone_is_committed_too(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(3)})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 3, owner)
    for metadata in "one", "two":
        owner.commit(metadata, p0=2)
    run(lambda: len(owner.answers()) == 2, owner)

    assert all(answer == Committed({(topic, 0): 2}) for answer in owner.answers())  # type: ignore[dict-item]
    assert committed(broker, group, topic) == {0: Mark(2, "two")}


def test_a_commit_never_goes_back(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(9)})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 9, owner)
    owner.commit(p0=6)
    owner.commit(p0=3)
    run(lambda: len(owner.answers()) == 2, owner)

    assert Committed({TopicPartition(topic, 0): 3}, BACKWARDS) in owner.answers()
    assert committed(broker, group, topic) == {0: Mark(6, "")}


def test_a_new_owner_does_not_commit_below_its_start(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(9)})
    first = opened(topic, group)
    run(lambda: len(first.values) == 9, first)
    first.commit(p0=6)
    first.source.close(TIMEOUT)
    second = opened(topic, group)
    run(lambda: len(second.values) == 3, second)
    second.commit(p0=5)
    run(lambda: bool(second.answers()), second)

    assert second.answers() == [Committed({TopicPartition(topic, 0): 5}, BACKWARDS)]
    assert committed(broker, group, topic) == {0: Mark(6, "")}


def test_nothing_is_committed_beyond_what_was_handed_over(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(9)})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 9, owner)
    owner.commit(p0=10)
    run(lambda: bool(owner.answers()), owner)

    assert owner.answers() == [Committed({TopicPartition(topic, 0): 10}, BEYOND)]
    assert committed(broker, group, topic) == {}


def test_of_marks_that_come_fast_the_last_is_committed(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(100)})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 100, owner)
    for offset in range(1, 101):
        owner.commit(p0=offset)
    last = Committed({TopicPartition(topic, 0): 100})
    run(lambda: last in owner.answers(), owner)

    assert all(answer.error is None for answer in owner.answers())
    # One under way at a time: what came meanwhile was merged.
    assert len(owner.answers()) < 100
    assert committed(broker, group, topic) == {0: Mark(100, "")}


def test_a_mark_that_is_committed_already_is_answered_at_once(
    broker: Broker, opened: Opened
) -> None:
    topic = broker.new_topic()
    produce(broker, topic, {0: numbered(3)})
    owner = opened(topic, new_group())
    run(lambda: len(owner.values) == 3, owner)
    owner.commit(p0=3)
    run(lambda: len(owner.answers()) == 1, owner)
    owner.commit(p0=3)
    run(lambda: len(owner.answers()) == 2, owner)

    assert owner.answers()[0] == owner.answers()[1]


def test_a_commit_for_what_nobody_owns_is_refused(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    owner = opened(topic, group)
    run(lambda: len(owner.starts) == PARTITIONS, owner)
    foreign = TopicPartition(f"{topic}-foreign", 0)
    owner.source.execute(Commit({foreign: Mark(1, "")}))
    run(lambda: bool(owner.answers()), owner)

    assert owner.answers() == [Committed({foreign: 1}, NOT_OWNED)]


def test_what_is_committed_just_before_the_end_still_counts(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 40, owner)
    for metadata in "first", "second", "end":
        owner.commit(metadata)
    assert owner.source.close(TIMEOUT)

    assert committed(broker, group, topic) == {p: Mark(10, "end") for p in ALL}


@on_every_protocol
def test_who_joins_begins_where_the_former_owner_released(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(500) for p in ALL})
    first = opened(topic, group)
    run(lambda: len(first.values) == 2000, first)
    second = opened(topic, group)
    run(lambda: len(second.starts) == len(first.starts) == 2, first, second)
    produce(broker, topic, {p: numbered(500) for p in ALL})
    run(lambda: len(first.values) + len(second.values) == 4000, first, second)

    assert first.partitions() | second.partitions() == set(ALL)
    assert all(start.offset == 500 for start in second.starts.values())
    assert set((first.taken + second.taken).values()) == {1}

    first.commit()
    assert first.source.close(TIMEOUT)
    produce(broker, topic, {p: numbered(500) for p in ALL})
    run(lambda: len(first.values) + len(second.values) == 6000, second)
    assert second.partitions() == set(ALL)
    assert set((first.taken + second.taken).values()) == {1}


@on_every_protocol
def test_a_release_commits_what_it_carries_before_the_partition_goes(
    broker: Broker, opened: Opened
) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    first = opened(topic, group)
    first.releases = False
    run(lambda: len(first.values) == 40, first)
    second = opened(topic, group)
    run(lambda: bool(first.of(Revoked)), first, second)
    assert not second.of(Assigned)
    (revoked,) = first.of(Revoked)
    assert isinstance(revoked, Revoked)
    assert revoked.seconds == 5.0
    foreign = TopicPartition(f"{topic}-foreign", 0)
    marks = {p: Mark(7, "half") for p in revoked.partitions} | {foreign: Mark(1, "")}
    first.source.execute(Release(0, revoked.partitions, marks))
    run(lambda: len(second.starts) == 2, first, second)

    assert set(second.starts.values()) == {Start(7, "half")}
    assert Committed({foreign: 1}, NOT_OWNED) in first.answers()
    assert Committed(dict.fromkeys(revoked.partitions, 7)) in first.answers()


@on_every_protocol
def test_a_partition_that_is_not_released_goes_when_the_time_is_over(
    broker: Broker, opened: Opened
) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    first = opened(topic, group, drain_seconds=0.2)
    first.releases = False
    run(lambda: len(first.values) == 40, first)
    second = opened(topic, group)
    run(lambda: len(second.starts) == 2 and len(second.values) == 20, first, second)

    assert set(second.starts.values()) == {Start(None)}
    # What the core says too late is no longer its to say.
    (revoked,) = first.of(Revoked)
    assert isinstance(revoked, Revoked)
    late = {p: Mark(10, "") for p in second.starts}
    first.source.execute(Release(0, revoked.partitions, late))
    run(lambda: any(a.error == NOT_OWNED for a in first.answers()), first, second)
    assert committed(broker, group, topic) == {}


@on_every_protocol
def test_a_commit_while_a_partition_is_being_drained_goes_out(
    broker: Broker, opened: Opened
) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    first = opened(topic, group)
    first.releases = False
    run(lambda: len(first.values) == 40, first)
    second = opened(topic, group)
    run(lambda: bool(first.of(Revoked)), first, second)
    everything = {TopicPartition(topic, p): Mark(5, "") for p in ALL}
    first.source.execute(Commit(everything))
    run(lambda: bool(first.answers()), first, second)

    assert first.answers() == [Committed(dict.fromkeys(everything, 5))]
    assert committed(broker, group, topic) == dict.fromkeys(ALL, Mark(5, ""))


@on_every_protocol
def test_a_stale_commit_after_a_revoke_changes_nothing(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    first = opened(topic, group)
    run(lambda: len(first.values) == 40, first)
    first.commit(p0=4, p1=4, p2=4, p3=4)
    stale = Commit({TopicPartition(topic, p): Mark(6, "stale") for p in ALL})
    second = opened(topic, group)
    run(lambda: len(first.starts) == len(second.starts) == 2, first, second)
    first.source.execute(stale)
    refused = {TopicPartition(topic, p): 6 for p in second.partitions()}
    run(lambda: Committed(refused, NOT_OWNED) in first.answers(), first, second)

    now = committed(broker, group, topic)
    assert {now[p] for p in second.partitions()} == {Mark(10, "")}


def test_a_paused_partition_stands_still_and_goes_on_without_a_gap(
    broker: Broker, opened: Opened
) -> None:
    topic = broker.new_topic()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    owner = opened(topic, new_group())
    run(lambda: len(owner.values) == 40, owner)
    paused = TopicPartition(topic, 2)
    owner.source.execute(Pause((paused,)))
    # What was on its way when the command came is still handed over: wait for the quiet.
    owner.commit(p0=1)
    run(lambda: bool(owner.answers()), owner)
    produce(broker, topic, {p: numbered(10) for p in ALL})
    run(lambda: len(owner.values) == 70, owner)
    idle(0.3, owner)
    assert owner.at[paused] == 10

    owner.source.execute(Resume((paused,)))
    run(lambda: len(owner.values) == 80, owner)
    assert set(owner.taken.values()) == {1}


@on_every_protocol
def test_a_pause_ends_with_the_epoch(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    first = opened(topic, group)
    run(lambda: len(first.values) == 40, first)
    first.source.execute(Pause(tuple(first.starts)))
    second = opened(topic, group)
    run(lambda: len(second.starts) == len(first.starts) == 2, first, second)
    moved = second.partitions()
    assert second.source.close(TIMEOUT)
    run(lambda: len(first.starts) == PARTITIONS, first)
    produce(broker, topic, {p: numbered(10) for p in ALL})

    def fresh() -> set[int]:
        return {p.partition for p, offset in first.taken if offset >= 10}

    run(lambda: fresh() >= moved, first)


def test_what_is_held_back_stays_where_it_is_and_arrives_later(
    broker: Broker, opened: Opened
) -> None:
    topic = broker.new_topic()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    owner = opened(topic, new_group())
    run(lambda: len(owner.values) == 40, owner)
    owner.source.execute(Pause((TopicPartition(topic, 3),)))
    owner.source.execute(Fetching(False))
    # Its answer comes after both were carried out.
    owner.commit("first")
    run(lambda: bool(owner.answers()), owner)
    produce(broker, topic, {p: numbered(2000) for p in ALL})
    # Longer than it takes to pause everything, in which a commit is still answered.
    idle(1.5, owner)
    assert len(owner.values) <= 41
    answered = len(owner.answers())
    owner.commit("second")
    run(lambda: len(owner.answers()) > answered, owner)

    owner.source.execute(Fetching(True))
    run(lambda: len(owner.values) == 6040, owner)
    idle(0.3, owner)
    assert len(owner.values) == 6040, "what the core has paused went on"
    owner.source.execute(Resume((TopicPartition(topic, 3),)))
    run(lambda: len(owner.values) == 8040, owner)
    assert set(owner.taken.values()) == {1}


def test_a_loop_that_does_not_take_is_not_flooded(broker: Broker, opened: Opened) -> None:
    topic = broker.new_topic()
    produce(broker, topic, {p: numbered(10_000) for p in ALL})
    owner = opened(topic, new_group())
    run(lambda: len(owner.starts) == PARTITIONS, owner)
    # Nobody takes for longer than it takes to pause everything.
    idle(1.5)
    owner.pump()
    assert len(owner.of(Fetched)) <= 3
    assert len(owner.values) < 40_000

    run(lambda: len(owner.values) == 40_000, owner)
    assert set(owner.taken.values()) == {1}


@on_every_protocol
def test_members_share_the_partitions_and_each_commits_its_own(
    broker: Broker, opened: Opened
) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    owner = opened(topic, group, members=2)

    def settled() -> bool:
        owned = dict.fromkeys(ALL, -1)
        for event in owner.events:
            if isinstance(event, Assigned):
                owned |= {p.partition: event.member for p in event.partitions}
        return sorted(owned.values()) == [0, 0, 1, 1] and len(owner.taken) == 40

    run(settled, owner)
    # A revoke on the way may have committed some already, and was answered for that.
    before = len(owner.answers())
    owner.commit("shared")
    done = {TopicPartition(topic, p) for p in ALL}
    run(lambda: done <= {p for a in owner.answers()[before:] for p in a.offsets}, owner)

    assert committed(broker, group, topic) == dict.fromkeys(ALL, Mark(10, "shared"))


def test_a_pattern_finds_its_topics(broker: Broker, opened: Opened) -> None:
    stem = new_group()
    topics = [broker.new_topic(f"{stem}.{name}") for name in ("a", "b")]
    broker.new_topic(f"{stem}-c")
    for topic in topics:
        produce(broker, topic, {0: numbered(3)})
    owner = opened(f"^{stem}\\..*", new_group())
    run(lambda: len(owner.values) == 6, owner)

    assert {p.topic for p in owner.starts} == set(topics)


def test_what_librdkafka_refuses_is_a_configuration_error(broker: Broker) -> None:
    mine = properties(broker, new_group())
    with pytest.raises(ConfigError, match="retries"):
        KafkaSource([mine, {**mine, "retries": "many"}], ["t"])
    with pytest.raises(ConfigError):
        KafkaSource([mine], [])


@on_every_protocol
def test_closing_does_not_wait_for_a_release(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    first = opened(topic, group, drain_seconds=60.0)
    first.releases = False
    run(lambda: len(first.starts) == PARTITIONS, first)
    second = opened(topic, group)
    run(lambda: bool(first.of(Revoked)), first, second)

    assert first.source.close(10.0)
    run(lambda: len(second.starts) == PARTITIONS, second)
