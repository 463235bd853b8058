"""Workers and their forkserver are killed: nothing is lost, and nobody pays for it."""

from __future__ import annotations

import signal
import statistics

import psutil

from tests.kafka import checker, journal
from tests.kafka.cluster import Cluster
from tests.kafka.feed import Feed
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import read
from tests.kafka.records import commits, consume, produce
from tests.kafka.supervisors import HEAVY, LONG, Supervise, Supervisor
from tests.waiting import ended

pytestmark = HEAVY

MESSAGES, KILLS = (1_000_000, 1000) if LONG else (100_000, 50)
# How many messages go by from one kill to the next.
APART = MESSAGES // (KILLS + 12)
# What there is for kills that are late.
MOST = 5 * MESSAGES
FAILING = 20  # one in so many fails on its first attempt: 5 %
ATTEMPTS = 3
RETRY = {"attempts": ATTEMPTS, "first": 0.05}


def kill_one(supervisor: Supervisor) -> int:
    """SIGKILL to the worker that began something last; return its pid once it has gone.

    On a busy machine several kills may be due at once. A worker that has only just come up
    and has begun nothing is not worth a kill: that it begins something is waited for.
    """
    began: dict[int, float] = {}
    at_work: list[psutil.Process] = []
    seen = 0

    def somebody_is_at_work() -> bool:
        nonlocal seen
        attempts = supervisor.reader.follow().attempts
        began.update((attempt.pid, attempt.start) for attempt in attempts[seen:])
        seen = len(attempts)
        at_work[:] = [worker for worker in supervisor.workers() if worker.pid in began]
        return bool(at_work)

    supervisor.until(somebody_is_at_work, "a worker has begun something")
    victim = max(at_work, key=lambda worker: began[worker.pid])
    victim.send_signal(signal.SIGKILL)
    victim.wait(10.0)
    return victim.pid


def test_fifty_killed_workers_lose_nothing_and_cost_one_repeat_each(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(partitions=2)
    values = [b"fail 1" if i % FAILING == 7 else b"spin 0.00005" for i in range(MOST)]
    supervisor = supervise(kafka, name, retry=RETRY)

    killed: set[int] = set()
    # There is work until the last kill, however late kills are on a busy machine: where it runs
    # out, the next ones hit workers that are idle. And each hits workers that are under way again.
    with Feed(
        kafka,
        name,
        values,
        partitions=2,
        handled=lambda: journal.ended(supervise.journal),
        ahead=10 * APART,
        rate=40_000,
    ) as load:
        for _ in range(KILLS):
            supervisor.handled(supervisor.reader.ended + APART)
            killed.add(kill_one(supervisor))
        load.enough()
    produced = [load.placed[number] for number in range(len(load.placed))]
    assert len(produced) < MOST, "the work ran out"
    supervisor.handled(len(produced))
    assert supervisor.stop() == 0, supervisor
    # What was to be tried again later may be left.
    rest = supervise(kafka, name, "--until-caught-up", retry=RETRY)
    assert rest.wait() == 0, rest

    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts)
    checker.every_failure_is_retried(attempts, ATTEMPTS)
    checker.one_at_a_time(attempts)
    # At most one repeat a kill, and at most one attempt charged.
    assert checker.charged(attempts) <= KILLS
    repeats = checker.repeats(attempts)
    assert sum(repeats.values()) <= KILLS, checker.some(sorted(repeats.items()))
    failing = {key for number, key in enumerate(produced) if values[number] == b"fail 1"}
    tries = checker.by_key(attempts)
    # Its first attempt failed, or was taken from it by a kill.
    assert all(tries[key][-1].attempt >= 2 for key in failing)
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))
    history = commits(kafka, supervise.group)
    checker.commits_ascend(history)
    checker.commits_cover(history, produced, checker.done(attempts))
    # The kills hit workers in the middle of frames that many messages shared.
    frames = {attempt.pid: attempt.frame for attempt in attempts if attempt.pid in killed}
    assert len(frames) == KILLS
    assert statistics.median(frames.values()) >= 16, sorted(frames.values())


def test_nobody_is_charged_when_the_forkserver_is_killed(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(partitions=2), topic()
    # With one attempt alone, a charge would be a dead letter.
    policy = {"retry": {"attempts": 1}, "dead_letter": dead}
    supervisor = supervise(kafka, name, **policy)

    kills, produced = 3, []
    for _ in range(kills):
        produced += produce(kafka, name, [b"spin 0.002"] * 1000, partitions=2)
        supervisor.handled(supervisor.reader.ended + 400)
        supervisor.until(supervisor.workers, "workers are there")
        before = supervisor.workers()
        forkserver = supervisor.forkserver()
        forkserver.send_signal(signal.SIGKILL)
        assert ended([forkserver, *before], within=2.0), "workers outlive their forkserver"
    supervisor.handled(supervisor.reader.ended + 200)  # they come back
    assert supervisor.stop() == 0, supervisor
    rest = supervise(kafka, name, "--until-caught-up", **policy)
    assert rest.wait() == 0, rest

    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts)
    assert {attempt.attempt for attempt in attempts} == {1}
    assert consume(kafka, dead) == []
    # Of each of two workers the message that it was on.
    repeats = checker.repeats(attempts)
    assert sum(repeats.values()) <= 2 * kills, checker.some(sorted(repeats.items()))
