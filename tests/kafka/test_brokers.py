"""Brokers die, freeze and come back under load: the run stays, and keeps its promises."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.feed import Feed
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import Key, ended, read
from tests.kafka.records import commits, consume, produce
from tests.kafka.supervisors import Supervise, Supervisor

# Some of the faults last half a minute, and three brokers take their time to start.
pytestmark = pytest.mark.timeout(300)

PARTITIONS = 12
# Enough that no test comes to its end.
MOST = 100_000
RATE = 400
# A broker may take so long until another has taken its place, and clients know.
FAILOVER = 60.0
# Drain, commit and dismiss have 5 s each, and so have the closing of sink and source.
STOPPED = 25.0


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
        return committed(self.cluster, self.supervise.group, self.topic)

    def goes_on(self, count: int = 500) -> None:
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


@pytest.mark.parametrize("seconds", [5.0, 12.0])
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


# With a short session the partitions are taken for lost while the last commit is awaited.
@pytest.mark.parametrize("left", ["all committed", "commits due", "commits due, then lost"])
def test_a_stop_ends_in_its_time_while_brokers_are_frozen(
    kafka3: Cluster, supervise: Supervise, left: str
) -> None:
    topic = kafka3.new_topic(2)
    produce(kafka3, topic, [b"ok"] * 200, partitions=2)
    options = ["--shutdown-timeout", "5"]
    options += ["--commit-interval", "0.2" if left == "all committed" else "60"]
    options += ["-X", "session.timeout.ms=4000"] if left.endswith("lost") else []
    supervisor = supervise(kafka3, topic, *options).handled(200)
    if left == "all committed":
        wanted = kafka3.end_offsets(topic)
        supervisor.until(lambda: committed(kafka3, supervise.group, topic) == wanted, "committed")
    for index in range(3):
        kafka3.freeze(index)

    code = supervisor.stop(timeout=STOPPED)

    if left == "all committed":
        assert code == 0, supervisor
    else:
        assert code == 4, supervisor
    assert "Traceback" not in supervisor.out


def test_a_deleted_topic_leaves_the_others_at_work(kafka: Cluster, supervise: Supervise) -> None:
    name = uuid.uuid4().hex[:12]
    gone, stays = (kafka.create_topic(f"{name}.{end}", 2) for end in ("gone", "stays"))
    produce(kafka, gone, [b"ok"] * 500, partitions=2)
    produce(kafka, stays, [b"ok"] * 500, partitions=2)
    fast = ("-X", "topic.metadata.refresh.interval.ms=500", "-X", "heartbeat.interval.ms=500")
    supervisor = supervise(kafka, f"^{name}\\..*", *fast).handled(1000)
    admin = AdminClient(kafka.client)
    for asked in admin.delete_topics([gone]).values():
        asked.result(FAILOVER)
    more = produce(kafka, stays, [b"ok"] * 500, partitions=2)
    supervisor.handled(1500)
    ends = kafka.end_offsets(stays)
    supervisor.until(lambda: committed(kafka, supervise.group, stays) == ends, "committed")
    supervisor.until(lambda: assigned(admin, supervise.group) == {stays}, "it is given back")

    assert supervisor.stop() == 0, supervisor
    # A commit of several topics fails as a whole for librdkafka, if one of them has gone.
    # One of a generation that the deletion has ended may fail, too, and is made again.
    failed = [line for line in supervisor.events("commit_failed") if stays in line]
    assert not [line for line in failed if "nknown topic" in line]
    attempts = read(supervise.journal)
    assert len(attempts) == 1500
    assert set(more) <= set(checker.done(attempts))
    checker.all_is_committed(kafka.committed(supervise.group, stays), kafka.end_offsets(stays))


@pytest.fixture
def cut_off(kafka: Cluster, topic: NewTopic, supervise: Supervise) -> str:
    """A topic of which the group has committed 10, but the first 50 of 100 are gone."""
    name = topic()
    produce(kafka, name, [b"ok"] * 100)
    set_committed(kafka, supervise.group, name, 10)
    admin = AdminClient(kafka.client)
    for asked in admin.delete_records([TopicPartition(name, 0, 50)]).values():
        asked.result(FAILOVER)
    return name


@pytest.mark.parametrize("offset", ["earliest", "latest"])
def test_out_of_range_offsets_go_on_at_what_is_left_and_tell_what_is_gone(
    kafka: Cluster, supervise: Supervise, cut_off: str, offset: str
) -> None:
    supervisor = supervise(kafka, cut_off, "--offset", offset, "--until-caught-up")

    assert supervisor.wait() == 6, supervisor
    (told,) = supervisor.events("gone")
    assert "40 below offset 50" in told and "offset=10" in told
    assert sorted(checker.done(read(supervise.journal))) == [
        Key(cut_off, 0, offset) for offset in range(50, 100)
    ]
    assert committed(kafka, supervise.group, cut_off) == {0: 100}


def test_out_of_range_offsets_are_an_error_where_they_were_asked_to_be(
    kafka: Cluster, supervise: Supervise, cut_off: str
) -> None:
    supervisor = supervise(kafka, cut_off, "--offset", "error")

    assert supervisor.wait() == 3, supervisor
    assert cut_off in supervisor.out.rpartition("error: ")[2]
    assert "Traceback" not in supervisor.out
    assert read(supervise.journal) == []
    assert committed(kafka, supervise.group, cut_off) == {0: 10}


@pytest.mark.parametrize("offset", ["earliest", "latest"])
def test_a_topic_made_anew_while_nobody_looked_is_read_from_its_start(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, offset: str
) -> None:
    name = topic()
    # As if it had been longer: what the group had committed is beyond its end.
    produced = produce(kafka, name, [b"ok"] * 20)
    set_committed(kafka, supervise.group, name, 100)

    supervisor = supervise(kafka, name, "--offset", offset).handled(20)

    supervisor.until(lambda: committed(kafka, supervise.group, name) == {0: 20}, "committed")
    assert supervisor.stop() == 0, supervisor
    checker.nothing_is_lost(produced, read(supervise.journal))


def committed(cluster: Cluster, group: str, topic: str) -> dict[int, int]:
    """How far a group has committed each partition."""
    told = cluster.committed(group, topic)
    return {partition: committed.offset for partition, committed in told.items()}


def assigned(admin: AdminClient, group: str) -> set[str]:
    """The topics of which the members of a group have partitions."""
    told = admin.describe_consumer_groups([group])[group].result(FAILOVER)
    return {p.topic for member in told.members for p in member.assignment.topic_partitions}


def set_committed(cluster: Cluster, group: str, topic: str, offset: int) -> None:
    """Commit for a group that has no members."""
    consumer = Consumer({**cluster.client, "group.id": group, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()
