"""When a worker's slot is read, and who has run one message too long."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.retry import Retry
from kqworker.types import Ordering, Outcome, Task, TopicPartition, Verdict
from tests.core.supervised import BOOM, OTHER, Supervised, notes, policy, running, tasks, the, those

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

    assert observed(supervisor, task, 0, started=0.0) == [c.KillWorker(1, c.OnMessage(task.id, 0))]
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


def on_none(supervisor: Supervised) -> list[c.Command]:
    """Worker 1's slot says that it is on no message."""
    return supervisor.on(e.Observed({1: None}))


def test_a_worker_that_stays_on_no_message_is_killed_there() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    supervisor.tick(10.0)
    assert on_none(supervisor) == []
    assert those(supervisor.tick(14.9), c.Observe) == []
    assert those(supervisor.tick(15.0), c.Observe) == [c.Observe((1,))]
    assert on_none(supervisor) == [c.KillWorker(1, c.OnNone())]
    # It may have moved on just before, as one on a message may.
    assert those(supervisor.tick(19.9), c.Observe) == []
    assert those(supervisor.tick(20.0), c.Observe) == [c.Observe((1,))]
    assert on_none(supervisor) == [c.KillWorker(1, c.OnNone())]


def test_a_worker_has_its_limit_and_a_while_on_no_message() -> None:
    supervisor = running(policy(time_limit=10.0, ordering=Ordering.PARTITION))
    supervisor.assign(OTHER)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.fetch(1)
    assert tasks(supervisor.fetch(2, partition=OTHER))
    # It is looked at again and again for what the first task might hold up.
    for now in (0.25, 6.0, 9.9):
        supervisor.at(now)
        assert those(on_none(supervisor), c.KillWorker) == []
    assert those(supervisor.tick(10.0), c.Observe) == [c.Observe((1,))]
    assert on_none(supervisor) == [c.KillWorker(1, c.OnNone())]


def test_whoever_tells_anything_gets_on() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=0.001)
    supervisor.fetch(1, 2)
    task = supervisor.seen_task()
    assert len(task) == 2
    supervisor.at(10.0)
    on_none(supervisor)
    supervisor.at(14.0).on(e.Finished(1, task.id, (Outcome(0, Verdict.RELEASE, BOOM),)))
    for now in (15.0, 19.9):
        supervisor.at(now)
        assert those(on_none(supervisor), c.KillWorker) == []
    supervisor.at(20.0)
    assert those(on_none(supervisor), c.KillWorker) == [c.KillWorker(1, c.OnNone())]


def test_whoever_is_seen_on_a_message_gets_on() -> None:
    supervisor = running(LIMITED)
    supervisor.fetch(0)
    supervisor.tick(10.0)
    on_none(supervisor)
    supervisor.tick(15.0)
    assert observed(supervisor, supervisor.seen_task(), 0, started=14.0) == []
    supervisor.tick(24.0)
    assert on_none(supervisor) == []


def test_who_has_no_limit_may_stay_on_no_message() -> None:
    supervisor = running()
    supervisor.fetch(0)
    for now in (10.0, 1e4):
        supervisor.at(now)
        assert those(on_none(supervisor), c.KillWorker) == []
    assert those(supervisor.tick(2e4), c.Observe) == []


def test_a_second_task_is_looked_at_by_its_own_limit_when_it_is_the_first() -> None:
    long, short = TopicPartition("long", 0), TopicPartition("short", 0)
    supervisor = Supervised(
        policy(topic="long", time_limit=100.0), policy(topic="short", time_limit=1.0)
    )
    supervisor.boot(1)
    supervisor.assign(long, short)
    for partition in (long, short):
        supervisor.fetch(0, partition=partition)
        supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.fetch(1, partition=long)
    first = supervisor.seen_task()
    supervisor.fetch(1, partition=short)
    second = supervisor.seen_task()
    supervisor.at(0.1).accept(first, seconds=0.1)
    assert those(supervisor.tick(1.0), c.Observe) == []
    assert those(supervisor.tick(1.1), c.Observe) == [c.Observe((1,))]
    assert observed(supervisor, second, 0, started=0.1) == [
        c.KillWorker(1, c.OnMessage(second.id, 0))
    ]


def test_a_worker_killed_on_no_message_has_cost_none_an_attempt_and_is_no_crash() -> None:
    supervisor = running(policy(time_limit=10.0, retry=Retry(attempts=1)))
    supervisor.fetch(0)
    for worker in range(1, 40):
        commands = supervisor.die(worker, cause=e.Cause.KILLED)
        report = the(commands, c.Report)
        assert (report.kind, report.worker) == (c.ReportKind.WORKER_DIED, worker)
        assert report.failure is not None
        assert (
            report.failure.text == "for longer than a time limit it had messages, and was on none"
        )
        supervisor.boot(worker + 1)
        assert supervisor.seen_task().segments[0].attempt == 1
    assert c.Fetching(False) not in supervisor.seen  # with which a stop begins


def test_a_crash_between_two_messages_is_told_too() -> None:
    supervisor = running()
    supervisor.fetch(0)
    assert notes(supervisor.die(1)) == [c.ReportKind.WORKER_DIED]


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

    assert notes(commands) == [c.ReportKind.TIME_LIMIT]
    letter = dict(the(commands, c.Produce).output.headers)
    assert letter["kqworker-error-type"] == b"TimeLimitExceeded"
    assert the(commands, c.StartWorker) == c.StartWorker(2, 0)
    assert supervisor.core.snapshot().restarts == 1


def test_messages_killed_for_their_limit_are_no_crash_loop() -> None:
    supervisor = running(policy(time_limit=10.0, retry=Retry(attempts=100, first=0.0)))
    supervisor.fetch(0)
    for worker in range(1, 40):
        supervisor.die(worker, supervisor.seen_task(), cause=e.Cause.KILLED)
        supervisor.boot(worker + 1)
    assert supervisor.seen_task().segments[0].attempt == 40
    assert c.Fetching(False) not in supervisor.seen  # with which a stop begins
