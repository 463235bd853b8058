"""Stops: what a signal ends, how soon, with which code, and that nothing done is repeated."""

from __future__ import annotations

import signal
import time

import pytest

from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import read
from tests.kafka.records import commits, produce
from tests.kafka.supervisors import HEAVY, LONG, Supervise

pytestmark = HEAVY

# What a stop takes beside the time it was given: commit, workers' end, leaving the group.
LEAVING = 2.0
# A member that waits for its group's answer hears it before it leaves, for so long at most.
JOINING = 5.0
STOPS = 1000 if LONG else 20


@pytest.mark.alone
def test_ctrl_c_waits_for_what_is_running_and_commits_it(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    produced = produce(kafka, name, [b"sleep 10"] * 2 + [b"ok"] * 50)
    supervisor = supervise(kafka, name, "--shutdown-timeout", "20").begun(2)

    supervisor.interrupt()
    told = time.monotonic()
    assert supervisor.wait() == 0, supervisor

    took = time.monotonic() - told
    attempts = read(supervisor.journal)
    # Those two alone, to their end.
    assert {attempt.key for attempt in attempts} == set(produced[:2])
    assert all(attempt.ok for attempt in attempts)
    assert took <= 10.0 + LEAVING, supervisor
    assert kafka.committed(supervise.group, name)[0].offset == 2
    assert "Ctrl-C: draining" in supervisor.out
    # Nothing that finished comes again.
    again = supervise(kafka, name, "--until-caught-up")
    assert again.wait() == 0, again
    checker.nothing_is_lost(produced, read(supervise.journal))
    assert checker.repeats(read(supervise.journal)) == {}


@pytest.mark.alone
def test_a_stop_that_runs_out_of_time_exits_4_and_names_what_was_left(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    produced = produce(kafka, name, [b"ok"] * 5 + [b"sleep 10"] + [b"ok"] * 5)
    supervisor = supervise(kafka, name, "--workers", "1", "--shutdown-timeout", "1")
    # One worker: what is before the long one is done, what is behind it has not begun.
    supervisor.until(
        lambda: any(a.key.offset == 5 for a in supervisor.reader.follow().attempts), "it is on it"
    )

    supervisor.interrupt()
    told = time.monotonic()
    assert supervisor.wait() == 4, supervisor

    assert time.monotonic() - told <= 1.0 + LEAVING, supervisor
    (left,) = [line for line in supervisor.events("abandoned") if "not finished: " in line]
    assert f"{name}[0] offset 5 in tests.kafka.handlers.work" in left
    supervisor.leaves_nobody()
    # Only what was left, and what had not begun, is delivered again.
    first = read(supervisor.journal)
    finished = {attempt.key for attempt in first if attempt.ok}
    assert finished >= set(produced[:5])
    again = supervise(kafka, name).handled(len(produced) - len(finished) - 1)
    again.begun(len(produced) - len(finished))
    assert {attempt.key for attempt in again.reader.attempts} == set(produced) - finished


@pytest.mark.alone
def test_twenty_terms_under_load_redeliver_nothing(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(partitions=4)
    produced = produce(kafka, name, [b"sleep 0.002"] * (500 * STOPS), partitions=4)
    # In the middle of frames, retries and the commit interval.
    for number in range(STOPS):
        supervisor = supervise(kafka, name).handled(100 + 10 * (number % 20))
        told = time.monotonic()
        assert supervisor.stop() == 0, supervisor
        assert time.monotonic() - told <= LEAVING + 1.0, supervisor
    assert supervise(kafka, name, "--until-caught-up").wait() == 0

    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts)
    assert checker.repeats(attempts) == {}
    assert {attempt.attempt for attempt in attempts} == {1}
    history = commits(kafka, supervise.group)
    checker.commits_ascend(history)
    checker.commits_cover(history, produced, checker.done(attempts))
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))


def test_a_stop_keeps_the_attempts_of_what_waits_for_its_next_one(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    produced = produce(kafka, name, [b"fail 2", b"ok"])
    policy = {"retry": {"attempts": 3, "first": 60.0}}
    first = supervise(kafka, name, **policy).handled(2)
    assert first.stop() == 0, first

    # Its next attempt is due at the start; it is the second, and fails too.
    second = supervise(kafka, name, **policy).handled(1)
    assert second.stop() == 0, second
    third = supervise(kafka, name, "--until-caught-up", **policy)
    assert third.wait() == 0, third

    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts)
    numbers = [a.attempt for a in attempts if a.key == produced[0]]
    assert numbers == [1, 2, 3]
    assert len(attempts) == 4


def test_a_group_that_starts_at_the_end_commits_that_end_before_any_message(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(partitions=4)
    produce(kafka, name, [b"ok"] * 20, partitions=4)
    first = supervise(kafka, name, "--offset", "latest").ready()
    assert first.stop() == 0, first
    meanwhile = produce(kafka, name, [b"ok"] * 10, partitions=4)

    second = supervise(kafka, name, "--offset", "latest", "--until-caught-up")
    assert second.wait() == 0, second

    attempts = read(supervise.journal)
    assert sorted(attempt.key for attempt in attempts) == sorted(meanwhile)


@pytest.mark.alone
def test_a_second_ctrl_c_stops_now(kafka: Cluster, topic: NewTopic, supervise: Supervise) -> None:
    name = topic()
    produce(kafka, name, [b"sleep 60"] * 2)
    supervisor = supervise(kafka, name).begun(2)

    supervisor.interrupt()
    supervisor.until(lambda: supervisor.events("stopping"), "it drains")
    supervisor.interrupt()
    told = time.monotonic()

    assert supervisor.wait() == 4, supervisor
    assert time.monotonic() - told <= LEAVING, supervisor
    left = [line for line in supervisor.events("abandoned") if "not finished: " in line]
    assert len(left) == 2, supervisor
    supervisor.leaves_nobody()


@pytest.mark.alone
def test_a_third_ctrl_c_leaves_at_once(kafka3: Cluster, supervise: Supervise) -> None:
    name = kafka3.new_topic()
    produce(kafka3, name, [b"sleep 60"] * 2)
    supervisor = supervise(kafka3, name).begun(2)
    # With nobody to answer, the second one has to wait for the commit and the group.
    for index in range(kafka3.brokers):
        kafka3.freeze(index)
    supervisor.interrupt()
    supervisor.until(lambda: supervisor.events("stopping"), "it drains")
    supervisor.interrupt()
    supervisor.until(lambda: not supervisor.workers(), "it has stopped its workers")

    supervisor.interrupt()
    told = time.monotonic()

    assert supervisor.wait() == 4, supervisor
    assert time.monotonic() - told <= 1.0, supervisor
    supervisor.leaves_nobody()


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "Ctrl-C"])
@pytest.mark.parametrize("moment", ["started", "booting"])
def test_a_stop_while_it_starts_is_answered_at_once(
    kafka: Cluster,
    topic: NewTopic,
    supervise: Supervise,
    number: signal.Signals,
    moment: str,
) -> None:
    name = topic()
    produce(kafka, name, [b"ok"] * 10)
    # Somebody of its own group who is dead keeps it from joining for ten seconds.
    before = supervise(kafka, name).handled(1)
    before.kill()
    supervisor = supervise(kafka, name)
    if moment == "started":
        supervisor.until(lambda: supervisor.events("started"), "its banner")
    else:
        supervisor.until(supervisor.workers, "a worker")

    supervisor.process.send_signal(number)
    told = time.monotonic()

    supervisor.until(lambda: supervisor.events("stopping"), "it answers", timeout=1.0)
    assert supervisor.wait() == 0, supervisor
    assert time.monotonic() - told <= JOINING + LEAVING, supervisor
    supervisor.leaves_nobody()
    assert read(supervisor.journal) == []
