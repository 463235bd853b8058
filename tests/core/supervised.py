"""A supervisor under test: made, fed and asked in the words of the tests.

`Given` steps return the commands they led to; time goes on by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import TypeVar

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.limits import Limits
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Retry
from kqworker.core.supervisor import Supervisor
from kqworker.types import (
    Failure,
    Ordering,
    Outcome,
    Output,
    Records,
    Task,
    TopicPartition,
    Verdict,
    payload_size,
)

TP = TopicPartition("test", 0)
OTHER = TopicPartition("test", 1)
BOOM = Failure("ValueError", "boom")
PLAIN = Retry(attempts=3, first=1.0, jitter=False)

Kind = TypeVar("Kind")


def policy(**changes: object) -> HandlerPolicy:
    """A handler of topic `test`, tried three times a second apart."""
    return HandlerPolicy(**{"name": "on_test", "topic": "test", "retry": PLAIN, **changes})  # type: ignore[arg-type]


def records(
    *offsets: int,
    partition: TopicPartition = TP,
    keys: Sequence[bytes | None] | None = None,
    values: Sequence[bytes | None] | None = None,
) -> Records:
    """Messages of a partition, ten bytes each unless said otherwise."""
    values = [b"0123456789"] * len(offsets) if values is None else values
    return Records(
        partition, offsets, values, keys, [-1] * len(offsets), None, payload_size(keys, values)
    )


class Supervised:
    """A supervisor, its time, and what it asked for."""

    def __init__(self, *policies: HandlerPolicy, **limits: object) -> None:
        self.core = Supervisor(policies or (policy(),), Limits(**limits), Random(1))  # type: ignore[arg-type]
        self.now = 0.0
        self.seen: list[c.Command] = []
        self.members: dict[TopicPartition, int] = {}
        self._note(self.core.start(self.now))

    def _note(self, commands: list[c.Command]) -> list[c.Command]:
        self.seen += commands
        return commands

    def tasks(self) -> list[Task]:
        """All tasks that were sent."""
        return tasks(self.seen)

    def seen_task(self) -> Task:
        """The task that was sent last."""
        return tasks(self.seen)[-1]

    # -- what happens

    def on(self, event: e.Event) -> list[c.Command]:
        return self._note(self.core.handle(event, self.now))

    def at(self, now: float) -> Supervised:
        self.now = now
        return self

    def tick(self, now: float) -> list[c.Command]:
        """Let time pass up to `now`, with a tick at each deadline on the way."""
        commands: list[c.Command] = []
        while (due := self.core.deadline()) is not None and due <= now:
            self.now = max(self.now, due)
            commands += self.on(e.Tick())
        self.now = now
        return commands

    def boot(self, *workers: int) -> list[c.Command]:
        return [out for n in workers for out in self.on(e.WorkerReady(n, pid=1000 + n))]

    def assign(
        self,
        *partitions: TopicPartition,
        start: int | None = 0,
        metadata: str = "",
        member: int = 0,
    ) -> list[c.Command]:
        starts = dict.fromkeys(partitions or (TP,), e.Start(start, metadata))
        self.members.update(dict.fromkeys(starts, member))
        return self.on(e.Assigned(member, starts))

    def fetch(self, *offsets: int, **columns: object) -> list[c.Command]:
        fetched = records(*offsets, **columns)  # type: ignore[arg-type]
        return self.on(e.Fetched((fetched,), self.members[fetched.partition]))

    def position(self, offset: int, partition: TopicPartition = TP) -> list[c.Command]:
        return self.on(e.Positions({partition: offset}, self.members[partition]))

    def accept(self, task: Task, *, worker: int = 1, **answer: object) -> list[c.Command]:
        """The worker is done with a task; whatever is not said otherwise was accepted."""
        return self.on(e.Finished(worker, task.id, complete=True, **answer))  # type: ignore[arg-type]

    def fail(self, task: Task, *indices: int, worker: int = 1, **answer: object) -> list[c.Command]:
        """The worker is done with a task; these messages of it failed."""
        outcomes = tuple(Outcome(i, Verdict.RELEASE, BOOM) for i in indices or (0,))
        return self.accept(task, worker=worker, outcomes=outcomes, **answer)

    def push(
        self, task: Task, *outputs: Output, index: int = 0, worker: int = 1
    ) -> list[c.Command]:
        """The worker is done with a task; one message has outputs."""
        outcome = Outcome(index, Verdict.ACCEPT, outputs=outputs)
        return self.accept(task, worker=worker, outcomes=(outcome,))

    def die(
        self,
        worker: int,
        task: Task | None = None,
        index: int = 0,
        cause: e.Cause = e.Cause.CRASHED,
    ) -> list[c.Command]:
        number = None if task is None else task.id
        return self.on(e.WorkerDied(worker, cause, number, index, "signal 9 (SIGKILL)"))

    def revoke(
        self, *partitions: TopicPartition, seconds: float = 10.0, member: int = 0
    ) -> list[c.Command]:
        return self.on(e.Revoked(member, partitions or (TP,), seconds))

    def committed(self, commit: c.Commit, error: str | None = None, **how: bool) -> list[c.Command]:
        return self.on(e.Committed(commit.marks, error, **how))

    def delivered(
        self, ticket: int, failure: Failure | None = None, **how: bool
    ) -> list[c.Command]:
        return self.on(e.Delivered(ticket, failure, **how))

    def stop(self, grace: float = 30.0) -> list[c.Command]:
        return self.on(e.StopRequested(grace))


def running(*policies: HandlerPolicy, workers: int = 1, **limits: object) -> Supervised:
    """A supervisor whose workers have booted and that owns partition 0 of `test`."""
    supervised = Supervised(*policies, workers=workers, **limits)
    supervised.boot(*range(1, workers + 1))
    supervised.assign()
    return supervised


def those(commands: Iterable[c.Command], kind: type[Kind]) -> list[Kind]:
    """The commands of one kind."""
    return [command for command in commands if isinstance(command, kind)]


def the(commands: Iterable[c.Command], kind: type[Kind]) -> Kind:
    """The one command of a kind."""
    (command,) = those(commands, kind)
    return command


def tasks(commands: Iterable[c.Command]) -> list[Task]:
    return [send.task for send in those(commands, c.Send)]


def offsets_of(task: Task) -> list[int]:
    return [offset for segment in task.segments for offset in segment.records.offsets]


def notes(commands: Iterable[c.Command]) -> list[c.ReportKind]:
    return [report.kind for report in those(commands, c.Report)]


def marks(commands: Iterable[c.Command]) -> Mapping[TopicPartition, int]:
    """Offsets of the one commit among the commands."""
    return {p: mark.offset for p, mark in the(commands, c.Commit).marks.items()}


def ordering_policies() -> list[HandlerPolicy]:
    return [policy(ordering=ordering) for ordering in Ordering]
