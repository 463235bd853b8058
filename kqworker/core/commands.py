"""What can be asked for: everything that the core wants done.

Pure. Shells carry these out and never block the loop over one.
Tested through tests/core/test_supervisor.py and every run in tests/sim.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kqworker.types import Failure, Output, Task, TopicPartition

# What the names of worker processes begin with.
WORKER = "kqworker-"


class Mark(NamedTuple):
    """How far a partition is committed: the watermark and the completion map above it."""

    offset: int
    metadata: str


def process_name(seat: int) -> str:
    """Return the name by which `ps`, `top` and log lines show a worker process.

    >>> process_name(0)
    'kqworker-0'
    """
    return f"{WORKER}{seat}"


# To the source


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit these, asynchronously; the source drops what it no longer owns."""

    marks: Mapping[TopicPartition, Mark]


@dataclass(frozen=True, slots=True)
class Release:
    """The answer to `Revoked`: commit these marks, then let the partitions go."""

    member: int
    partitions: tuple[TopicPartition, ...]
    marks: Mapping[TopicPartition, Mark]


@dataclass(frozen=True, slots=True)
class Fetching:
    """Hand over messages, or hold them back: what is held has reached its bound."""

    on: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop fetching these partitions; only ones that are owned and not paused."""

    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on fetching partitions that `Pause` stopped; they may be lost, or come back, by now."""

    partitions: tuple[TopicPartition, ...]


# To the sink


@dataclass(frozen=True, slots=True)
class Produce:
    """Produce a record; answered by one `Delivered` with the same ticket."""

    ticket: int
    output: Output


# To the workers


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a process.

    Attributes:
        worker: Its number, which is never used twice.
        seat: The lowest that is free; its successor gets it. Operators know the process by it.
    """

    worker: int
    seat: int


@dataclass(frozen=True, slots=True)
class Send:
    """Hand a task to a worker."""

    worker: int
    task: Task


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask a worker to hand back what it has not begun of all its tasks.

    It answers when it has ended the message that it is on. Before that, an `Observed` says
    when it is certain that it begins no other, so that the rest can be taken from it.
    """

    worker: int


@dataclass(frozen=True, slots=True)
class Observe:
    """Read these workers' slots; answered by one `Observed`."""

    workers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OnMessage:
    """A worker is on message `index` of a task."""

    task: int
    index: int


@dataclass(frozen=True, slots=True)
class OnNone:
    """A worker is on no message."""


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End a worker's process tree.

    Attributes:
        worker: Whom.
        only: Only while this holds: otherwise it lives and nothing is answered. None kills it
            whatever it does.
    """

    worker: int
    only: OnMessage | OnNone | None = None


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Let an idle worker run its stop hooks and end."""

    worker: int


# To the watchers


class ReportKind(enum.Enum):
    """What happened to a message, a worker or a partition that people want to know."""

    RETRYING = "retrying"
    DEAD_LETTERED = "dead-lettered"
    GAVE_UP = "gave up"  # out of attempts, and no dead-letter topic: accepted
    STALLED = "stalled"  # a dead letter or an output cannot be delivered
    UNREADABLE = "unreadable"  # a partition cannot be read on
    GONE = "gone"  # Kafka has deleted messages before they were handed over
    CIRCLE = "circle"  # what handlers produce comes again and again
    BROKE_CIRCLE = "broke circle"  # too often: accepted
    TIME_LIMIT = "time limit"
    WORKER_DIED = "worker died"
    BROKEN = "app broken"  # no worker can start until the app has changed again
    TRUNCATED = "dead letter cut"  # it is larger than its topic takes
    PAUSED = "partition paused"  # what waits, or is done out of order, has no more room
    SLOW = "partition slow"  # it has its share, and others have room
    MAP_IGNORED = "completion map ignored"
    MAP_FULL = "completion map full"
    COMMIT_FAILED = "commit failed"
    DRAIN_EXPIRED = "drain expired"
    SUSPECTED = "suspected"  # what a supervisor was on that did not end in order
    CHARGED = "charged"  # that supervisor died while it handled this message alone
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Report:
    """Something for the log and the counters; the core itself logs nothing.

    Attributes:
        kind: What happened.
        handler: The handler's name, or empty.
        partition: Where, if it is about a partition or message.
        offset: The message's, or -1.
        attempt: Attempts that the message has had.
        delay: Seconds until the next attempt, with RETRYING.
        worker: Which worker, or 0.
        seat: The worker's; None where there is none.
        failure: Why.
    """

    kind: ReportKind
    handler: str = ""
    partition: TopicPartition | None = None
    offset: int = -1
    attempt: int = 0
    delay: float = 0.0
    worker: int = 0
    seat: int | None = None
    failure: Failure | None = None


class End(enum.Enum):
    """How a run ended, as the core sees it; the composition root makes the exit code."""

    CLEAN = "clean"
    ABANDONED = "abandoned"  # what ran was killed when the grace was over
    BOOT_FAILED = "boot failed"
    CRASH_LOOP = "crash loop"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The last command: nothing runs, what could be committed is committed."""

    end: End
    failure: Failure | None = None


Command = (
    Commit
    | Release
    | Fetching
    | Pause
    | Resume
    | Produce
    | StartWorker
    | Send
    | Recall
    | Observe
    | KillWorker
    | StopWorker
    | Report
    | Stopped
)
SourceCommand = Commit | Release | Fetching | Pause | Resume
WorkersCommand = StartWorker | Send | Recall | Observe | KillWorker | StopWorker
