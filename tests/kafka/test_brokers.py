"""Brokers die, freeze and come back under load: the run stays, and keeps its promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Message

from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.feed import Feed
from tests.kafka.journal import Key, ended, read
from tests.kafka.records import commits, consume
from tests.kafka.supervisors import Supervise, Supervisor

PARTITIONS = 12
# Enough that no test comes to its end.
MOST = 100_000
RATE = 400
# A broker may take so long until another has taken its place, and clients know.
FAILOVER = 60.0


class Load:
    """Messages that come in all the time, each with an output or a dead letter."""

    def __init__(self, cluster: Cluster, supervise: Supervise) -> None:
        self.cluster = cluster
        self.supervise = supervise
        self.topic = cluster.new_topic(PARTITIONS)
        self.output, self.dead = cluster.new_topic(3), cluster.new_topic(3)
        self.supervisor: Supervisor = supervise(
            cluster,
            self.topic,
            *("-X", "heartbeat.interval.ms=1000"),
            app="tests.kafka.echo:app",
            output=self.output,
            dead_letter=self.dead,
        )

    def handled(self) -> int:
        return ended(self.supervise.journal)

    def committed(self) -> dict[int, int]:
        """How far the group has committed."""
        told = self.cluster.committed(self.supervise.group, self.topic)
        return {partition: committed.offset for partition, committed in told.items()}

    def goes_on(self, count: int = 1000) -> None:
        """Return when so many more are handled."""
        goal = self.handled() + count
        self.supervisor.until(lambda: self.handled() >= goal, f"{count} more", FAILOVER)

    def lasts(self, seconds: float) -> None:
        """Return when the fault has lasted for so long, and the run with it."""
        due = time.monotonic() + seconds
        self.supervisor.until(lambda: time.monotonic() >= due, "the time is over", FAILOVER)

    def check(self, repeats: bool) -> None:
        """Hold what came of it against what was promised.

        Without `repeats` no message was handled twice, and with them none of which the
        group had said that it was done.
        """
        logged = {_key(message): message.value() for message in consume(self.cluster, self.topic)}
        attempts = read(self.supervise.journal)
        history = commits(self.cluster, self.supervise.group)
        twice = [key for key, of_it in checker.by_key(attempts).items() if len(of_it) > 1]
        assert repeats or not twice, f"handled twice {checker.some(twice)}\n{self.supervisor}"
        checker.committed_is_not_repeated(history, attempts)
        assert len({attempt.pid for attempt in attempts}) == 2, "a worker was replaced"
        letters = {
            _origin(dict(message.headers() or [])): message.timestamp()[1] / 1000
            for message in consume(self.cluster, self.dead)
        }
        rejected = {key for key, value in logged.items() if value.startswith(b"reject")}
        assert set(letters) == rejected
        checker.nothing_is_lost(logged, attempts, letters)
        outputs = {message.value() for message in consume(self.cluster, self.output)}
        assert outputs == {value for key, value in logged.items() if key not in rejected}
        group = self.supervise.group
        ends = self.cluster.end_offsets(self.topic)
        checker.all_is_committed(self.cluster.committed(group, self.topic), ends)
        checker.commits_ascend(history)
        clock = time.time() - time.monotonic()
        sent = {key: at - clock for key, at in letters.items()}
        checker.commits_cover(history, logged, checker.done(attempts) | sent)


def _key(message: Message) -> Key:
    return Key(message.topic(), message.partition(), message.offset())


def _origin(headers: dict[str, bytes]) -> Key:
    topic, partition, offset = (
        headers[f"kqworker-{name}"].decode() for name in ("topic", "partition", "offset")
    )
    return Key(topic, int(partition), int(offset))


@contextmanager
def under_load(cluster: Cluster, supervise: Supervise, repeats: bool = False) -> Iterator[Load]:
    """Let a run have work all the time; afterwards check that it did all of it.

    Args:
        repeats: Whether the partitions may be lost, and what was not committed be repeated.
    """
    load = Load(cluster, supervise)
    values = [b"%s %d" % (b"reject" if n % 20 == 7 else b"echo", n) for n in range(MOST)]
    feed = Feed(cluster, load.topic, values, partitions=PARTITIONS, handled=load.handled, rate=RATE)
    with feed:
        load.supervisor.until(load.committed, "a commit")
        load.goes_on()
        yield load
        feed.enough()
        ends = cluster.end_offsets(load.topic)
        assert sum(ends.values()) >= len(feed.placed)
        load.supervisor.until(lambda: load.committed() == ends, "all is handled", FAILOVER)
        assert load.supervisor.stop() == 0, load.supervisor
    load.check(repeats)


def test_a_killed_broker_that_comes_back_costs_nothing(
    kafka3: Cluster, supervise: Supervise
) -> None:
    with under_load(kafka3, supervise) as load:
        # It keeps the group, and leads a third of the partitions.
        victim = kafka3.coordinator(supervise.group)
        kafka3.kill(victim)
        load.goes_on()
        kafka3.restart(victim)
        load.goes_on()
        kafka3.wait_in_sync(load.topic)
        kafka3.restore_leaders(load.topic)
        load.goes_on()


def test_a_broker_frozen_for_half_a_minute_loses_nothing(
    kafka3: Cluster, supervise: Supervise
) -> None:
    # Frozen, the group's keeper says not even that it has gone. After the session timeout
    # librdkafka takes the partitions for lost, and looks for another.
    with under_load(kafka3, supervise, repeats=True) as load:
        victim = kafka3.coordinator(supervise.group)
        kafka3.freeze(victim)
        before = load.handled()
        load.lasts(30.0)
        assert load.handled() > before + 1000, "the others could have gone on"
        kafka3.thaw(victim)
        load.goes_on()


@pytest.mark.parametrize("seconds", [5.0, 15.0])
def test_brokers_that_are_all_frozen_for_a_while_lose_nothing(
    kafka3: Cluster, supervise: Supervise, seconds: float
) -> None:
    # The session timeout is 10 s.
    with under_load(kafka3, supervise, repeats=seconds > 10.0) as load:
        for index in range(3):
            kafka3.freeze(index)
        load.lasts(seconds)
        kafka3.repair()
        load.goes_on()
