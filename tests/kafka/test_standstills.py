"""A run, or a part of it, is stopped as a whole for longer than any of its time limits."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.frozen import freeze
from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import read
from tests.kafka.records import consume, produce
from tests.kafka.supervisors import HEAVY, Supervise, Supervisor
from tests.waiting import becomes

pytestmark = HEAVY

LIMIT = 3.0
FREEZE = 5.0
# With one attempt alone, a charge would be a dead letter.
ONCE = {"retry": {"attempts": 1}, "time_limit": LIMIT}


@contextmanager
def frozen(supervisor: Supervisor, seconds: float, whom: str = "all") -> Iterator[None]:
    """Stop it, or a part of it, for so long; what is done meanwhile is done to who is stopped."""
    pids = [process.pid for process in supervisor.tree()] if whom == "all" else [supervisor.pid]
    for pid in pids:
        # While a run starts, some of its processes end soon.
        with suppress(ProcessLookupError):
            freeze(pid)
    until = time.monotonic() + seconds
    yield
    assert becomes(lambda: time.monotonic() >= until, seconds + 1.0, pause=0.1)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("whom", ["all", "supervisor"])
def test_a_standstill_charges_nobody_and_a_hang_behind_it_is_ended_in_time(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, whom: str
) -> None:
    name, dead = topic(), topic()
    good = produce(kafka, name, [b"sleep 1.5"] * 4)
    supervisor = supervise(kafka, name, dead_letter=dead, **ONCE).begun(1)
    for _ in range(2):
        with frozen(supervisor, FREEZE, whom):
            pass
    supervisor.handled(4)
    (hang,) = produce(kafka, name, [b"hang"])
    supervisor.begun(5)
    supervisor.until(lambda: supervisor.events("dead-lettered"), "the hang is ended", LIMIT + 8.0)
    assert supervisor.stop() == 0, supervisor

    attempts = read(supervise.journal)
    tries = checker.by_key(attempts)
    # What the group took away meanwhile may come again, but nobody is charged.
    went = {key: (of_it[-1].ok, {x.attempt for x in of_it}) for key, of_it in tries.items()}
    assert {key: went[key] for key in good} == {key: (True, {1}) for key in good}, supervisor
    (letter,) = consume(kafka, dead)
    assert dict(letter.headers() or [])["kqworker-offset"] == b"%d" % hang.offset
    assert supervisor.events("stood_still")


def test_a_hang_before_a_standstill_is_ended_behind_it(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(), topic()
    produce(kafka, name, [b"hang"])
    supervisor = supervise(kafka, name, dead_letter=dead, **ONCE).begun(1)
    with frozen(supervisor, FREEZE):
        pass
    supervisor.until(lambda: supervisor.events("dead-lettered"), "the hang is ended", LIMIT + 8.0)
    assert supervisor.stop() == 0, supervisor


def test_a_standstill_while_workers_start_is_no_late_start(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    supervisor = supervise(kafka, topic(), "--startup-timeout", "3")
    supervisor.until(lambda: len(supervisor.tree()) > 1, "something is started")
    with frozen(supervisor, FREEZE):
        pass
    supervisor.ready()
    assert supervisor.stop() == 0, supervisor


def test_a_standstill_in_a_stop_leaves_nothing_undone(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    (key,) = produce(kafka, name, [b"sleep 1.5"])
    # Both together are as long as a session, if no heartbeat comes between them: then the
    # partition is lost, which is the group's doing.
    patient = ("-X", "session.timeout.ms=30000")
    supervisor = supervise(kafka, name, "--shutdown-timeout", "3", *patient).begun(1)
    with frozen(supervisor, FREEZE):
        supervisor.process.terminate()
    with frozen(supervisor, FREEZE):
        pass
    assert supervisor.wait() == 0, supervisor
    assert kafka.committed(supervise.group, name)[0].offset == key.offset + 1
