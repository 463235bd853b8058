"""Supervisors come and go, and partitions move between them while both are busy."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.feed import Feed
from tests.kafka.journal import Attempt, Key, ended, read
from tests.kafka.records import commits
from tests.kafka.supervisors import Supervise, Supervisor

MESSAGES = 100_000
PARTITIONS = 12
# Members hear of a rebalance with their heartbeats; every 3 s by default.
CLASSIC = ("-X", "heartbeat.interval.ms=500")
CONSUMER = ("-X", "group.protocol=consumer")

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


@on_both_protocols
def test_supervisors_that_join_and_leave_lose_and_repeat_nothing(
    kafka3: Cluster, supervise: Supervise, protocol: tuple[str, ...]
) -> None:
    topic = kafka3.new_topic(PARTITIONS)
    values = [b"ok"] * MESSAGES

    def start() -> Supervisor:
        return supervise(kafka3, topic, *protocol)

    def handled() -> int:
        return ended(supervise.journal)

    # Five rebalances: three supervisors join one by one, and two leave.
    first = start()
    with Feed(
        kafka3, topic, values, partitions=PARTITIONS, handled=handled, held=MESSAGES // 5
    ) as feed:
        first.handled(1000)
        second = start().begun(1000)
        second.until(lambda: handled() >= MESSAGES // 4, "a quarter is handled")
        third = start().begun(1000)
        third.until(lambda: handled() >= MESSAGES // 2, "half is handled")
        assert first.stop() == 0, first
        third.until(lambda: handled() >= 3 * MESSAGES // 4, "three quarters are handled")
        assert third.stop() == 0, third
        feed.finish()
        second.until(lambda: handled() >= MESSAGES, "all is handled")
        assert second.stop() == 0, second

    all_is_well(kafka3, supervise, topic, feed.placed.values())
