"""What a stop leaves undone is named, or said."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.retry import Retry
from kqworker.types import Output
from tests.core.supervised import policy, running, the, those


def left(commands: list[c.Command]) -> list[tuple[int, str]]:
    """Offset and reason of each message that is named."""
    return [
        (report.offset, report.failure.type)
        for report in those(commands, c.Report)
        if report.kind is c.ReportKind.ABANDONED and report.failure is not None
    ]


def test_what_is_being_handled_is_named() -> None:
    supervisor = running()
    supervisor.fetch(0)
    task = supervisor.seen_task()

    assert c.KillWorker(1) in supervisor.stop(grace=0.0)
    commands = supervisor.die(1, task, cause=e.Cause.KILLED)

    assert left(commands) == [(0, "WorkerDied")]
    assert the(commands, c.Stopped).end is c.End.ABANDONED


def test_what_waits_for_its_dead_letter_or_its_outputs_is_named_once() -> None:
    supervisor = running(policy(retry=Retry(attempts=1), dead_letter="letters"))
    supervisor.fetch(0)
    supervisor.fail(supervisor.seen_task())
    supervisor.fetch(1)
    supervisor.push(supervisor.seen_task(), Output("out", b"x"), Output("out", b"y"))

    commands = supervisor.stop(grace=0.0)

    assert left(commands) == [(0, "Undelivered"), (1, "Undelivered")]


def test_a_commit_that_is_not_confirmed_is_said() -> None:
    supervisor = running()
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())
    supervisor.stop()
    supervisor.tick(supervisor.now + 6.0)

    stopped = the(supervisor.die(1, cause=e.Cause.STOPPED), c.Stopped)

    assert stopped.end is c.End.ABANDONED
    assert stopped.failure is not None
    assert stopped.failure.text == "what was finished last: Kafka did not confirm its commit"


def test_a_task_that_was_not_begun_names_nothing_and_says_so() -> None:
    supervisor = running()
    supervisor.fetch(0)
    supervisor.stop(grace=0.0)

    commands = supervisor.die(1, cause=e.Cause.KILLED)

    assert left(commands) == []
    stopped = the(commands, c.Stopped)
    assert stopped.end is c.End.ABANDONED
    assert stopped.failure is not None
    assert stopped.failure.text == "what workers were handed and had not begun"


def test_a_worker_that_outlasts_its_kill_does_not_hold_up_the_end() -> None:
    supervisor = running()
    supervisor.fetch(0)
    assert c.KillWorker(1) in supervisor.stop(grace=0.0)
    # A second Ctrl-C leaves the kill its time.
    assert supervisor.stop(grace=0.0) == []

    commands = supervisor.tick(60.0)

    assert left(commands) == [(0, "WorkerDied")]
    assert the(commands, c.Stopped).end is c.End.ABANDONED
    assert supervisor.core.deadline() is None


def test_what_ran_when_all_workers_died_of_one_cause_makes_an_end_unclean() -> None:
    supervisor = running()
    supervisor.fetch(0)
    task = supervisor.seen_task()
    supervisor.stop(grace=60.0)

    commands = supervisor.die(1, task, cause=e.Cause.STOPPED)

    assert left(commands) == [(0, "WorkerDied")]
    assert the(commands, c.Stopped).end is c.End.ABANDONED
