"""How a run has ended: its exit code, what it leaves undone, and the error that it raises.

Pure: the whole decision, from what the core stopped with and what was asked of the run.
Tested by tests/test_verdict.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from kqworker.core.commands import End, Stopped
from kqworker.core.snapshot import Snapshot
from kqworker.errors import BrokerError, ConfigError, KQWorkerError, WorkerLost
from kqworker.exits import Exit, exit_of
from kqworker.types import Failure, TopicPartition


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run has ended.

    Attributes:
        exit: Its exit code.
        left: What it leaves undone, a line each; empty if nothing.
        error: What it raises; None if it returns the code.
    """

    exit: Exit
    left: tuple[str, ...]
    error: KQWorkerError | None


def verdict(
    stopped: Stopped,
    snapshot: Snapshot,
    *,
    caught_up: bool,
    asked: bool,
    fatal: BrokerError | None,
    abandoned: Sequence[str],
    unreadable: Mapping[TopicPartition, int],
) -> RunEnd:
    """Return how a run has ended.

    Args:
        stopped: What the core says.
        snapshot: The counters at the end.
        caught_up: The run was to end by itself once it had caught up.
        asked: Somebody asked it to end: by a signal or by its program.
        fatal: Why Kafka refuses to go on, if it does.
        abandoned: The messages that were left in the middle, a line each.
        unreadable: The partitions that cannot be read on, and from which offset.
    """
    left = list(abandoned)
    if stopped.end is End.ABANDONED and stopped.failure is not None and not left:
        left.append(stopped.failure.text)
    end = _exit(stopped.end)
    if end is Exit.CLEAN and caught_up and asked and not _has_caught_up(snapshot):
        # Drained or not: a job that is a step of something must not look finished.
        end = Exit.ABANDONED
        left.append(_cut_off(snapshot.remaining))
    error = _error(stopped, fatal)
    if error is not None:
        end = exit_of(error)
    elif end is Exit.CLEAN and caught_up and _has_failed(snapshot):
        end = Exit.MESSAGES_FAILED
        left += [
            f"{partition} from offset {offset} on, which cannot be read"
            for partition, offset in unreadable.items()
        ]
    return RunEnd(end, tuple(left), error)


def _exit(end: End) -> Exit:
    match end:
        case End.CLEAN:
            return Exit.CLEAN
        case End.ABANDONED:
            return Exit.ABANDONED
        case End.BOOT_FAILED:
            return Exit.USAGE
        case End.CRASH_LOOP:
            return Exit.CRASH_LOOP
        case _:
            assert_never(end)


def _error(stopped: Stopped, fatal: BrokerError | None) -> KQWorkerError | None:
    failure = stopped.failure
    if stopped.end is End.BOOT_FAILED and failure is not None:
        return ConfigError(f"workers cannot start: {_told(failure)}")
    if fatal is not None:
        return fatal
    if stopped.end is End.CRASH_LOOP and failure is not None:
        return WorkerLost(f"workers keep dying and handle nothing; the last one: {_told(failure)}")
    return None


def _cut_off(remaining: int | None) -> str:
    if not remaining:
        return "stopped early: it had not caught up; the next run goes on"
    if remaining == 1:
        return "stopped early: 1 message was not started; the next run handles it"
    return f"stopped early: {remaining:,} messages were not started; the next run handles them"


def _has_caught_up(snapshot: Snapshot) -> bool:
    return snapshot.remaining == 0 and not snapshot.elsewhere


def _has_failed(snapshot: Snapshot) -> bool:
    """Return whether a run that has caught up has not handled all that there was."""
    # What remains at its end cannot be read.
    return bool(snapshot.failed or snapshot.gone or snapshot.remaining)


def _told(failure: Failure) -> str:
    """Return a failure for people: a ConfigError says all by itself."""
    if failure.type.rpartition(".")[2] == "ConfigError":
        return failure.text
    return f"{failure.type}: {failure.text}\n{failure.traceback}".rstrip()
