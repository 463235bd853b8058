"""A slow message holds up no other: what is done is settled, what is not begun is taken back."""

from __future__ import annotations

import pytest

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.recall import LATE_SECONDS, LOOK_SECONDS
from kqworker.types import Ordering, Outcome, Task, Verdict
from tests.core.lived import Life, keyed, told
from tests.core.supervised import (
    BOOM,
    OTHER,
    TP,
    Supervised,
    marks,
    notes,
    offsets_of,
    policy,
    running,
    tasks,
    the,
    those,
)

LOOKED = LATE_SECONDS + LOOK_SECONDS


def late(*offsets: int, ordering: Ordering = Ordering.UNORDERED, **how: object) -> Supervised:
    """Worker 1 has had these messages in a task for so long that they were asked back."""
    supervisor = learned(ordering)
    supervisor.fetch(*(offsets or (1, 2, 3, 4)), **how)
    ask_back(supervisor)
    return supervisor


def ask_back(supervisor: Supervised) -> None:
    """Let what worker 1 has be asked back, and looked at."""
    first = supervisor.tasks()[-1]
    supervisor.tick(LATE_SECONDS)
    assert on(supervisor, first, 0, 0) == [c.Recall(1)]
    assert supervisor.tick(LOOKED) == [c.Observe((1,))]


def learned(ordering: Ordering = Ordering.UNORDERED) -> Supervised:
    """Worker 1, whose next frame takes four messages; worker 2 has not booted."""
    supervisor = Supervised(policy(ordering=ordering), workers=2, boot_seconds=1000.0)
    supervisor.boot(1)
    supervisor.assign(TP, OTHER)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=0.001)
    return supervisor


def on(
    supervisor: Supervised, task: Task, index: int, recalled: int | None = None
) -> list[c.Command]:
    """Worker 1's slot says what it is on, and that it goes on to no other message."""
    known = task.id if recalled is None else recalled
    return supervisor.on(e.Observed({1: e.Running(task.id, index, 0.0, known)}))


def test_a_task_that_is_late_is_asked_back_and_then_looked_at() -> None:
    supervisor = learned()
    supervisor.fetch(1, 2)
    assert supervisor.tick(LATE_SECONDS - 0.01) == []
    assert supervisor.tick(LATE_SECONDS) == [c.Observe((1,))]
    assert on(supervisor, supervisor.seen_task(), 0, 0) == [c.Recall(1)]
    assert supervisor.tick(LOOKED - 0.01) == []
    assert supervisor.tick(LOOKED) == [c.Observe((1,))]
    # Until there is an answer it is looked at now and then, not at each event.
    assert supervisor.on(e.Tick()) == []
    assert supervisor.tick(LOOKED + LATE_SECONDS) == [c.Observe((1,))]


def test_what_is_watched_for_its_time_limit_alone_is_not_asked_back() -> None:
    supervisor = running(policy(time_limit=0.1))
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=0.001)
    supervisor.fetch(1, 2)
    assert supervisor.tick(0.1) == [c.Observe((1,))]
    assert supervisor.on(e.Observed({1: e.Running(supervisor.seen_task().id, 0, 0.05)})) == []


def test_nothing_is_asked_back_of_who_has_begun_nothing() -> None:
    supervisor = learned()
    supervisor.fetch(1, 2)
    for time in (1, 2, 3):
        assert supervisor.tick(LATE_SECONDS * time) == [c.Observe((1,))]
        assert supervisor.on(e.Observed({1: None})) == []


def test_a_task_of_one_message_is_left_to_its_worker() -> None:
    supervisor = learned()
    supervisor.fetch(1)
    assert those(supervisor.tick(0.9), c.Recall) == []


def test_a_task_that_is_done_in_time_is_no_longer_watched() -> None:
    supervisor = learned()
    supervisor.fetch(1, 2)
    supervisor.accept(supervisor.seen_task())
    assert those(supervisor.tick(0.9), c.Recall) == []


def test_what_was_done_before_the_slow_one_is_committed_while_it_runs() -> None:
    supervisor = late()
    on(supervisor, supervisor.seen_task(), 2)

    assert marks(supervisor.tick(1.0)) == {TP: 3}
    assert supervisor.core.snapshot().handled == 3
    assert supervisor.core.snapshot().in_flight == 1


def test_what_is_behind_the_slow_one_runs_elsewhere_and_is_committed_too() -> None:
    supervisor = late()
    slow = supervisor.seen_task()
    on(supervisor, slow, 0)

    (task,) = tasks(supervisor.boot(2))
    assert offsets_of(task) == [2, 3, 4]
    assert {segment.attempt for segment in task.segments} == {1}
    supervisor.accept(task, worker=2)
    mark = the(supervisor.tick(1.0), c.Commit).marks[TP]
    assert mark.offset == 1
    assert mark.metadata  # names what is done above it

    # Its worker hands back what was taken from it long ago.
    supervisor.accept(slow, unstarted=(1, 2, 3))
    assert supervisor.core.snapshot().handled == 5
    assert supervisor.core.snapshot().held == 0
    assert supervisor.tasks()[-1] is task


def test_nothing_is_taken_before_it_is_certain_that_it_will_not_be_begun() -> None:
    supervisor = late()
    task = supervisor.seen_task()
    for recalled in (0, task.id - 1):
        on(supervisor, task, 1, recalled)
        assert supervisor.core.snapshot().in_flight == 4
    assert supervisor.tick(LOOKED + LATE_SECONDS) == [c.Observe((1,))]


def test_nothing_is_taken_from_who_is_between_two_messages() -> None:
    supervisor = late()
    assert supervisor.on(e.Observed({1: None})) == []
    assert supervisor.core.snapshot().in_flight == 4
    assert supervisor.tick(LOOKED + LATE_SECONDS) == [c.Observe((1,))]


def test_a_whole_task_behind_the_slow_one_is_taken() -> None:
    supervisor = learned(Ordering.PARTITION)
    supervisor.fetch(1)
    slow = supervisor.seen_task()
    supervisor.fetch(5, partition=OTHER)
    second = supervisor.seen_task()
    assert second.id > slow.id
    ask_back(supervisor)
    on(supervisor, slow, 0, second.id)

    (task,) = tasks(supervisor.boot(2))
    assert offsets_of(task) == [5]
    assert supervisor.core.snapshot().in_flight == 2
    supervisor.accept(slow)
    supervisor.accept(second, unstarted=(0,))
    assert supervisor.core.snapshot().in_flight == 1


def test_a_second_task_is_not_sent_behind_a_late_one() -> None:
    supervisor = learned()
    supervisor.fetch(1)
    supervisor.tick(LATE_SECONDS)
    assert tasks(supervisor.fetch(2)) == []


def test_a_second_task_is_not_sent_behind_one_that_was_asked_back() -> None:
    supervisor = learned()
    supervisor.fetch(1)
    supervisor.revoke(OTHER)
    assert tasks(supervisor.fetch(2))
    supervisor = learned()
    supervisor.fetch(1)
    supervisor.revoke(TP)
    assert tasks(supervisor.fetch(2, partition=OTHER)) == []


def test_a_second_task_becomes_late_by_its_own_time() -> None:
    supervisor = learned()
    supervisor.fetch(1, 2)
    first = supervisor.seen_task()
    supervisor.tick(0.2)
    supervisor.fetch(3, 4)
    supervisor.accept(first)
    assert supervisor.tick(0.2 + LATE_SECONDS - 0.01) == []
    assert supervisor.tick(0.2 + LATE_SECONDS) == [c.Observe((1,))]


def test_what_was_told_is_followed_while_the_slow_one_runs() -> None:
    supervisor = late()
    task = supervisor.seen_task()
    failed = Outcome(1, Verdict.RELEASE, BOOM)
    assert notes(supervisor.on(e.Finished(1, task.id, (failed,)))) == []

    assert notes(on(supervisor, task, 2)) == [c.ReportKind.RETRYING]
    assert supervisor.core.snapshot().handled == 2
    assert notes(supervisor.accept(task, unstarted=(3,))) == []
    assert supervisor.core.snapshot().handled == 3


def test_an_outcome_behind_the_slow_one_is_not_taken_for_unstarted() -> None:
    supervisor = late()
    task = supervisor.seen_task()
    supervisor.on(e.Finished(1, task.id, (Outcome(2, Verdict.RELEASE, BOOM),)))

    assert notes(on(supervisor, task, 1)) == [c.ReportKind.RETRYING]


@pytest.mark.parametrize("ordering", [Ordering.KEY, Ordering.PARTITION])
def test_what_must_wait_for_the_slow_one_waits(ordering: Ordering) -> None:
    keys = [b"a", b"b", b"a", b"b"]
    supervisor = late(1, 2, 3, 4, ordering=ordering, keys=keys)
    slow = supervisor.seen_task()
    assert len(slow) == 4
    on(supervisor, slow, 0)

    sent = [offset for task in tasks(supervisor.boot(2)) for offset in offsets_of(task)]
    assert sent == ([2, 4] if ordering is Ordering.KEY else [])

    # The slow one waits for its next attempt, and what must stay behind it waits with it.
    assert tasks(supervisor.fail(slow, 0, unstarted=(1, 2, 3))) == []
    supervisor.tick(LOOKED + 1.0)
    after = offsets_of(supervisor.seen_task())
    assert after[:2] == ([1, 3] if ordering is Ordering.KEY else [1, 2])


def test_a_retry_holds_its_key_while_the_slow_one_of_another_runs() -> None:
    supervisor = late(1, 2, 3, 4, ordering=Ordering.KEY, keys=[b"a", b"b", b"a", b"b"])
    slow = supervisor.seen_task()
    supervisor.on(e.Finished(1, slow.id, (Outcome(0, Verdict.RELEASE, BOOM),), unstarted=(2,)))
    on(supervisor, slow, 1)
    assert tasks(supervisor.boot(2)) == []

    sent = [offsets_of(task) for task in tasks(supervisor.tick(LOOKED + 1.0))]
    assert sent == [[1, 3]]


def test_a_death_on_the_slow_one_costs_it_an_attempt_and_the_others_nothing() -> None:
    supervisor = late()
    task = supervisor.seen_task()
    on(supervisor, task, 1)

    commands = supervisor.die(1, task, 1)

    assert notes(commands) == [c.ReportKind.WORKER_DIED, c.ReportKind.RETRYING]
    assert supervisor.core.snapshot().handled == 2
    (again,) = tasks(supervisor.boot(2))
    assert offsets_of(again) == [3, 4]


def test_a_death_at_a_message_that_was_taken_is_charged_to_nobody() -> None:
    supervisor = late()
    task = supervisor.seen_task()
    on(supervisor, task, 1)

    # Its slot had moved on to the next, which it was not to begin.
    commands = supervisor.die(1, task, 2)

    assert notes(commands) == []
    assert supervisor.core.snapshot().handled == 3
    (again,) = tasks(supervisor.boot(2))
    assert [(offsets_of(again), again.segments[0].attempt)] == [([3, 4], 1)]


def test_a_later_look_changes_nothing() -> None:
    supervisor = late()
    task = supervisor.seen_task()
    on(supervisor, task, 1)
    on(supervisor, task, 2)

    assert supervisor.core.snapshot().handled == 2
    assert supervisor.core.snapshot().in_flight == 1
    supervisor.accept(task, unstarted=(2, 3))
    assert supervisor.core.snapshot().handled == 3


def test_a_partition_is_given_back_before_the_slow_message_of_another_has_ended() -> None:
    supervisor = learned(Ordering.PARTITION)
    supervisor.fetch(1)
    slow = supervisor.seen_task()
    supervisor.fetch(5, partition=OTHER)
    second = supervisor.seen_task()
    assert c.Recall(1) in supervisor.revoke(OTHER, seconds=10.0)
    assert supervisor.tick(LOOK_SECONDS) == [c.Observe((1,))]

    assert the(on(supervisor, slow, 0, second.id), c.Release).partitions == (OTHER,)


def test_what_is_left_to_a_worker_that_does_not_end_is_named_alone() -> None:
    supervisor = learned(Ordering.PARTITION)
    supervisor.fetch(1, 2)
    slow = supervisor.seen_task()
    supervisor.fetch(5, partition=OTHER)
    second = supervisor.seen_task()
    ask_back(supervisor)
    on(supervisor, slow, 1, second.id)
    supervisor.stop(grace=0.0)
    commands = supervisor.tick(LOOKED + 20.0)

    named = [r.offset for r in those(commands, c.Report) if r.kind is c.ReportKind.ABANDONED]
    assert named == [2]


# -- what goes back travels on as it came


@pytest.mark.parametrize("ordering", list(Ordering))
def test_neighbours_that_go_back_travel_in_one_segment_again(ordering: Ordering) -> None:
    life = keyed(None, None, None, None, ordering=ordering)
    flight = life.take()
    flight.unstarted.update((1, 2, 3))
    life.messages.settle_but(flight, 0, 0.0)
    life.settle(flight)
    again = life.take()
    assert len(again.task.segments) == 1
    assert told(again) == [(1, 1), (2, 1), (3, 1)]


def test_what_goes_back_beside_a_failure_or_of_another_batch_stays_apart() -> None:
    life = Life()
    life.fetch(0, 1, 2, 3)
    life.fetch(4)
    life.settle(life.take(), Outcome(2, Verdict.RELEASE, BOOM), unstarted=(0, 1, 3, 4))
    again = life.take()
    assert [list(s.records.offsets) for s in again.task.segments] == [[0, 1], [3], [4]]
