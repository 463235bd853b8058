"""What every source does, whatever stands behind it: messages, commits, pauses.

What it does around a rebalance is held in test_source_rebalances.py.
"""

from __future__ import annotations

import select

import pytest
from confluent_kafka import Producer

from kqworker.core.commands import Commit, Fetching, Mark, Pause, Resume
from kqworker.core.events import Committed, Fetched, Start
from kqworker.errors import ConfigError
from kqworker.kafka.commit_fence import BACKWARDS, BEYOND, NOT_OWNED
from kqworker.kafka.source import KafkaSource
from kqworker.types import TopicPartition
from tests.contract.brokers import (
    PARTITIONS,
    TIMEOUT,
    Broker,
    committed,
    new_group,
    produce,
    properties,
)
from tests.contract.conftest import ALL, Opened, numbered, on_every_protocol
from tests.contract.owner import idle, run


def test_messages_arrive_with_everything_that_they_carry(broker: Broker, opened: Opened) -> None:
    topic = broker.new_topic()
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(topic, b"v", b"k", partition=0, timestamp=1234, headers=[("h", b"1")])
    producer.produce(topic, None, b"", partition=0, timestamp=5678)
    producer.produce(topic, b"", partition=1)
    producer.flush(TIMEOUT)
    owner = opened(topic, new_group())
    run(lambda: len(owner.values) == 3, owner)

    # Where one frame ends and the next begins, the source and the broker decide.
    first = [r for r in owner.records() if r.partition == (topic, 0)]
    assert [offset for r in first for offset in r.offsets] == [0, 1]
    assert [value for r in first for value in r.values] == [b"v", None]
    assert [key for r in first for key in r.keys or [None]] == [b"k", b""]
    assert [at for r in first for at in r.timestamps] == [1234, 5678]
    assert [headers for r in first for headers in r.headers or [None]] == [[("h", b"1")], None]
    assert sum(r.size for r in first) == 2
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

    assert set(first.starts.values()) == {Start(None)}
    # What its commits are to tell: how many partitions there were at first.
    assert set(last.starts.values()) == {Start(None, partitions=PARTITIONS)}
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

    marks = {0: Mark(4, "map:7"), 1: Mark(10, "map:7")}
    asked = {TopicPartition(topic, p): mark for p, mark in marks.items()}
    assert owner.answers() == [Committed(asked)]
    assert committed(broker, group, topic) == marks
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

    asked = [{TopicPartition(topic, 0): Mark(2, metadata)} for metadata in ("one", "two")]
    assert owner.answers() == [Committed(marks) for marks in asked]
    assert committed(broker, group, topic) == {0: Mark(2, "two")}


def test_a_commit_never_goes_back(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(9)})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 9, owner)
    owner.commit(p0=6)
    owner.commit(p0=3)
    run(lambda: len(owner.answers()) == 2, owner)

    assert Committed({TopicPartition(topic, 0): Mark(3, "")}, BACKWARDS) in owner.answers()
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

    assert second.answers() == [Committed({TopicPartition(topic, 0): Mark(5, "")}, BACKWARDS)]
    assert committed(broker, group, topic) == {0: Mark(6, "")}


def test_nothing_is_committed_beyond_what_was_handed_over(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(9)})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 9, owner)
    owner.commit(p0=10)
    run(lambda: bool(owner.answers()), owner)

    assert owner.answers() == [Committed({TopicPartition(topic, 0): Mark(10, "")}, BEYOND)]
    assert committed(broker, group, topic) == {}


def test_of_marks_that_come_fast_the_last_is_committed(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {0: numbered(100)})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 100, owner)
    for offset in range(1, 101):
        owner.commit(p0=offset)
    last = Committed({TopicPartition(topic, 0): Mark(100, "")})
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

    assert owner.answers() == [Committed({foreign: Mark(1, "")}, NOT_OWNED)]


def test_what_is_committed_just_before_the_end_still_counts(broker: Broker, opened: Opened) -> None:
    topic, group = broker.new_topic(), new_group()
    produce(broker, topic, {p: numbered(10) for p in ALL})
    owner = opened(topic, group)
    run(lambda: len(owner.values) == 40, owner)
    for metadata in "first", "second", "end":
        owner.commit(metadata)
    assert owner.source.close(TIMEOUT)

    assert committed(broker, group, topic) == {p: Mark(10, "end") for p in ALL}


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
    taken = len(owner.of(Fetched))
    # Nobody takes for longer than it takes to pause everything.
    idle(1.5)
    owner.pump()
    # Two that may wait, one that has come just when others were taken, and what was on its
    # way when all was paused.
    assert len(owner.of(Fetched)) - taken <= 4
    assert len(owner.values) < 40_000

    run(lambda: len(owner.values) == 40_000, owner)
    assert set(owner.taken.values()) == {1}


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
