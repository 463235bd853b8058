"""One run of one way to fetch, in the same core and with the same workers; see fetching.py.

Decides what is noted while it runs. Has the app that is run: a forkserver imports this.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kqworker import App

if TYPE_CHECKING:
    from kqworker.core.commands import Command, Produce
    from kqworker.core.events import Event
    from kqworker.core.snapshot import Snapshot
    from kqworker.core.supervisor import Supervisor

ROOT = Path(__file__).parents[1]
PARTITIONS = 12
WORKERS = 2
# Set before the first worker is started: a forkserver keeps the environment that it found.
LATENCIES = "FETCHING_LATENCIES"

app = App("fetching")
_latencies: list[float] = []


@app.handler(topic="^fetching-count-")
def count(value: bytes) -> None:
    """Do nothing: what is left is the cost of handing over."""


@app.handler(topic="^fetching-stamp-")
def stamp(value: str) -> None:
    """Note how old the message is when its handler begins, then take a while."""
    now = time.monotonic()
    sent, work = map(float, value.split())
    if sent:
        _latencies.append(now - sent)
    time.sleep(work)


@app.on_worker_stop
def write_latencies() -> None:
    """Hand the notes to the benchmark."""
    if _latencies:
        Path(os.environ[LATENCIES], str(os.getpid())).write_text(json.dumps(_latencies))


@dataclass
class Watched:
    """A core that notes when what happened.

    Attributes:
        first: When the first messages came in.
        done: When each answer of a worker came.
        released: Whether partitions were given back.
        on_revoked: Called at each `Revoked`.
    """

    core: Supervisor
    on_revoked: Callable[[], None]
    first: float = 0.0
    done: list[float] = field(default_factory=list)
    released: bool = False

    @property
    def seconds(self) -> float:
        """From the first messages to the last answer."""
        return self.done[-1] - self.first

    def start(self, now: float) -> list[Command]:
        return self.core.start(now)

    def deadline(self) -> float | None:
        return self.core.deadline()

    def snapshot(self) -> Snapshot:
        return self.core.snapshot()

    def handle(self, event: Event, now: float) -> list[Command]:
        from kqworker.core import commands, events

        match event:
            case events.Fetched() if event.records and not self.first:
                self.first = now
            case events.Finished(complete=True):
                self.done.append(now)
            case events.Revoked():
                self.on_revoked()
        out = self.core.handle(event, now)
        self.released |= any(isinstance(command, commands.Release) for command in out)
        return out


class NoSink:
    """Nothing is produced here."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()

    def fileno(self) -> int:
        return self._reader.fileno()

    def events(self) -> Sequence[Event]:
        return ()

    def produce(self, command: Produce) -> None:
        raise AssertionError(command)

    def close(self, timeout: float) -> bool:
        self._reader.close()
        self._writer.close()
        return True


class Clock:
    """The loop's clock."""

    def now(self) -> float:
        return time.monotonic()


@dataclass
class Run:
    """What one run gave; `cpu` is the supervisor's, all threads, in seconds."""

    watched: Watched
    latencies: list[float]
    cpu: float


Chore = Callable[[Watched, str], "Iterable[Event]"]


def run(
    shape: str,
    brokers: str,
    topic: str,
    chore: Chore,
    on_revoked: Callable[[], None] = lambda: None,
) -> Run:
    """Run a shape until the chore, asked ten times a second, has brought it to its end.

    Args:
        shape: "a" or "b".
        brokers: Where Kafka is.
        topic: What to handle; its prefix names the handler.
        chore: Gets what is watched and the group's name; returns events for the core.
        on_revoked: Called when the group takes partitions back.
    """
    from benchmarks.polling import PollingLoop, PollingSource
    from kqworker.core.limits import Limits
    from kqworker.core.supervisor import Supervisor
    from kqworker.kafka.properties import consumer_properties
    from kqworker.kafka.source import KafkaSource
    from kqworker.runtime.loop import Loop, Signals, Stop
    from kqworker.runtime.process import ProcessWorkers
    from kqworker.runtime.spec import WorkerSpec

    group = f"{topic}-{shape}-{time.monotonic_ns()}"
    properties = consumer_properties(brokers, group)
    workers = ProcessWorkers(WorkerSpec("benchmarks.shapes:app", app_dir=str(ROOT)))
    sink = NoSink()
    core = Supervisor(app.policies(), Limits(workers=WORKERS), random.Random(1))
    watched = Watched(core, on_revoked)
    cpu = time.process_time()
    with Signals(()) as signals, Stop() as stop:
        source: PollingSource | KafkaSource
        loop: PollingLoop | Loop
        if shape == "a":
            source = PollingSource(properties, [topic])
            loop = PollingLoop(watched, source, workers)
        else:
            source = KafkaSource([properties], [topic])
            clock = Clock()
            loop = Loop(
                watched,
                source,
                sink,
                workers,
                clock,
                lambda _: None,
                signals,
                lambda _: (),
                stop,
                lambda _: (),
            )
        loop.every(0.1, lambda: chore(watched, group))
        loop.run()
    cpu = time.process_time() - cpu
    source.close(5.0)
    workers.close(5.0)
    sink.close(0.0)
    found: list[float] = []
    for path in Path(os.environ[LATENCIES]).iterdir():
        found += json.loads(path.read_text())
        path.unlink()
    return Run(watched, found, cpu)


@contextmanager
def a_topic(brokers: str, kind: str, messages: int = 0) -> Iterator[str]:
    """Make a topic with messages of 100 bytes in it; delete it afterwards."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = f"fetching-{kind}-{os.getpid()}-{time.monotonic_ns()}"
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 3})
    for future in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        future.result()
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20})
    for number in range(messages):
        while True:
            try:
                producer.produce(topic, b"x" * 100, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    try:
        yield topic
    finally:
        for future in admin.delete_topics([topic]).values():
            future.result()
