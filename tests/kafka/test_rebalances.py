"""Supervisors come and go, and partitions move between them while both are busy."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable

import pytest
from confluent_kafka import Consumer, KafkaError
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.feed import Feed
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import Attempt, Key, ended, read
from tests.kafka.records import commits, produce
from tests.kafka.supervisors import Supervise, Supervisor
from tests.waiting import until

MESSAGES = 100_000
PARTITIONS = 12
# Members hear of a rebalance with their heartbeats; every 3 s by default.
CLASSIC = ("-X", "heartbeat.interval.ms=500")
CONSUMER = ("-X", "group.protocol=consumer")
# How soon new topics and partitions are seen; every 30 s by default.
REFRESH = ("-X", "topic.metadata.refresh.interval.ms=500")
PATIENCE = 30.0

on_both_protocols = pytest.mark.parametrize(
    "protocol", [CLASSIC, CONSUMER], ids=["classic", "consumer"]
)


def all_is_well(
    cluster: Cluster, supervise: Supervise, topic: str, produced: Iterable[Key]
) -> list[Attempt]:
    """Check what holds for every run without kills; return its attempts."""
    attempts = read(supervise.journal)
    produced = list(produced)
    checker.nothing_is_lost(produced, attempts)
    repeats = checker.repeats(attempts)
    assert not repeats, f"handled twice {checker.some(sorted(repeats.items()))}"
    checker.all_is_committed(cluster.committed(supervise.group, topic), cluster.end_offsets(topic))
    history = commits(cluster, supervise.group)
    checker.commits_ascend(history)
    checker.commits_cover(history, produced, checker.done(attempts))
    return attempts


@pytest.mark.timeout(300)
@on_both_protocols
def test_supervisors_that_join_and_leave_lose_and_repeat_nothing(
    kafka3: Cluster, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    topic = kafka3.new_topic(PARTITIONS)
    # Long enough that a backlog is there at all times: partitions move in the middle of it.
    values = [b"spin 0.0002"] * MESSAGES

    def start() -> Supervisor:
        return supervise(kafka3, topic, *protocol)

    count = handled(supervise)

    # Five rebalances: three supervisors join one by one, and two leave.
    first = start()
    with Feed(
        kafka3, topic, values, partitions=PARTITIONS, handled=count, held=MESSAGES // 5
    ) as feed:
        first.handled(1000)
        second = start().begun(1000)
        second.until(lambda: count() >= MESSAGES // 4, "a quarter is handled")
        third = start().begun(1000)
        third.until(lambda: count() >= MESSAGES // 2, "half is handled")
        assert first.stop() == 0, first
        third.until(lambda: count() >= 3 * MESSAGES // 4, "three quarters are handled")
        assert third.stop() == 0, third
        feed.finish()
        second.until(lambda: count() >= MESSAGES, "all is handled")
        assert second.stop() == 0, second

    all_is_well(kafka3, supervise, topic, feed.placed.values())


def test_a_group_of_another_assignor_is_joined_when_its_members_have_gone(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    produce(kafka, name, [b"ok"] * 3)
    given = threading.Event()
    other = Consumer(
        {
            **kafka.client,
            "group.id": supervise.group,
            "partition.assignment.strategy": "range",
            "enable.auto.commit": False,
        }
    )
    other.subscribe([name], on_assign=lambda *_: given.set())

    def owned() -> bool:
        other.poll(0.1)
        return given.is_set()

    try:
        until(owned, "the other member owns it", PATIENCE)
        supervisor = supervise(kafka, name)
        supervisor.until(lambda: "trying on. Set partition" in supervisor.out, "it is told")
    finally:
        other.close()
    supervisor.handled(3)

    assert supervisor.stop() == 0, supervisor
    assert "do not assign partitions by cooperative-sticky" in supervisor.out
    assert supervisor.out.count("cannot join the group") == 1
    assert KafkaError(KafkaError.INCONSISTENT_GROUP_PROTOCOL).str() not in supervisor.out


@pytest.mark.parametrize(
    ("ordering", "protocol"),
    [("key", CLASSIC), ("partition", CONSUMER)],
    ids=["key-classic", "partition-consumer"],
)
def test_the_order_outlives_rebalances(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, ordering: str, protocol: tuple[str, ...]
) -> None:
    name = topic(PARTITIONS)
    # Some fail at first, and what follows them waits.
    values = [b"fail 1" if n % 50 == 7 else b"ok" for n in range(MESSAGES)]
    keys = [b"%d" % (n * 7919 % 300) for n in range(MESSAGES)]
    policy = {"ordering": ordering, "retry": {"attempts": 3, "first": 0.02, "jitter": False}}

    def start() -> Supervisor:
        return supervise(kafka, name, *protocol, **policy)

    first = start()
    with Feed(kafka, name, values, keys=keys, handled=handled(supervise), rate=600) as feed:
        first.handled(500)
        second = start().begun(500)
        third = start().begun(500)
        assert first.stop() == 0, first
        third.begun(third.reader.begun + 500)
        feed.enough()
    caught_up(kafka, supervise, name, second, third)

    attempts = all_is_well(kafka, supervise, name, feed.placed.values())
    key_of = {place: keys[number] for number, place in feed.placed.items()}
    by_key = ordering == "key"
    checker.in_order(attempts, lambda key: (key.partition, key_of[key] if by_key else None))


@on_both_protocols
def test_what_runs_longer_than_the_drain_is_fenced_and_repeated(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    name = topic(4)
    # All partitions are busy, whichever are taken away, and messages wait behind.
    slow = produce(kafka, name, [b"until told"] * 4, partitions=4)
    quick = produce(kafka, name, [b"ok"] * 80, partitions=4)
    options = ("--workers", "4", "--shutdown-timeout", "1", *protocol)
    # By partition, so that each worker has one slow message and nothing else.
    first = supervise(kafka, name, *options, ordering="partition").begun(4)
    second = supervise(kafka, name, *options, ordering="partition")
    moved = set(partitions(second.begun(2)))
    # The former owner's handlers return in the middle of the others, and it commits what it has.
    (first.journal / "told").touch()
    ends = kafka.end_offsets(name)
    rest = {partition: end for partition, end in ends.items() if partition not in moved}
    first.until(lambda: rest.items() <= offsets(kafka, supervise, name).items(), "a commit")
    (second.journal / "told").touch()
    caught_up(kafka, supervise, name, first, second)

    assert first.events("drain_expired")
    attempts = read(supervise.journal)
    checker.nothing_is_lost([*slow, *quick], attempts)
    repeated = checker.repeats(attempts)
    # Those of the partitions that moved, once each: what was not begun went to one alone.
    assert set(repeated.values()) == {1} and set(repeated) <= set(slow)
    taken = read(supervise.journal / "1")
    assert {key.partition for key in repeated} == {attempt.key.partition for attempt in taken}
    # What the former owner's handler returned in the end counts for nothing.
    finished = {
        key: max(attempt.end or 0.0 for attempt in tries)
        for key, tries in checker.by_key(attempts).items()
    }
    history = commits(kafka, supervise.group)
    checker.commits_ascend(history)
    checker.commits_cover(history, [*slow, *quick], finished)


@on_both_protocols
def test_a_supervisor_that_stood_still_commits_nothing_of_what_it_lost(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    name = topic(4)
    options = (*protocol, "-X", "session.timeout.ms=4000") if protocol is CLASSIC else protocol
    first = supervise(kafka, name, *options)
    values = [b"ok"] * MESSAGES
    with Feed(kafka, name, values, partitions=4, handled=handled(supervise), rate=400) as feed:
        first.handled(100)
        second = supervise(kafka, name, *options).begun(100)
        os.kill(first.pid, signal.SIGSTOP)
        second.until(lambda: set(partitions(second)) == {0, 1, 2, 3}, "it has all partitions")
        second.begun(second.reader.begun + 400)
        os.kill(first.pid, signal.SIGCONT)
        # It has found out, and was given partitions again.
        first.begun(first.reader.follow().begun + 1000)
        feed.enough()
    caught_up(kafka, supervise, name, first, second)

    attempts = read(supervise.journal)
    produced = list(feed.placed.values())
    checker.nothing_is_lost(produced, attempts)
    history = commits(kafka, supervise.group)
    checker.commits_ascend(history)
    checker.commits_cover(history, produced, checker.done(attempts))


@on_both_protocols
def test_partitions_that_are_added_are_read(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    name = topic(2)
    produced = produce(kafka, name, [b"ok"] * 100, partitions=2)
    supervisor = supervise(kafka, name, *protocol, *REFRESH).handled(100)
    admin = AdminClient(kafka.client)
    for asked in admin.create_partitions([NewPartitions(name, 6)]).values():
        asked.result(PATIENCE)
    supervisor.until(lambda: len(kafka.end_offsets(name)) == 6, "the partitions are there")
    produced += produce(kafka, name, [b"ok"] * 600, partitions=6)
    supervisor.handled(700)

    assert supervisor.stop() == 0, supervisor
    all_is_well(kafka, supervise, name, produced)


@on_both_protocols
def test_a_new_topic_that_a_pattern_matches_is_read(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    name = topic()
    produced = produce(kafka, name, [b"ok"] * 100)
    supervisor = supervise(kafka, f"^{name}.*", *protocol, *REFRESH).handled(100)
    later = kafka.create_topic(f"{name}.later", 2)
    produced += produce(kafka, later, [b"ok"] * 100, partitions=2)
    supervisor.handled(200)

    assert supervisor.stop() == 0, supervisor
    checker.nothing_is_lost(produced, read(supervise.journal))
    for each in (name, later):
        checker.all_is_committed(kafka.committed(supervise.group, each), kafka.end_offsets(each))


@on_both_protocols
def test_a_supervisor_of_two_members_shares_with_others(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    name = topic(6)
    values = [b"ok"] * MESSAGES
    first = supervise(kafka, name, *protocol, "--members", "2")
    with Feed(kafka, name, values, partitions=6, handled=handled(supervise), rate=600) as feed:
        first.until(lambda: set(partitions(first)) == set(range(6)), "it has all partitions")
        assert len(members(kafka, supervise.group)) == 2
        second = supervise(kafka, name, *protocol, "--members", "2").begun(100)
        assert len(members(kafka, supervise.group)) == 4
        assert first.stop() == 0, first
        second.until(lambda: set(partitions(second)) == set(range(6)), "it has all partitions")
        feed.enough()
    caught_up(kafka, supervise, name, second)

    all_is_well(kafka, supervise, name, feed.placed.values())


@on_both_protocols
def test_a_static_member_that_comes_back_moves_no_partition(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    name = topic(4)
    # It may be away for so long; with the other protocol the broker says how long.
    patient = ("-X", "session.timeout.ms=30000") if protocol is CLASSIC else ()

    def start(member: str) -> Supervisor:
        instance = ("-X", f"group.instance.id={member}")
        return supervise(kafka, name, *protocol, *patient, *instance)

    first = start("one")
    values = [b"ok"] * MESSAGES
    with Feed(kafka, name, values, partitions=4, handled=handled(supervise), rate=400) as feed:
        first.handled(100)
        second = start("two").begun(400)
        since = [supervisor.reader.follow().begun for supervisor in (first, second)]
        first.begun(since[0] + 400)
        mine, others = set(partitions(first, since[0])), set(partitions(second, since[1]))
        assert first.stop() == 0, first
        second.handled(second.reader.follow().ended + 400)
        again = start("one").begun(400)
        feed.enough()
    caught_up(kafka, supervise, name, again, second)

    assert mine | others == {0, 1, 2, 3} and not mine & others
    assert set(partitions(again)) == mine
    assert set(partitions(second, since[1])) == others
    all_is_well(kafka, supervise, name, feed.placed.values())


@on_both_protocols
def test_a_static_name_that_two_have_is_an_error_for_one(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    name = topic(2)
    produced = produce(kafka, name, [b"ok"] * 100, partitions=2)
    options = (*protocol, "-X", "group.instance.id=same")
    first = supervise(kafka, name, *options).handled(100)
    second = supervise(kafka, name, *options)
    # The older protocol lets the newcomer in, the other one who was there before.
    loser, winner = (first, second) if protocol is CLASSIC else (second, first)

    assert loser.wait() == 3, loser
    said = loser.out.rpartition("error: ")[2]
    assert "each member of a group needs a group.instance.id of its own" in said
    assert "Traceback" not in loser.out
    produced += produce(kafka, name, [b"ok"] * 100, partitions=2)
    caught_up(kafka, supervise, name, winner)
    checker.nothing_is_lost(produced, read(supervise.journal))


def handled(supervise: Supervise) -> Callable[[], int]:
    """How many messages all supervisors have handled, for whoever asks for it."""
    return lambda: ended(supervise.journal)


def caught_up(cluster: Cluster, supervise: Supervise, topic: str, *supervisors: Supervisor) -> None:
    """Wait until all is committed, and stop what runs."""
    ends = cluster.end_offsets(topic)
    done = "all is committed"
    supervisors[0].until(lambda: offsets(cluster, supervise, topic) == ends, done)
    for supervisor in supervisors:
        assert supervisor.stop() == 0, supervisor


def offsets(cluster: Cluster, supervise: Supervise, topic: str) -> dict[int, int]:
    """How far the group has committed."""
    told = cluster.committed(supervise.group, topic)
    return {partition: committed.offset for partition, committed in told.items()}


def partitions(supervisor: Supervisor, since: int = 0) -> list[int]:
    """Those of which it has begun messages, without the first so many."""
    return [attempt.key.partition for attempt in supervisor.reader.follow().attempts[since:]]


def members(cluster: Cluster, group: str) -> list[str]:
    """The members of a group."""
    admin = AdminClient(cluster.client)
    asked = admin.describe_consumer_groups([group])[group]
    return [member.client_id for member in asked.result(PATIENCE).members]
