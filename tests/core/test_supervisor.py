"""What the supervisor promises, one fact each: given a state, when this happens, then that."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.retry import Retry
from kqworker.types import Output, TopicPartition
from tests.core.supervised import (
    BOOM,
    OTHER,
    TP,
    Supervised,
    marks,
    notes,
    offsets_of,
    policy,
    records,
    running,
    tasks,
    the,
    those,
)

# -- time


def test_what_is_due_waits_for_a_tick_behind_a_batch_or_an_answer_and_for_no_other_event() -> None:
    supervisor = running(policy(), workers=2, commit_interval=5.0)
    (task,) = tasks(supervisor.fetch(0))
    supervisor.fail(task)  # its next attempt is due after a second
    supervisor.at(1.5)

    assert tasks(supervisor.fetch(1)) == [supervisor.seen_task()]
    assert offsets_of(supervisor.seen_task()) == [1]
    assert (supervisor.core.deadline() or 9.0) < 1.5
    assert [offsets_of(task) for task in tasks(supervisor.on(e.Tick()))] == [[0]]


# -- partitions


def test_a_position_does_not_commit_past_what_a_draining_epoch_has_passed_over() -> None:
    supervisor = running()
    supervisor.fetch(0)

    supervisor.revoke()
    supervisor.fetch(1, 2)
    supervisor.position(3)
    commands = supervisor.accept(supervisor.seen_task())

    assert the(commands, c.Release).marks[TP].offset == 1


def test_what_another_member_loses_late_stays_with_its_new_owner() -> None:
    supervisor = running()
    supervisor.assign(TP, member=1)

    assert supervisor.on(e.Lost(0, (TP,))) == []
    assert tasks(supervisor.fetch(0))


def test_what_a_former_owner_still_fetches_is_passed_over() -> None:
    supervisor = running()
    supervisor.assign(TP, start=3, member=1)

    supervisor.on(e.Fetched((records(7),), 0))
    supervisor.on(e.Positions({TP: 8}, 0))

    assert [offsets_of(task) for task in tasks(supervisor.fetch(3))] == [[3]]


def test_a_former_owner_that_gives_back_what_is_anothers_gets_its_answer() -> None:
    supervisor = running()
    supervisor.assign(TP, member=1)

    assert supervisor.revoke() == [c.Release(0, (TP,), {})]
    assert tasks(supervisor.fetch(0))


def test_a_map_that_cannot_be_read_is_reported_and_nothing_is_skipped_for_it() -> None:
    supervisor = Supervised()
    supervisor.boot(1)
    assert notes(supervisor.assign(start=3, metadata="unreadable")) == [c.ReportKind.MAP_IGNORED]
    assert [offsets_of(task) for task in tasks(supervisor.fetch(3))] == [[3]]


def test_what_is_assigned_during_a_stop_is_not_begun() -> None:
    supervisor = running(workers=2)
    supervisor.fetch(0)
    supervisor.stop()

    supervisor.assign(OTHER)

    assert tasks(supervisor.fetch(0, partition=OTHER)) == []
    supervisor.accept(supervisor.seen_task())
    assert supervisor.core.snapshot().held == 0


# -- commits


def test_a_position_behind_the_last_message_is_committed() -> None:
    supervisor = running()
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())
    supervisor.position(5)
    assert marks(supervisor.tick(1.0)) == {TP: 5}


def test_what_is_finished_while_a_commit_is_under_way_is_committed_at_the_next_turn() -> None:
    supervisor = running()
    for offset in (0, 1):
        supervisor.fetch(offset)
        supervisor.accept(supervisor.seen_task())
        if offset == 0:
            first = the(supervisor.tick(1.0), c.Commit)

    assert those(supervisor.committed(first), c.Commit) == []
    assert marks(supervisor.tick(2.0)) == {TP: 2}


def test_a_map_that_does_not_fit_is_reported_once() -> None:
    supervisor = running(workers=2)
    supervisor.fetch(0, 1)
    _, second = supervisor.tasks()
    supervisor.accept(second, worker=2)
    commit = the(supervisor.tick(1.0), c.Commit)

    again = supervisor.committed(commit, "OFFSET_METADATA_TOO_LARGE", too_large=True)
    later = supervisor.tick(9.0)

    assert notes(again) == [c.ReportKind.COMMIT_FAILED, c.ReportKind.MAP_FULL]
    assert notes(later) == []
    assert those([*again, *later], c.Commit) == []  # 0 with an empty map is what there was


def test_a_map_that_does_not_fit_is_reported_when_its_partition_is_given_back() -> None:
    supervisor = running()
    supervisor.fetch(*range(2_000))
    for _ in range(2_000):  # their attempts are in the map
        supervisor.fail(supervisor.seen_task())

    commands = supervisor.revoke()

    assert notes(commands) == [c.ReportKind.MAP_FULL]
    the(commands, c.Release)


# -- the end


def test_a_stop_commits_what_an_outstanding_commit_held_up() -> None:
    supervisor = running(commit_interval=60.0)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())
    first = the(supervisor.tick(60.0), c.Commit)
    supervisor.fetch(1)
    task = supervisor.seen_task()

    supervisor.stop()
    assert those(supervisor.accept(task), c.Commit) == []
    commands = supervisor.committed(first)

    assert the(commands, c.Commit).marks[TP].offset == 2


def test_a_stop_tries_a_failed_commit_again_before_the_next_interval() -> None:
    supervisor = running(commit_interval=60.0)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())

    commit = the(supervisor.stop(), c.Commit)
    assert those(supervisor.committed(commit, "COORDINATOR_LOADING"), c.Commit) == []
    assert the(supervisor.tick(1.0), c.Commit) == commit


def test_a_stop_that_gives_up_waiting_gives_back_what_was_revoked() -> None:
    supervisor = running()
    supervisor.fetch(0)
    supervisor.push(supervisor.seen_task(), Output("out", b"x"))
    supervisor.revoke(seconds=100.0)

    commands = supervisor.stop(grace=0.0)

    assert c.ReportKind.DRAIN_EXPIRED in notes(commands)
    the(commands, c.Release)


def test_what_is_revoked_at_the_end_of_a_stop_is_given_back_at_once() -> None:
    supervisor = running()
    supervisor.assign(OTHER)
    supervisor.fetch(0)
    supervisor.push(supervisor.seen_task(), Output("out", b"x"))
    supervisor.stop(grace=0.0)

    the(supervisor.revoke(seconds=100.0), c.Release)


def test_partitions_that_are_lost_with_work_uncommitted_make_an_end_unclean() -> None:
    supervisor = running(commit_interval=60.0)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())
    supervisor.stop()
    supervisor.on(e.Lost(0, (TP,)))

    commands = supervisor.die(1, cause=e.Cause.STOPPED)

    stopped = the(commands, c.Stopped)
    assert stopped.end is c.End.ABANDONED
    assert stopped.failure is not None
    assert "lost uncommitted" in stopped.failure.text


def test_partitions_that_are_lost_when_all_is_committed_leave_an_end_clean() -> None:
    supervisor = running(commit_interval=60.0)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())
    supervisor.committed(the(supervisor.stop(), c.Commit))
    supervisor.on(e.Lost(0, (TP,)))

    assert the(supervisor.die(1, cause=e.Cause.STOPPED), c.Stopped).end is c.End.CLEAN


def test_a_delivery_of_a_lost_epoch_does_not_hold_up_a_stop() -> None:
    supervisor = running()
    supervisor.fetch(0)
    produce = the(supervisor.push(supervisor.seen_task(), Output("out", b"x")), c.Produce)
    supervisor.delivered(produce.ticket, BOOM)
    supervisor.on(e.Lost(0, (TP,)))

    supervisor.stop(grace=1000.0)
    commands = supervisor.die(1, cause=e.Cause.STOPPED)

    assert the(commands, c.Stopped).end is c.End.CLEAN


# -- workers


def test_what_is_not_begun_of_a_lost_partition_is_asked_back() -> None:
    supervisor = running()
    supervisor.fetch(0, 1)
    assert supervisor.on(e.Lost(0, (TP,))) == [c.Recall(1)]


def test_a_worker_whose_stop_hooks_hang_is_killed_and_replaced() -> None:
    supervisor = running()
    assert supervisor.on(e.Replace()) == [c.StopWorker(1)]

    assert c.KillWorker(1) in supervisor.tick(5.0)
    assert supervisor.die(1, cause=e.Cause.KILLED) == [c.StartWorker(2, 0)]


def test_deaths_after_messages_that_were_handled_are_no_crash_loop() -> None:
    supervisor = running(policy(retry=Retry(attempts=1)))
    supervisor.fetch(*range(400))
    supervisor.accept(supervisor.seen_task(), seconds=0.0001)
    for worker in range(1, 31):
        assert len(supervisor.seen_task()) > 1
        supervisor.die(worker, supervisor.seen_task(), index=1)
        supervisor.tick(supervisor.now + 10.0)
        supervisor.boot(worker + 1)

    assert those(supervisor.seen, c.Stopped) == []


def test_all_workers_come_back_at_once_after_the_forkserver_died() -> None:
    supervisor = running(workers=12)
    for worker in range(1, 13):
        supervisor.die(worker, cause=e.Cause.STOPPED)
    assert the(supervisor.seen[-1:], c.StartWorker) == c.StartWorker(24, 11)


def test_one_misfortune_that_keeps_all_workers_from_booting_is_no_crash_loop() -> None:
    supervisor = running(workers=8)
    for first in (1, 9):  # the second time before any of them is ready again
        for worker in range(first, first + 8):
            supervisor.die(worker, cause=e.Cause.STOPPED)
    for worker in range(17, 17 + 23):
        supervisor.tick(supervisor.now + 10.0)
        supervisor.on(e.BootFailed(worker, BOOM))
    assert c.Fetching(False) not in supervisor.seen  # with which a stop begins

    supervisor.tick(supervisor.now + 10.0)
    assert c.Fetching(False) in supervisor.on(e.BootFailed(40, BOOM))


def test_a_later_worker_that_takes_too_long_to_boot_is_told_so() -> None:
    supervisor = running(boot_seconds=3.0)
    supervisor.die(1)
    assert c.KillWorker(2) in supervisor.tick(3.0)

    report = the(supervisor.die(2, cause=e.Cause.KILLED), c.Report)
    assert report.failure is not None and "not ready within 3 s" in report.failure.text
    assert those(supervisor.seen, c.Stopped) == []


def test_first_workers_that_are_not_ready_in_time_end_the_start_at_once() -> None:
    supervisor = Supervised(workers=2, boot_seconds=3.0)
    assert {c.KillWorker(1), c.KillWorker(2)} <= set(supervisor.tick(3.0))

    supervisor.die(1, cause=e.Cause.KILLED)
    supervisor.die(2, cause=e.Cause.KILLED)
    stopped = supervisor.seen[-1]
    assert isinstance(stopped, c.Stopped) and stopped.end is c.End.BOOT_FAILED
    assert stopped.failure is not None
    assert "within 3 s" in stopped.failure.text and "startup_timeout" in stopped.failure.text


KILLING = policy(dead_letter="letters", retry=Retry(attempts=1))


def kill_in_a_row(supervisor: Supervised, count: int, first: int = 1) -> None:
    """Have so many messages kill their worker, one after the other, and become dead letters."""
    for worker in range(first, first + count):
        supervisor.die(worker, supervisor.seen_task())
        supervisor.tick(supervisor.now + 0.3)
        supervisor.boot(worker + 1)


def test_many_messages_in_a_row_that_kill_become_dead_letters_and_end_nothing() -> None:
    supervisor = running(KILLING)
    supervisor.fetch(*range(300))
    kill_in_a_row(supervisor, 199)
    assert c.Fetching(False) not in supervisor.seen  # with which a stop begins
    assert len(those(supervisor.seen, c.Produce)) == 199

    supervisor.die(200, supervisor.seen_task())
    assert c.Fetching(False) in supervisor.seen


def test_a_message_that_is_handled_between_those_that_kill_begins_the_count_anew() -> None:
    supervisor = running(KILLING)
    supervisor.fetch(*range(400))
    kill_in_a_row(supervisor, 199)
    supervisor.accept(supervisor.seen_task(), worker=200)
    kill_in_a_row(supervisor, 199, first=200)
    assert c.Fetching(False) not in supervisor.seen


def test_one_message_that_kills_again_and_again_is_one_message() -> None:
    supervisor = running(policy(dead_letter="letters", retry=Retry(attempts=999, cap=0.0)))
    supervisor.fetch(0)
    kill_in_a_row(supervisor, 250)
    assert c.Fetching(False) not in supervisor.seen


def test_messages_in_a_row_that_kill_and_are_dropped_are_a_crash_loop() -> None:
    supervisor = running(policy(retry=Retry(attempts=1)))
    supervisor.fetch(*range(30))
    for worker in range(1, 21):
        assert c.Fetching(False) not in supervisor.seen
        supervisor.die(worker, supervisor.seen_task())
        supervisor.tick(supervisor.now + 10.0)
        supervisor.boot(worker + 1)
    assert c.Fetching(False) in supervisor.seen


def test_workers_that_cannot_boot_end_nothing_while_another_is_ready() -> None:
    supervisor = running(workers=2, boot_seconds=3.0)
    supervisor.die(2)
    for worker in range(3, 43):
        supervisor.tick(supervisor.now + 10.0)
        supervisor.on(e.BootFailed(worker, BOOM))
    assert c.Fetching(False) not in supervisor.seen

    supervisor.die(1)
    assert c.Fetching(False) not in supervisor.seen
    supervisor.tick(supervisor.now + 10.0)
    assert c.Fetching(False) in supervisor.on(e.BootFailed(43, BOOM))


def test_a_second_task_goes_past_a_worker_that_is_on_a_long_one() -> None:
    slow, fast = policy(topic="slow"), policy(topic="fast")
    supervisor = Supervised(slow, fast, workers=2)
    supervisor.boot(1, 2)
    slow_tp, fast_tp = TopicPartition("slow", 0), TopicPartition("fast", 0)
    supervisor.assign(slow_tp, fast_tp)
    supervisor.fetch(0, partition=slow_tp)
    supervisor.accept(supervisor.seen_task(), seconds=60.0)
    supervisor.fetch(1, partition=slow_tp)
    supervisor.fetch(0, partition=fast_tp)
    supervisor.accept(supervisor.seen_task(), worker=2, seconds=0.001)

    supervisor.fetch(*range(1, 10), partition=fast_tp)

    assert [send.worker for send in those(supervisor.seen, c.Send)] == [1, 1, 2, 2, 2]


# -- backpressure


def with_a_pause() -> Supervised:
    """A supervisor that has paused a partition whose messages never end."""
    supervisor = running(messages=10, ahead=500)
    supervisor.assign(OTHER)
    assert the(supervisor.fetch(*range(20)), c.Fetching) == c.Fetching(False)
    assert the(supervisor.tick(1.0), c.Fetching) == c.Fetching(True)
    assert the(supervisor.fetch(20), c.Pause) == c.Pause((TP,))
    return supervisor


def test_it_is_told_once_that_a_partition_is_paused_while_another_has_room() -> None:
    supervisor = with_a_pause()
    assert supervisor.core.snapshot().paused == 0
    reports = [x for x in supervisor.tick(5.0) if isinstance(x, c.Report)]
    assert [(report.kind, report.partition) for report in reports] == [(c.ReportKind.SLOW, TP)]
    assert supervisor.core.snapshot().paused == 1


def test_a_pause_does_not_outlive_a_partition_that_is_lost() -> None:
    supervisor = with_a_pause()
    # Its member may have lost it before the pause came, and have it again by now.
    assert the(supervisor.on(e.Lost(0, (TP, OTHER))), c.Resume) == c.Resume((TP,))
    assert those(supervisor.assign(), c.Resume) == []


def test_a_pause_does_not_outlive_a_partition_that_comes_back_unheard() -> None:
    supervisor = with_a_pause()
    assert the(supervisor.assign(), c.Resume) == c.Resume((TP,))


def test_a_second_request_to_stop_leaves_the_last_commits_their_time() -> None:
    supervisor = running()
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())
    commit = the(supervisor.stop(), c.Commit)

    assert supervisor.stop(grace=0.0) == []
    assert supervisor.committed(commit) == [c.StopWorker(1)]
    assert the(supervisor.die(1, cause=e.Cause.STOPPED), c.Stopped).end is c.End.CLEAN


def test_a_dead_letter_that_is_too_large_comes_again_without_what_made_it_long() -> None:
    supervisor = running(policy(retry=Retry(attempts=1), dead_letter="letters"))
    supervisor.fetch(0)
    first = the(supervisor.fail(supervisor.seen_task()), c.Produce)
    long = {"kqworker-error-text", "kqworker-error-traceback"}
    assert long < {name for name, _ in first.output.headers}

    commands = supervisor.delivered(first.ticket, BOOM, retriable=False, too_large=True)
    # At once: nothing is held up by that.
    assert notes(commands) == []
    again = the(commands, c.Produce)

    assert (again.ticket, again.output.value) == (first.ticket, first.output.value)
    assert again.output.headers == tuple(h for h in first.output.headers if h[0] not in long)
