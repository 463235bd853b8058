"""Who gets what next, who has run too long, and who is replaced."""

from __future__ import annotations

import pytest

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.retry import Retry
from kqworker.types import Ordering, Outcome, Task, TopicPartition, Verdict
from tests.core.supervised import (
    BOOM,
    OTHER,
    TP,
    Supervised,
    notes,
    offsets_of,
    policy,
    running,
    tasks,
    the,
    those,
)

BUSY, QUIET = TopicPartition("busy", 0), TopicPartition("quiet", 0)


def on_two_short_tasks() -> Supervised:
    """Worker 1 has tasks with offset 1 and 2; one message went before."""
    supervisor = running(policy(ordering=Ordering.PARTITION))
    supervisor.assign(OTHER)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.fetch(1)
    supervisor.fetch(2, partition=OTHER)
    return supervisor


# -- work


def test_what_there_is_is_shared_evenly_among_the_idle() -> None:
    supervisor = running(workers=3)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=1e-6)
    supervisor.fetch(1)
    supervisor.accept(supervisor.seen_task(), seconds=1e-6)  # up to sixteen in a frame by now

    sent = tasks(supervisor.fetch(*range(2, 10)))

    assert [len(task) for task in sent[:3]] == [3, 3, 2]


def test_handlers_take_turns() -> None:
    first, second = TopicPartition("first", 0), TopicPartition("second", 0)
    supervisor = Supervised(policy(topic="first"), policy(topic="second"))
    supervisor.assign(first, second)
    supervisor.fetch(0, 1, partition=first)
    supervisor.fetch(0, 1, partition=second)
    supervisor.boot(1)
    for _ in range(3):
        supervisor.accept(supervisor.seen_task())
    assert [task.handler for task in supervisor.tasks()] == [0, 1, 0, 1]


def busy_and_quiet() -> tuple[Supervised, list[Task]]:
    """A worker whose two tasks are of a backlog of 5 ms messages, and nothing else to do."""
    supervisor = Supervised(policy(topic="busy"), policy(topic="quiet"))
    supervisor.assign(BUSY, QUIET)
    supervisor.boot(1)
    supervisor.fetch(*range(4000), partition=BUSY)
    supervisor.accept(supervisor.seen_task(), seconds=0.005)
    return supervisor, supervisor.tasks()[-2:]


def test_what_nobody_knows_the_time_of_waits_for_no_idle_worker_beside_a_backlog() -> None:
    supervisor, (first, _) = busy_and_quiet()
    supervisor.fetch(0, partition=QUIET)
    (sent,) = tasks(supervisor.accept(first, seconds=0.01))
    assert sent.handler == 1


def test_slow_messages_leave_half_of_the_time_to_short_ones() -> None:
    supervisor, begun = busy_and_quiet()
    supervisor.fetch(*range(200), partition=QUIET)
    spent = [0.0, 0.0]
    for _ in range(300):
        task = begun.pop(0)
        seconds = (0.3 if task.handler else 0.005) * len(task)
        spent[task.handler] += seconds
        supervisor.at(supervisor.now + seconds)
        begun += tasks(supervisor.accept(task, seconds=seconds))
    assert 0.8 < spent[0] / spent[1] < 1.25


def test_a_worker_with_a_short_task_gets_a_second_and_no_third() -> None:
    supervisor = on_two_short_tasks()
    assert [offsets_of(task) for task in supervisor.tasks()] == [[0], [1], [2]]
    third = TopicPartition("test", 2)
    supervisor.assign(third)
    assert tasks(supervisor.fetch(3, partition=third)) == []


def test_a_worker_that_is_done_with_one_of_two_tasks_gets_another() -> None:
    supervisor = on_two_short_tasks()
    _, first, _ = supervisor.tasks()
    supervisor.fetch(3)  # behind the first: it waits for its lane
    assert [offsets_of(task) for task in tasks(supervisor.accept(first, seconds=0.01))] == [[3]]


def test_an_answer_that_comes_in_parts_is_one_answer() -> None:
    supervisor = running(policy(retry=Retry(attempts=1)))
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=1e-6)
    supervisor.fetch(1, 2, 3)
    task = supervisor.seen_task()

    failed = Outcome(0, Verdict.RELEASE, BOOM)
    assert supervisor.on(e.Finished(1, task.id, outcomes=(failed,))) == []
    assert supervisor.on(e.Finished(1, task.id, unstarted=(1,))) == []
    commands = supervisor.accept(task, unstarted=(2,))

    assert notes(commands) == [c.ReportKind.GAVE_UP]
    assert [offsets_of(task) for task in tasks(commands)] == [[2, 3]]


@pytest.mark.parametrize(("worker", "task"), [(9, 1), (1, 9)])
def test_an_answer_of_nobody_or_about_nothing_is_ignored(worker: int, task: int) -> None:
    supervisor = running()
    supervisor.fetch(0)
    assert supervisor.on(e.Finished(worker, task, complete=True)) == []
    assert supervisor.core.snapshot().handled == 0


def test_what_was_not_begun_teaches_nothing_of_its_time() -> None:
    supervisor = running()
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=100.0, unstarted=(0,))
    supervisor.accept(supervisor.seen_task(), seconds=1e-6)
    assert [len(task) for task in tasks(supervisor.fetch(1, 2))] == [2]


def test_only_workers_that_have_some_of_a_lost_partition_are_asked_back() -> None:
    supervisor = running(workers=2)
    supervisor.assign(OTHER)
    supervisor.fetch(0)
    supervisor.fetch(0, partition=OTHER)
    assert supervisor.on(e.Lost(0, (OTHER,))) == [c.Recall(2)]


# -- deaths


def test_what_a_worker_died_on_is_charged_and_what_is_behind_it_is_not() -> None:
    supervisor = on_two_short_tasks()
    first, _ = supervisor.tasks()[1:]
    commands = supervisor.die(1, first)

    report, retrying = those(commands, c.Report)
    assert (report.kind, report.partition, report.offset) == (c.ReportKind.WORKER_DIED, TP, 1)
    assert retrying.failure is not None and retrying.failure.type == "WorkerCrashed"
    supervisor.boot(2)
    assert [s.attempt for s in supervisor.seen_task().segments] == [1]
    assert offsets_of(supervisor.seen_task()) == [2]


def test_what_was_done_of_one_task_says_nothing_of_the_next() -> None:
    supervisor = running()
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=0.004)  # two fit into a frame
    supervisor.fetch(1, 2, 3, 4)
    _, first, second = supervisor.tasks()
    assert [offsets_of(first), offsets_of(second)] == [[1, 2], [3, 4]]

    supervisor.die(1, first, index=1)

    assert supervisor.core.snapshot().handled == 2  # 0 and 1
    supervisor.boot(2)
    assert offsets_of(supervisor.tasks()[3]) == [3, 4]


def test_what_it_told_before_it_died_counts() -> None:
    supervisor = running(policy(dead_letter="letters"))
    supervisor.fetch(0)
    task = supervisor.seen_task()
    supervisor.on(e.Finished(1, task.id, outcomes=(Outcome(0, Verdict.REJECT, BOOM),)))
    commands = supervisor.die(1, task)

    assert c.ReportKind.RETRYING not in notes(commands)
    letter = dict(the(commands, c.Produce).output.headers)
    assert letter["kqworker-error-type"] == b"ValueError"


def test_a_death_behind_the_last_message_charges_nobody() -> None:
    supervisor = running()
    supervisor.fetch(0)
    commands = supervisor.die(1, supervisor.seen_task(), index=1)
    assert notes(commands) == []
    assert supervisor.core.snapshot().handled == 1


def test_a_worker_that_is_stopped_charges_nobody() -> None:
    supervisor = running()
    supervisor.fetch(0)
    commands = supervisor.die(1, supervisor.seen_task(), cause=e.Cause.STOPPED)
    assert c.ReportKind.RETRYING not in notes(commands)
    supervisor.boot(2)
    supervisor.tick(1.0)
    assert [s.attempt for s in supervisor.seen_task().segments] == [1]


def test_an_idle_worker_that_dies_is_said() -> None:
    supervisor = running()
    report = the(supervisor.die(1), c.Report)
    assert (report.kind, report.worker, report.offset) == (c.ReportKind.WORKER_DIED, 1, -1)


def test_a_death_of_a_former_worker_is_ignored() -> None:
    supervisor = running()
    supervisor.die(1)
    restarts = supervisor.core.snapshot().restarts
    assert supervisor.die(1) == []
    assert supervisor.on(e.BootFailed(1, BOOM)) == []
    assert supervisor.on(e.WorkerReady(1, pid=1)) == []
    assert supervisor.core.snapshot().restarts == restarts


def test_work_that_is_handed_back_is_no_progress() -> None:
    supervisor = running()
    supervisor.fetch(0)
    for worker in range(1, 21):
        assert c.Fetching(False) not in supervisor.seen  # with which a stop begins
        supervisor.accept(supervisor.seen_task(), worker=worker, unstarted=(0,))
        supervisor.die(worker)
        supervisor.tick(supervisor.now + 10.0)
        supervisor.boot(worker + 1)
    assert c.Fetching(False) in supervisor.seen


# -- boots


def test_the_first_worker_of_all_that_cannot_boot_ends_the_run() -> None:
    supervisor = Supervised()
    supervisor.on(e.BootFailed(1, BOOM))
    stopped = supervisor.seen[-1]
    assert stopped == c.Stopped(c.End.BOOT_FAILED, BOOM)


def test_a_later_worker_that_cannot_boot_is_replaced_after_a_while() -> None:
    supervisor = running()
    supervisor.die(1)
    assert the(supervisor.on(e.BootFailed(2, BOOM)), c.Report).failure == BOOM
    assert supervisor.tick(0.05) == []
    assert supervisor.tick(0.1) == [c.StartWorker(3, 0)]


def test_a_worker_that_becomes_ready_after_its_kill_gets_nothing() -> None:
    supervisor = Supervised(boot_seconds=3.0)
    supervisor.tick(3.0)
    supervisor.assign()
    supervisor.boot(1)
    assert tasks(supervisor.fetch(0)) == []


def test_a_stop_kills_who_has_not_booted() -> None:
    supervisor = Supervised(workers=2)
    supervisor.boot(1)
    assert those(supervisor.stop(), c.KillWorker) == [c.KillWorker(2)]


def test_a_stop_starts_nobody_who_was_to_come_later() -> None:
    supervisor = running(workers=2)
    supervisor.fetch(0)
    supervisor.die(2)
    supervisor.on(e.BootFailed(3, BOOM))  # the next one comes in a while
    supervisor.stop(grace=30.0)
    assert those(supervisor.tick(20.0), c.StartWorker) == []


def test_a_stop_starts_nobody_for_those_who_end() -> None:
    supervisor = running(workers=2)
    supervisor.fetch(0)
    supervisor.stop()
    supervisor.die(2)
    supervisor.die(1, supervisor.seen_task(), cause=e.Cause.KILLED)
    assert those([*supervisor.seen[2:], *supervisor.tick(100.0)], c.StartWorker) == []
    assert isinstance(supervisor.seen[-1], c.Stopped)


# -- replacing


def test_a_busy_worker_is_replaced_when_its_tasks_are_done() -> None:
    supervisor = running()
    supervisor.fetch(0)
    assert supervisor.on(e.Replace()) == [c.Recall(1)]
    assert tasks(supervisor.fetch(1)) == []

    assert supervisor.accept(supervisor.seen_task(), seconds=0.01) == [c.StopWorker(1)]
    started = the(supervisor.die(1, cause=e.Cause.STOPPED), c.StartWorker)
    assert started == c.StartWorker(2, 0)
    assert [offsets_of(task) for task in tasks(supervisor.boot(2))] == [[1]]


def test_a_second_replacement_leaves_alone_who_goes_already() -> None:
    supervisor = running(workers=2)
    supervisor.fetch(0)
    supervisor.on(e.Replace())
    assert supervisor.on(e.Replace()) == []


def test_who_boots_with_the_old_code_is_replaced_and_not_counted_as_a_crash() -> None:
    supervisor = Supervised()
    for worker in range(1, 40):
        assert supervisor.on(e.Replace()) == [c.KillWorker(worker)]
        assert supervisor.die(worker, cause=e.Cause.KILLED) == [c.StartWorker(worker + 1, 0)]
