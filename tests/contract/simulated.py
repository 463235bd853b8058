"""The simulator's workers and its sink behind their ports, for the contracts that bind them too.

Messages are the verbs of tests/runtime/apps.py, as far as the contract uses them; time is
virtual and goes on by a step with every look.
"""

from __future__ import annotations

import heapq
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from kqworker.core import commands as c
from kqworker.core.events import Event, Observed
from kqworker.types import Output, Task, TopicPartition
from tests.sim.kafka import Sink
from tests.sim.scenario import Faults
from tests.sim.workers import Worker

STEP = 0.05
ENDS = {"fail": "raise", "exit": "crash", "return": "ok", "until": "ok"}
# A real worker waits for a file; here it takes so long, in virtual seconds.
LONG = 1.5


@dataclass
class Verb:
    """A message as the simulator's workers see one."""

    text: str
    partition: TopicPartition
    offset: int
    key: bytes | None
    charged: int = 0
    returned: bool = False
    rejected: bool = False
    denied: bool = False
    comes_round: bool = False

    @property
    def verb(self) -> str:
        return self.text.partition(" ")[0]

    @property
    def seconds(self) -> float:
        return LONG if self.verb == "until" else 0.01

    @property
    def outputs(self) -> int:
        return int(self.verb == "return")

    def goes(self, attempt: int) -> str:
        return ENDS.get(self.verb, self.verb)


def messages_of(task: Task) -> tuple[Sequence[Verb], Sequence[int]]:
    messages: list[Verb] = []
    attempts: list[int] = []
    for segment in task.segments:
        records = segment.records
        keys = records.keys or [None] * len(records)
        for value, offset, key in zip(records.values, records.offsets, keys, strict=True):
            messages.append(Verb((value or b"").decode(), records.partition, offset, key))
            attempts.append(segment.attempt)
    return messages, attempts


@dataclass
class Stage:
    """What a worker needs of its `Life`."""

    now: float = 0.0
    lag: float = 0.0
    random: random.Random = field(default_factory=lambda: random.Random(1))
    faults: Faults = field(default_factory=Faults)
    world: Any = field(default_factory=lambda: SimpleNamespace(messages_of=messages_of))
    posted: list[Event] = field(default_factory=list)
    _due: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = field(
        default_factory=list
    )
    _count: int = 0

    def later(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now + seconds, self._count, call, arguments))

    def soon(self) -> float:
        return self.now + 0.001

    def post_at(self, when: float, event: Event) -> None:
        self.later(when - self.now, self.posted.append, event)

    def began(self, message: object) -> None:
        pass

    def post(self, event: Event) -> None:
        self.posted.append(event)

    def finish(self) -> None:
        while self._due:
            self.go_on()

    def go_on(self) -> None:
        until = self.now + STEP
        while self._due and self._due[0][0] <= until:
            self.now, _, call, arguments = heapq.heappop(self._due)
            call(*arguments)
        self.now = until


class SimulatedWorkers:
    """The port."""

    def __init__(self) -> None:
        self._stage = Stage()
        self._workers: dict[int, Worker] = {}
        self._last: dict[int, int] = {}
        self._ready, self._writer = socket.socketpair()
        self._writer.send(b"\0")  # there is always something to look at: time

    def fileno(self) -> int:
        return self._ready.fileno()

    def execute(self, command: c.WorkersCommand) -> None:
        if isinstance(command, c.StartWorker):
            self._workers[command.worker] = Worker(self._stage, command.worker)  # type: ignore[arg-type]
        elif isinstance(command, c.Observe):
            alive = [self._workers[n] for n in self._alive(command.workers)]
            when = max([self._stage.soon(), *(worker.told_until for worker in alive)])
            for worker in alive:
                worker.told_until = when
            running = {worker.number: worker.observed() for worker in alive}
            self._stage.post_at(when, Observed(running))
        elif self._alive((command.worker,)):
            self._to(self._workers[command.worker], command)

    def _alive(self, numbers: Iterable[int]) -> list[int]:
        return [n for n in numbers if n in self._workers and self._workers[n].alive]

    def _to(self, worker: Worker, command: c.WorkersCommand) -> None:
        match command:
            case c.Send():
                self._last[worker.number] = command.task.id
                worker.send(command.task)
            case c.Recall():
                worker.recall(self._last.get(worker.number, 0))
            case c.KillWorker():
                worker.kill(command)
            case c.StopWorker():
                worker.stop()

    def events(self) -> list[Event]:
        self._stage.go_on()
        events = self._stage.posted[:]
        self._stage.posted.clear()
        return events

    def close(self, timeout: float) -> None:
        self._ready.close()
        self._writer.close()


class SimulatedSink:
    """The simulator's sink behind the `Sink` port; what has the key `refused` is refused."""

    def __init__(self) -> None:
        self.landed: list[Output] = []
        world = SimpleNamespace(origin=self._origin, landed=self.landed.append)
        self._stage = Stage(world=world)
        self._sink = Sink(self._stage)  # type: ignore[arg-type]
        self._ready, self._writer = socket.socketpair()
        self._writer.send(b"\0")  # there is always something to look at: time

    def _origin(self, output: Output) -> SimpleNamespace:
        return SimpleNamespace(refused=output.key == b"refused", denied=False)

    def fileno(self) -> int:
        return self._ready.fileno()

    def produce(self, command: c.Produce) -> None:
        self._sink.produce(command)

    def events(self) -> list[Event]:
        self._stage.go_on()
        events, self._stage.posted = self._stage.posted, []
        return events

    def close(self, timeout: float) -> bool:
        if self._ready.fileno() >= 0:
            self._stage.finish()
            self._ready.close()
            self._writer.close()
        return True
