"""When a worker's slot is read, and who has run one message too long."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.retry import Retry
from kqworker.types import Ordering, Task, TopicPartition
from tests.core.supervised import (
    OTHER,
    Supervised,
    notes,
    policy,
    running,
    tasks,
    the,
    those,
)

LIMITED = policy(time_limit=10.0)


def observed(supervisor: Supervised, task: Task, index: int, started: float) -> list[c.Command]:
    """Worker 1's slot says what it is on."""
    return supervisor.on(e.Observed({1: e.Running(task.id, index, started)}))


def test_a_slot_is_read_when_the_limit_of_its_first_message_is_over() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    assert supervisor.tick(9.9) == []
    assert supervisor.tick(10.0) == [c.Observe((1,))]
    # Until there is an answer it is read once a second, not at each event.
    assert supervisor.on(e.Tick()) == []
    assert supervisor.tick(11.0) == [c.Observe((1,))]


def test_a_message_over_its_limit_is_killed_where_it_is() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    supervisor.tick(10.0)
    task = supervisor.seen_task()

    assert observed(supervisor, task, 0, started=0.0) == [c.KillWorker(1, task.id, 0)]
    # It may have moved on just before: nothing is answered then, and it is read again.
    assert supervisor.tick(19.9) == []
    assert supervisor.tick(20.0) == [c.Observe((1,))]


def test_a_message_that_has_time_left_is_read_again_when_it_has_none() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    supervisor.tick(10.0)
    assert observed(supervisor, supervisor.seen_task(), 0, started=0.5) == []
    assert supervisor.tick(10.4) == []
    assert supervisor.tick(10.5) == [c.Observe((1,))]


def test_a_worker_between_two_messages_is_read_after_the_shortest_limit() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    supervisor.tick(10.0)
    assert supervisor.on(e.Observed({1: None})) == []
    assert supervisor.tick(19.9) == []
    assert supervisor.tick(20.0) == [c.Observe((1,))]


def test_a_second_task_does_not_put_off_the_look_at_the_first() -> None:
    supervisor = running(policy(time_limit=10.0, ordering=Ordering.PARTITION))
    supervisor.assign(OTHER)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.fetch(1)
    first = supervisor.seen_task()
    supervisor.tick(0.1)
    assert tasks(supervisor.fetch(2, partition=OTHER))
    # What waits behind the first is asked back, then taken; its time goes on.
    recalled = supervisor.seen_task().id
    for time in (0.25, 0.5):
        supervisor.tick(time)
        supervisor.on(e.Observed({1: e.Running(first.id, 0, 0.0, recalled)}))
    assert those(supervisor.tick(9.9), c.Observe) == []
    assert c.Observe((1,)) in supervisor.tick(10.0)


def test_the_slot_of_an_idle_worker_is_not_read() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())
    assert those(supervisor.tick(100.0), c.Observe) == []


def test_an_answer_about_an_idle_or_former_worker_is_ignored() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    task = supervisor.seen_task()
    supervisor.accept(task)
    assert observed(supervisor, task, 0, started=-100.0) == []
    assert supervisor.on(e.Observed({9: e.Running(task.id, 0, -100.0)})) == []


def test_without_a_limit_no_slot_is_read() -> None:
    supervisor = running()
    supervisor.fetch(0)
    assert supervisor.tick(1e4) == []


def test_a_slot_of_two_tasks_is_read_for_the_one_that_has_a_limit() -> None:
    limited, free = TopicPartition("limited", 0), TopicPartition("free", 0)
    supervisor = Supervised(policy(topic="limited", time_limit=10.0), policy(topic="free"))
    supervisor.boot(1)
    supervisor.assign(limited, free)
    for partition in (limited, free):
        supervisor.fetch(0, partition=partition)
        supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.fetch(1, partition=free)
    on_free = supervisor.seen_task()
    supervisor.fetch(1, partition=limited)
    assert len(supervisor.tasks()) == 4
    recalled = supervisor.seen_task().id

    for time in (0.25, 0.5):
        supervisor.tick(time)
        supervisor.on(e.Observed({1: e.Running(on_free.id, 0, -100.0, recalled)}))
    assert those(supervisor.tick(10.4), c.Observe) == []
    assert c.Observe((1,)) in supervisor.tick(10.5)
    assert observed(supervisor, on_free, 0, started=-100.0) == []
    assert those(supervisor.tick(20.4), c.Observe) == []
    assert c.Observe((1,)) in supervisor.tick(20.5)


def test_a_message_killed_for_its_limit_has_had_an_attempt_and_is_no_crash() -> None:
    supervisor = running(policy(time_limit=10.0, dead_letter="letters", retry=Retry(attempts=1)))
    supervisor.fetch(0)
    commands = supervisor.die(1, supervisor.seen_task(), cause=e.Cause.KILLED)

    assert notes(commands) == [c.Note.TIME_LIMIT]
    letter = dict(the(commands, c.Produce).output.headers)
    assert letter["kqworker-error-type"] == b"TimeLimitExceeded"
    assert the(commands, c.StartWorker) == c.StartWorker(2)
    assert supervisor.core.snapshot().restarts == 1


def test_messages_killed_for_their_limit_are_no_crash_loop() -> None:
    supervisor = running(policy(time_limit=10.0, retry=Retry(attempts=100, first=0.0)))
    supervisor.fetch(0)
    for worker in range(1, 40):
        supervisor.die(worker, supervisor.seen_task(), cause=e.Cause.KILLED)
        supervisor.boot(worker + 1)
    assert supervisor.seen_task().segments[0].attempt == 40
    assert c.Fetching(False) not in supervisor.seen  # with which a stop begins
