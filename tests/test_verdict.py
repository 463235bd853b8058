"""Which exit code a run has, what it names as left, and what it raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from kqworker.core.commands import End, Stopped
from kqworker.core.snapshot import Snapshot
from kqworker.errors import BrokerError, ConfigError, WorkerLost
from kqworker.exits import Exit
from kqworker.types import Failure, TopicPartition
from kqworker.verdict import RunEnd, verdict

CLEAN = Stopped(End.CLEAN)
DONE = Snapshot(remaining=0)
DIED = Failure("WorkerLost", "killed by SIGKILL", "")


def ended(
    stopped: Stopped = CLEAN,
    snapshot: Snapshot = DONE,
    *,
    caught_up: bool = False,
    asked: bool = False,
    fatal: BrokerError | None = None,
    abandoned: Sequence[str] = (),
    unreadable: Mapping[TopicPartition, int] | None = None,
) -> RunEnd:
    return verdict(
        stopped,
        snapshot,
        caught_up=caught_up,
        asked=asked,
        fatal=fatal,
        abandoned=abandoned,
        unreadable=unreadable or {},
    )


def test_a_drained_run_is_clean_whatever_failed_in_it() -> None:
    assert ended(snapshot=Snapshot(failed=3, gone=2), asked=True) == RunEnd(Exit.CLEAN, (), None)


@pytest.mark.parametrize(
    ("snapshot", "code"),
    [
        (Snapshot(remaining=0), Exit.CLEAN),
        (Snapshot(remaining=0, elsewhere=1), Exit.ABANDONED),
        (Snapshot(remaining=None, elsewhere=12), Exit.ABANDONED),
        (Snapshot(remaining=3), Exit.ABANDONED),
    ],
)
def test_a_run_that_waits_for_others_has_not_caught_up(snapshot: Snapshot, code: Exit) -> None:
    assert ended(snapshot=snapshot, caught_up=True, asked=True).exit is code


@pytest.mark.parametrize(
    ("remaining", "line"),
    [
        (1234, "stopped early: 1,234 messages were not started; the next run handles them"),
        (1, "stopped early: 1 message was not started; the next run handles it"),
        (None, "stopped early: it had not caught up; the next run goes on"),
    ],
)
def test_what_a_stop_has_cut_off_is_named(remaining: int | None, line: str) -> None:
    assert ended(snapshot=Snapshot(remaining=remaining), caught_up=True, asked=True) == RunEnd(
        Exit.ABANDONED, (line,), None
    )


@pytest.mark.parametrize(
    "snapshot",
    [
        Snapshot(remaining=0, failed=1),
        Snapshot(remaining=0, gone=1),
        Snapshot(remaining=2),
    ],
)
def test_a_run_that_has_caught_up_says_what_was_not_handled(snapshot: Snapshot) -> None:
    unreadable = {TopicPartition("orders", 1): 7}

    end = ended(snapshot=snapshot, caught_up=True, unreadable=unreadable)

    assert end == RunEnd(
        Exit.MESSAGES_FAILED, ("orders[1] from offset 7 on, which cannot be read",), None
    )


def test_what_was_abandoned_is_named_and_else_why() -> None:
    stopped = Stopped(End.ABANDONED, Failure("Timeout", "the drain took 30 s", ""))

    assert ended(stopped, abandoned=["t[0] offset 1 in f"], caught_up=True) == RunEnd(
        Exit.ABANDONED, ("t[0] offset 1 in f",), None
    )
    assert ended(stopped) == RunEnd(Exit.ABANDONED, ("the drain took 30 s",), None)


def test_workers_that_cannot_boot_are_the_users_to_mend() -> None:
    broken = Stopped(End.BOOT_FAILED, Failure("ValueError", "no", "  File x"))
    refused = Stopped(End.BOOT_FAILED, Failure("kqworker.ConfigError", "no topic", "  File x"))

    end = ended(broken, fatal=BrokerError("gone", retriable=False))
    assert end.exit is Exit.USAGE
    assert isinstance(end.error, ConfigError)
    assert str(end.error) == "workers cannot start: ValueError: no\n  File x"
    assert ended(broken).exit is Exit.USAGE
    assert str(ended(refused).error) == "workers cannot start: no topic"


def test_workers_that_keep_dying_are_the_operators_to_mend() -> None:
    end = ended(Stopped(End.CRASH_LOOP, DIED))

    assert end.exit is Exit.CRASH_LOOP
    assert isinstance(end.error, WorkerLost)
    assert str(end.error).endswith("the last one: WorkerLost: killed by SIGKILL")


def test_what_kafka_refuses_counts_more_than_how_the_drain_went() -> None:
    fatal = BrokerError("fenced", retriable=False)

    for stopped in (CLEAN, Stopped(End.ABANDONED), Stopped(End.CRASH_LOOP, DIED)):
        end = ended(stopped, Snapshot(remaining=0, failed=1), caught_up=True, fatal=fatal)
        assert (end.exit, end.error) == (Exit.BROKER, fatal)
