"""What can happen: everything that the core learns of the world.

Pure. Shells make these; the core never asks.
Tested through tests/core/test_supervisor.py and every run in tests/sim.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kqworker.core.commands import Mark
from kqworker.types import Failure, Outcome, Records, TopicPartition


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition begins for its new owner.

    Attributes:
        offset: The committed offset; None where the group has none, or it is unknown.
        metadata: What was committed with it (the completion map); empty if nothing.
        partitions: How many its topic had when the group began to read it, which its commits are
            to tell; None: as the metadata says.
    """

    offset: int | None
    metadata: str = ""
    partitions: int | None = None


@dataclass(frozen=True, slots=True)
class Assigned:
    """A member of the group was given partitions: a new epoch of each begins."""

    member: int
    partitions: Mapping[TopicPartition, Start]


@dataclass(frozen=True, slots=True)
class Revoked:
    """A member must give partitions back; its thread waits for `Release`.

    Attributes:
        seconds: How long it can wait.
    """

    member: int
    partitions: tuple[TopicPartition, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Partitions were taken away without asking: another may have them already.

    That other may be a member of the same supervisor, and its `Assigned` may come first.
    """

    member: int
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """Messages arrived; each partition's in the order of their offsets.

    Attributes:
        records: The messages.
        member: Who fetched them. One that has not yet learned that a partition is another
            member's may still fetch it, from where it was itself.
    """

    records: Sequence[Records]
    member: int


@dataclass(frozen=True, slots=True)
class Positions:
    """How far each partition was read, gaps at its end included.

    Kafka's own position: compaction and transaction markers leave it beyond the last
    message + 1, and only a commit of it brings the lag to zero.

    Attributes:
        offsets: The positions.
        member: Whose they are.
    """

    offsets: Mapping[TopicPartition, int]
    member: int


@dataclass(frozen=True, slots=True)
class Gone:
    """Kafka has deleted messages that nobody had handed over.

    Attributes:
        offsets: By partition, the first offset that is left; it is read on from there.
        member: Whose they are.
    """

    offsets: Mapping[TopicPartition, int]
    member: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A partition cannot be read on, and stands still; told again with each try that fails.

    What comes of it later, or a `Positions` or `Gone` of it, says that it can be.

    Attributes:
        member: Whose it is.
        partition: Which.
        offset: Where it stands; -1 at its beginning.
        text: What is the matter, and what helps.
    """

    member: int
    partition: TopicPartition
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Committed:
    """The broker answered a commit.

    Attributes:
        marks: What was asked for, partition by partition. The answer may be to a former
            epoch's commit of the same offset, which only its map tells apart.
        error: None where it succeeded.
        too_large: The broker refused the metadata for its size.
    """

    marks: Mapping[TopicPartition, Mark]
    error: str | None = None
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """The broker answered a `Produce`.

    Attributes:
        ticket: The number that the command gave.
        failure: None where the record is in the log.
        retriable: Whether producing it again may succeed.
        too_large: It failed because it is larger than its topic takes.
    """

    ticket: int
    failure: Failure | None = None
    retriable: bool = True
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker has imported the app and waits for its first task."""

    worker: int
    pid: int


@dataclass(frozen=True, slots=True)
class BootFailed:
    """A worker could not import the app or run its start hooks; it has ended."""

    worker: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Finished:
    """A worker answered for a task, in part or to its end.

    Attributes:
        worker: The worker that answered.
        task: The task's id.
        outcomes: What is more than a plain accept, by ascending index.
        complete: The worker is done with the task: each message neither in an outcome
            so far nor in `unstarted` was accepted.
        unstarted: Indices, ascending, that the worker hands back without having begun; they
            may come in parts, like the outcomes.
        seconds: How long the worker ran the task, when complete.
    """

    worker: int
    task: int
    outcomes: tuple[Outcome, ...] = ()
    complete: bool = False
    unstarted: tuple[int, ...] = ()
    seconds: float = 0.0


class Cause(enum.Enum):
    """What ended a worker."""

    CRASHED = "crashed"  # a signal, an exit code, memory: the message it was on is charged
    KILLED = "killed"  # by our own KillWorker, for the message that the command names
    STOPPED = "stopped"  # by our own StopWorker, or together with the forkserver: nobody is charged


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker has ended and all that it wrote was read before this event.

    Attributes:
        worker: Who.
        cause: Whether the message it was on is to blame.
        task: The task that its slot names; None if it was idle or never got one.
        index: The message it was on: those before it without an outcome were accepted,
            those behind it never begun. When it equals the task's length, all were done.
        text: What is known of the end, for people: "signal 9 (SIGKILL)", "exit code 3".
    """

    worker: int
    cause: Cause
    task: int | None
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Running:
    """What a worker is on, by its slot.

    Attributes:
        task: The task's id.
        index: The message.
        started: When it began that message, on the loop's clock.
        recalled: Of the tasks up to this id it begins nothing behind that message: a
            `Recall` has reached it, and it was seen here long enough after that.
    """

    task: int
    index: int
    started: float
    recalled: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """The answer to `Observe`: what each asked worker is on; None if it is on no message.

    Whatever a worker told before it came to its message is told before this event, so the
    messages of its task before that one are done: accepted, unless something else was told.
    """

    running: Mapping[int, Running | None]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; sent when `deadline()` is due."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Put a fresh worker in the place of each: the app has changed."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Have another number of workers from now on.

    Those that are too many end when what they run is done, the highest seats first.

    Attributes:
        workers: How many, at least 1.
    """

    workers: int


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Stop once everything below these offsets is finished; a later one replaces them.

    Attributes:
        targets: By partition. One that is not owned is waited for: whoever learns that
            another supervisor has finished it leaves it out of a later event.
    """

    targets: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Drain: finish what runs, commit, end.

    Attributes:
        grace: Seconds until what still runs is killed; 0 kills it now.
    """

    grace: float


Event = (
    Assigned
    | Revoked
    | Lost
    | Fetched
    | Positions
    | Gone
    | Unreadable
    | Committed
    | Delivered
    | WorkerReady
    | BootFailed
    | Finished
    | WorkerDied
    | Observed
    | Tick
    | Replace
    | Scale
    | CatchUp
    | StopRequested
)
