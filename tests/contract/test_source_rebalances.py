"""What every source does around a rebalance: drain, release, begin where another left off."""

from __future__ import annotations

from kqworker.core.commands import Commit, Mark, Pause, Release
from kqworker.core.events import Assigned, Committed, Revoked, Start
from kqworker.kafka.commit_fence import NOT_OWNED
from kqworker.types import TopicPartition
from tests.contract.brokers import PARTITIONS, TIMEOUT, Broker, committed, new_group, produce
from tests.contract.conftest import ALL, Opened, numbered, on_every_protocol
from tests.contract.owner import run


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
    assert Committed({foreign: Mark(1, "")}, NOT_OWNED) in first.answers()
    assert Committed(dict.fromkeys(revoked.partitions, Mark(7, "half"))) in first.answers()


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

    assert first.answers() == [Committed(everything)]
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
    refused = {TopicPartition(topic, p): Mark(6, "stale") for p in second.partitions()}
    run(lambda: Committed(refused, NOT_OWNED) in first.answers(), first, second)

    now = committed(broker, group, topic)
    assert {now[p] for p in second.partitions()} == {Mark(10, "")}


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
    run(lambda: done <= {p for a in owner.answers()[before:] for p in a.marks}, owner)

    assert committed(broker, group, topic) == dict.fromkeys(ALL, Mark(10, "shared"))


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
