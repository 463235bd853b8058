"""Workers of an app that is being edited: one that cannot boot waits for the next change."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.types import Failure
from tests.core.supervised import BOOM, Supervised, running, the, those

SYNTAX = Failure("ConfigError", "module 'app' cannot be imported")


def edited(workers: int = 2) -> Supervised:
    """A supervisor whose workers were ready, and are being replaced."""
    supervisor = Supervised(workers=workers, reloads=True)
    supervisor.boot(*range(1, workers + 1))
    supervisor.on(e.Replace())
    for worker in range(1, workers + 1):
        supervisor.die(worker, cause=e.Cause.STOPPED)
    return supervisor


def test_workers_that_cannot_boot_after_a_change_are_told_once_and_wait() -> None:
    supervisor = edited()
    commands = supervisor.on(e.BootFailed(3, SYNTAX)) + supervisor.on(e.BootFailed(4, SYNTAX))

    assert the(commands, c.Report) == c.Report(c.ReportKind.BROKEN, failure=SYNTAX)
    assert not those(supervisor.tick(supervisor.now + 600.0), c.StartWorker)
    assert c.Fetching(False) not in supervisor.seen  # with which a stop begins


def test_the_next_change_starts_the_workers_that_wait() -> None:
    supervisor = edited()
    for worker in (3, 4):
        supervisor.on(e.BootFailed(worker, SYNTAX))

    assert those(supervisor.on(e.Replace()), c.StartWorker) == [
        c.StartWorker(5, 0),
        c.StartWorker(6, 1),
    ]


def test_each_change_that_is_broken_is_told() -> None:
    supervisor = edited(workers=1)
    for worker in range(3, 40):
        supervisor.on(e.BootFailed(worker - 1, SYNTAX))
        assert those(supervisor.on(e.Replace()), c.StartWorker) == [c.StartWorker(worker, 0)]

    reports = those(supervisor.seen, c.Report)
    assert [report.kind for report in reports] == [c.ReportKind.BROKEN] * 37


def test_a_worker_that_is_replaced_while_it_fails_to_boot_starts_again() -> None:
    supervisor = edited(workers=1)
    assert c.KillWorker(2) in supervisor.on(e.Replace())

    # It had imported the app of before, and said so before it was killed.
    commands = supervisor.on(e.BootFailed(2, SYNTAX))

    assert those(commands, c.StartWorker) == [c.StartWorker(3, 0)]
    assert not those(commands, c.Report)


def test_a_stop_does_not_wait_for_a_change() -> None:
    supervisor = edited(workers=1)
    supervisor.on(e.BootFailed(2, SYNTAX))

    assert the(supervisor.stop(grace=10.0), c.Stopped).end is c.End.CLEAN


def test_an_app_that_is_broken_at_the_start_ends_the_run_though_it_would_be_reloaded() -> None:
    supervisor = Supervised(reloads=True)

    assert the(supervisor.on(e.BootFailed(1, BOOM)), c.Stopped).end is c.End.BOOT_FAILED


def test_a_change_during_a_stop_starts_nobody() -> None:
    supervisor = running(workers=2, reloads=True)
    supervisor.fetch(0)
    supervisor.die(2, cause=e.Cause.STOPPED)
    supervisor.on(e.BootFailed(3, SYNTAX))

    supervisor.stop()

    assert those(supervisor.on(e.Replace()), c.StartWorker) == []


def test_a_worker_that_fails_to_boot_while_it_is_replaced_does_not_wait_for_a_change() -> None:
    supervisor = edited(workers=1)
    assert supervisor.on(e.Replace()) == [c.KillWorker(2)]

    assert supervisor.on(e.BootFailed(2, SYNTAX)) == [c.StartWorker(3, 0)]
