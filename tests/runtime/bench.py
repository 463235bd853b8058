"""Drives `ProcessWorkers` as the loop would, and says what became of each message."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from kqworker.core.commands import (
    KillWorker,
    Observe,
    OnMessage,
    OnNone,
    Recall,
    Send,
    StartWorker,
    StopWorker,
)
from kqworker.core.events import (
    BootFailed,
    Cause,
    Event,
    Finished,
    Observed,
    Running,
    WorkerDied,
    WorkerReady,
)
from kqworker.ports import Workers
from kqworker.runtime.process import ProcessWorkers
from kqworker.runtime.spec import WorkerSpec
from kqworker.types import (
    Ordering,
    Outcome,
    Records,
    Segment,
    Task,
    TopicPartition,
    Verdict,
    payload_size,
)
from tests.waiting import ended, pump, until

E = TypeVar("E", bound=Event)

ROOT = Path(__file__).parent.parent.parent
VERBS = WorkerSpec("tests.runtime.apps:app", app_dir=str(ROOT), log_level="warning")
SYNC, ASYNC, FAST = 0, 1, 2
PATIENCE = 20.0


def segment(
    values: Sequence[str | bytes],
    *,
    keys: Sequence[bytes | None] | None = None,
    partition: int = 0,
    attempt: int = 1,
    first: int = 0,
    trace: Path | None = None,
) -> Segment:
    """Messages of one partition."""
    payloads = [value.encode() if isinstance(value, str) else value for value in values]
    count = len(payloads)
    header = None if trace is None else [("trace", str(trace).encode())]
    records = Records(
        TopicPartition("verbs", partition),
        range(first, first + count),
        payloads,
        keys,
        [1_700_000_000_000] * count,
        None if header is None else [header] * count,
        payload_size(keys, payloads),
    )
    return Segment(records, attempt)


@dataclass
class Fate:
    """What became of the messages of a task, by their index."""

    accepted: list[int] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    unstarted: list[int] = field(default_factory=list)
    charged: int | None = None

    @property
    def verdicts(self) -> dict[int, Verdict]:
        return {index: outcome.verdict for index, outcome in self.outcomes.items()}


def fate(task: Task, events: Sequence[Event]) -> Fate:
    """Read the events by the letter of their documentation."""
    found = Fate()
    rest: range | None = None
    for event in events:
        if isinstance(event, Finished) and event.task == task.id:
            assert rest is None, "told again of a task that was complete"
            for outcome in event.outcomes:
                assert outcome.index not in found.outcomes
                found.outcomes[outcome.index] = outcome
            assert not set(event.unstarted) & set(found.unstarted), "handed back twice"
            found.unstarted += event.unstarted
            if event.complete:
                rest = range(len(task))
        elif isinstance(event, WorkerDied) and rest is None:
            if event.task is None:
                found.unstarted = [i for i in range(len(task)) if i not in found.outcomes]
                return found
            assert event.task == task.id
            assert event.index not in found.outcomes
            found.charged = event.index if event.cause is not Cause.STOPPED else None
            behind = range(event.index if found.charged is None else event.index + 1, len(task))
            found.unstarted += [i for i in behind if i not in found.unstarted]
            rest = range(event.index)
    assert rest is not None, f"nothing said of task {task.id}: {events}"
    found.unstarted.sort()
    known = {*found.outcomes, *found.unstarted}
    found.accepted = [i for i in rest if i not in known]
    return found


class Bench:
    """Workers and all that they ever said.

    Args:
        workers: The port; real processes by default.
    """

    def __init__(
        self,
        workers: Workers | None = None,
        *,
        spec: WorkerSpec = VERBS,
        method: str | None = None,
    ) -> None:
        self.workers = workers or ProcessWorkers(spec, method)
        self.said: list[Event] = []
        self._number = 0
        self._task = 0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close(0.0)

    # What happens

    def look(self, timeout: float) -> None:
        """Take in what there is, waiting up to `timeout` seconds for something."""
        if select.select([self.workers.fileno()], [], [], max(0.0, timeout))[0]:
            self.said += self.workers.events()

    def until(self, true: Callable[[], bool], what: str = "it") -> None:
        """Take events in until something is true; fail if it never becomes so."""
        became = pump(true, self._take, self.workers, within=PATIENCE, pause=0.02)
        assert became, f"waited {PATIENCE} s for {what}; said so far: {self.said}"

    def _take(self, workers: Workers) -> None:
        self.said += workers.events()

    def all(self, kind: type[E], worker: int | None = None) -> list[E]:
        """The events of a kind so far, of one worker or of all."""
        return [
            event
            for event in self.said
            if isinstance(event, kind)
            and (worker is None or getattr(event, "worker", None) == worker)
        ]

    def next(self, kind: type[E], worker: int) -> E:
        """Wait until a worker has said something of a kind; return the last of it."""
        self.until(lambda: bool(self.all(kind, worker)), f"a {kind.__name__} of {worker}")
        return self.all(kind, worker)[-1]

    # What is asked for

    def task_ids_from(self, first: int) -> None:
        self._task = first - 1

    def start_only(self, seat: int | None = None) -> int:
        """Start a worker, in a seat of its own unless it is said; return its number."""
        self._number += 1
        self.workers.execute(StartWorker(self._number, self._number if seat is None else seat))
        return self._number

    def start(self) -> int:
        """Start a worker and wait until it is ready."""
        worker = self.start_only()
        self.next(WorkerReady, worker)
        return worker

    def pid(self, worker: int) -> int:
        return self.next(WorkerReady, worker).pid

    def send(
        self,
        worker: int,
        *parts: Segment | Sequence[str],
        handler: int = SYNC,
        ordering: Ordering = Ordering.UNORDERED,
    ) -> Task:
        """Send a task of segments, or of lists of verbs."""
        self._task += 1
        segments = tuple(p if isinstance(p, Segment) else segment(p) for p in parts)
        task = Task(self._task, handler, ordering, segments)
        self.workers.execute(Send(worker, task))
        return task

    def recall(self, worker: int) -> None:
        self.workers.execute(Recall(worker))

    def kill(self, worker: int, only: OnMessage | OnNone | None = None) -> None:
        self.workers.execute(KillWorker(worker, only))

    def stop(self, worker: int) -> WorkerDied:
        """Stop a worker and wait for its end."""
        self.workers.execute(StopWorker(worker))
        return self.next(WorkerDied, worker)

    def observe(self, worker: int) -> Running | None:
        """Return what a worker is on."""
        before = len(self.all(Observed))
        self.workers.execute(Observe((worker,)))
        self.until(lambda: len(self.all(Observed)) > before, "an Observed")
        return self.all(Observed)[-1].running[worker]

    def until_on(self, worker: int, task: Task, index: int) -> Running:
        """Wait until a worker is on a message."""
        found: list[Running] = []

        def there() -> bool:
            running = self.observe(worker)
            if running is not None and (running.task, running.index) == (task.id, index):
                found.append(running)
            return bool(found)

        self.until(there, f"worker {worker} on message {index}")
        return found[0]

    def done(self, task: Task) -> Fate:
        """Wait until a task is complete; return what became of it."""
        self.until(lambda: self._complete(task), f"task {task.id}")
        return fate(task, self.all(Finished))

    def _complete(self, task: Task) -> bool:
        return any(event.complete for event in self.all(Finished) if event.task == task.id)

    def died(self, worker: int) -> WorkerDied:
        return self.next(WorkerDied, worker)

    def boot_failed(self, worker: int) -> BootFailed:
        return self.next(BootFailed, worker)


def wait_for_file(path: Path) -> str:
    """Return what a worker has written into a file, once it is there."""
    until(path.exists, f"{path} is there", PATIENCE)
    return path.read_text()


def wait_for_end(pid: int, seconds: float = PATIENCE) -> None:
    """Return when a process has ended; fail if it has not in time."""
    with suppress(psutil.NoSuchProcess):
        assert ended([psutil.Process(pid)], seconds), f"process {pid} is still there"
