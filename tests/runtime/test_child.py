"""What is believed of a worker, by what it said and what its slot says; without a process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kqworker import wire
from kqworker.core.commands import OnMessage, OnNone
from kqworker.core.events import BootFailed, Cause, Finished, Running, WorkerDied, WorkerReady
from kqworker.runtime.child import Child
from kqworker.runtime.slot import BETWEEN, HEEDED_SECONDS, INDEX_BITS, POSITION, STARTED, WorkerSlot
from kqworker.types import Failure, Ordering, Outcome, Task, Verdict
from tests.runtime.bench import segment

FAILED = Outcome(1, Verdict.RELEASE, Failure("E", "why"))


class Stand:
    """A child, and the slot as its worker would have it."""

    def __init__(self) -> None:
        self.child = Child(5, 0)
        self.slot = WorkerSlot(os.dup(self.child.slot.fd))
        self.child.said([wire.Ready(1)])
        for number in (1, 2):
            self.child.sent(Task(number, 0, Ordering.UNORDERED, (segment(["ok"] * 4),)))

    def on(self, task: int, index: int, started: float = 1.0, between: bool = False) -> None:
        self.slot.seconds[STARTED] = started
        self.slot.words[POSITION] = BETWEEN * between | task << INDEX_BITS | index


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.child.close()
    stand.slot.close()


def test_frames_become_events() -> None:
    child = Child(5, 0)
    child.sent(Task(1, 0, Ordering.UNORDERED, (segment(["ok"] * 4),)))

    events = child.said([wire.Ready(9), wire.Answer(1, (FAILED,)), wire.Answer(1, (), True, (3,))])

    assert events == [
        WorkerReady(5, 9),
        Finished(5, 1, (FAILED,)),
        Finished(5, 1, (), True, (3,)),
    ]
    child.close()


def test_answers_for_a_task_that_it_does_not_have_are_not_believed(stand: Stand) -> None:
    assert stand.child.said([wire.Answer(3, (), True)]) == []
    assert len(stand.child.said([wire.Answer(1, (), True)] * 2)) == 1


def test_an_end_on_a_message_is_charged_to_it(stand: Stand) -> None:
    stand.on(1, 2)
    assert stand.child.death("bang") == [WorkerDied(5, Cause.CRASHED, 1, 2, "bang")]


def test_an_end_after_the_answer_for_the_message_is_charged_to_nobody(stand: Stand) -> None:
    stand.on(1, 1)
    stand.child.said([wire.Answer(1, (FAILED,), False, (3,))])

    assert stand.child.death("bang") == [
        Finished(5, 1, (), True, (2,)),
        WorkerDied(5, Cause.CRASHED, None, 0, "bang"),
    ]


def test_an_end_between_messages_is_charged_to_nobody(stand: Stand) -> None:
    stand.on(1, 3, between=True)

    assert stand.child.death("bang") == [
        Finished(5, 1, (), True, (3,)),
        WorkerDied(5, Cause.CRASHED, None, 0, "bang"),
    ]


def test_an_end_after_the_last_answer_leaves_nothing_open(stand: Stand) -> None:
    stand.on(1, 4, between=True)
    stand.child.said([wire.Answer(1, (), True)])

    assert stand.child.death("bang") == [WorkerDied(5, Cause.CRASHED, None, 0, "bang")]


def test_a_kill_of_ours_is_named(stand: Stand) -> None:
    stand.on(2, 0)
    stand.child.killed = True
    assert stand.child.death("x") == [WorkerDied(5, Cause.KILLED, 2, 0, "x")]


def test_the_end_of_the_forkserver_is_nobodys_fault(stand: Stand) -> None:
    stand.on(2, 0)
    stand.child.orphaned = True
    assert stand.child.death("x") == [WorkerDied(5, Cause.STOPPED, 2, 0, "the forkserver died")]


def test_a_stop_that_crashes_on_a_message_is_a_crash(stand: Stand) -> None:
    stand.child.stopping = True
    assert stand.child.death("x") == [WorkerDied(5, Cause.STOPPED, None, 0, "x")]
    stand.on(1, 1)
    assert stand.child.death("x") == [WorkerDied(5, Cause.CRASHED, 1, 1, "x")]


def test_a_worker_that_said_why_it_cannot_boot_has_not_died() -> None:
    child = Child(5, 0)
    child.said([wire.BootFailed(FAILED.failure or Failure("", ""))])
    assert child.death("exit code 0") == [BootFailed(5, Failure("E", "why"))]
    child.close()


def test_an_observation_is_on_the_loops_clock(stand: Stand) -> None:
    stand.on(1, 2, started=10.0)
    assert stand.child.observe(lambda moment: moment + 100.0) == Running(1, 2, 110.0)


def test_between_messages_there_is_nothing_to_observe(stand: Stand) -> None:
    stand.on(1, 2, between=True)
    assert stand.child.observe(float) is None
    stand.on(1, 1)
    stand.child.said([wire.Answer(1, (FAILED,))])
    assert stand.child.observe(float) is None


def test_it_is_still_on_a_message_only_as_it_was_observed(stand: Stand) -> None:
    stand.on(1, 2, started=10.0)
    assert stand.child.still(OnMessage(1, 2))
    assert not stand.child.still(OnMessage(1, 1))
    assert not stand.child.still(OnMessage(2, 2))

    # An observation in the middle of a move: the neighbour's time with this index.
    stand.child.observe(float)
    stand.on(1, 2, started=11.0)
    assert not stand.child.still(OnMessage(1, 2))

    stand.on(1, 3, started=12.0)
    assert stand.child.still(OnMessage(1, 3))
    stand.on(1, 3, between=True)
    assert not stand.child.still(OnMessage(1, 3))


def test_a_recall_covers_all_that_was_sent(stand: Stand) -> None:
    stand.child.recall()
    assert stand.slot.words[2] == 2


def test_a_recall_is_certain_when_the_worker_must_have_seen_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [50.0]
    monkeypatch.setattr("kqworker.runtime.child.time.monotonic", lambda: now[0])
    stand.on(1, 2)
    recalled = []
    for at in (50.0, 50.0 + HEEDED_SECONDS * 0.9, 50.0 + HEEDED_SECONDS * 1.1):
        now[0] = at
        if at == 50.0:
            stand.child.recall()
        running = stand.child.observe(float)
        assert running is not None
        recalled.append(running.recalled)
    assert recalled == [0, 0, 2]

    stand.child.sent(Task(3, 0, Ordering.UNORDERED, (segment(["ok"]),)))
    assert stand.child.observe(float) == Running(1, 2, 1.0, 2)


def test_it_is_on_no_message_when_idle_between_two_or_done_with_the_last(stand: Stand) -> None:
    assert stand.child.still(OnNone())
    stand.on(1, 2)
    assert not stand.child.still(OnNone())
    stand.on(1, 2, between=True)
    assert stand.child.still(OnNone())
    assert not stand.child.still(OnMessage(1, 2))
    stand.on(1, 1)
    stand.child.said([wire.Answer(1, (FAILED,))])
    assert stand.child.still(OnNone())
