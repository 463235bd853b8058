"""Two ways to fetch: (a) the loop polls the consumer itself, (b) a thread owns each consumer.

Same core, same workers, same columns; only who calls the consumer differs. (b) is what
kqworker does, `KafkaSource` and `Loop`; (a) is `polling.py`. The figures that decided stand in
docs/decisions/0004-fetch-threads.md.

    python -m benchmarks.fetching --brokers localhost:9092
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
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


def produce_stamps(brokers: str, topic: str, rate: float, seconds: float, work: float) -> None:
    """Produce the time, `rate` times a second, to one partition after the other."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0})
    due = time.monotonic()
    for number in range(int(rate * seconds)):
        due += 1 / rate
        while (left := due - time.monotonic()) > 0:
            producer.poll(0)
            time.sleep(min(left, 0.002))
        # The first second counts for nothing: connections are opened, topics looked up.
        sent = time.monotonic() if number >= rate else 0.0
        producer.produce(topic, f"{sent} {work}".encode(), partition=number % PARTITIONS)
        producer.poll(0)
    producer.flush()


# -- one run


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
    from kqworker.core.supervisor import Limits, Supervisor
    from kqworker.kafka.properties import consumer_properties
    from kqworker.kafka.source import KafkaSource
    from kqworker.runtime.loop import Loop, Signals
    from kqworker.runtime.process import ProcessWorkers
    from kqworker.runtime.spec import WorkerSpec

    group = f"{topic}-{shape}-{time.monotonic_ns()}"
    properties = consumer_properties(brokers, group)
    workers = ProcessWorkers(WorkerSpec("benchmarks.fetching:app", app_dir=str(ROOT)))
    sink = NoSink()
    core = Supervisor(app.policies(), Limits(workers=WORKERS), random.Random(1))
    watched = Watched(core, on_revoked)
    cpu = time.process_time()
    with Signals(()) as signals:
        source: PollingSource | KafkaSource
        loop: PollingLoop | Loop
        if shape == "a":
            source = PollingSource(properties, [topic])
            loop = PollingLoop(watched, source, workers)
        else:
            source = KafkaSource([properties], [topic])
            clock = Clock()
            loop = Loop(
                watched, source, sink, workers, clock, lambda _: None, signals, lambda _: ()
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
    admin = AdminClient({"bootstrap.servers": brokers})
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


# -- what is measured


def throughput(shape: str, brokers: str, topic: str, messages: int) -> Run:
    """Handle what there is, as fast as it goes."""
    from kqworker.core.events import CatchUp
    from kqworker.types import TopicPartition

    ends = {
        TopicPartition(topic, p): len(range(p, messages, PARTITIONS)) for p in range(PARTITIONS)
    }
    told = False

    def chore(watched: Watched, group: str) -> Iterable[Event]:
        nonlocal told
        told, before = True, told
        return [] if before else [CatchUp(ends)]

    return run(shape, brokers, topic, chore)


def latency(shape: str, brokers: str, seconds: float, work: float) -> Run:
    """Handle 200 messages a second as they come."""
    from kqworker.core.events import StopRequested

    stopping = False

    def chore(watched: Watched, group: str) -> Iterable[Event]:
        nonlocal stopping
        now = watched.snapshot()
        if now.workers_ready == WORKERS and now.partitions == PARTITIONS:
            producer.start()
        if producer.over and now.held == 0 and not stopping:
            stopping = True
            return [StopRequested(5.0)]
        return []

    with a_topic(brokers, "stamp") as topic:
        producer = Stamps(brokers, topic, 200, seconds, work)
        return run(shape, brokers, topic, chore)


def drain(
    shape: str, brokers: str, on_revoked: Callable[[], None] = lambda: None
) -> tuple[Run, float]:
    """Let another member join while both workers are busy with messages of 0.2 s.

    Args:
        shape: "a" or "b".
        brokers: Where Kafka is.
        on_revoked: Called when the group takes partitions back.

    Returns:
        The run, and the longest time in which no worker finished anything.
    """
    from confluent_kafka import Consumer

    from kqworker.core.events import StopRequested
    from kqworker.kafka.properties import consumer_properties

    other: Consumer | None = None
    began = ended = 0.0

    def chore(watched: Watched, group: str) -> Iterable[Event]:
        nonlocal other, began, ended
        now = time.monotonic()
        if watched.snapshot().partitions == PARTITIONS:
            producer.start()
        if other is None and len(watched.done) > 10:
            began = now
            other = Consumer(consumer_properties(brokers, group))
            other.subscribe([topic])
        if other is not None and not ended:
            other.poll(0)
            if watched.released and now > began + 8:
                ended = now
                return [StopRequested(5.0)]
        return []

    with a_topic(brokers, "stamp") as topic:
        producer = Stamps(brokers, topic, 100, 15, 0.2)
        result = run(shape, brokers, topic, chore, on_revoked)
        if other is not None:
            other.close()
        producer.wait()
    times = [at for at in result.watched.done if began <= at <= ended]
    return result, max(later - at for at, later in itertools.pairwise(times))


class Stamps:
    """A process that runs `produce_stamps`, once it is started."""

    def __init__(self, brokers: str, topic: str, rate: float, seconds: float, work: float) -> None:
        given = {"brokers": brokers, "stamps": topic, "rate": rate}
        given |= {"seconds": seconds, "work": work}
        arguments = [f"--{name}={value}" for name, value in given.items()]
        self._command = [sys.executable, "-m", "benchmarks.fetching", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; a second time does nothing."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, cwd=ROOT)

    @property
    def over(self) -> bool:
        """Whether it has been started and has ended."""
        return self._process is not None and self._process.poll() is not None

    def wait(self) -> None:
        """Wait for its end."""
        if self._process is not None:
            self._process.wait()


def compare(brokers: str, messages: int, seconds: float, rounds: int) -> None:
    """Measure everything; print the best of all rounds, and ratios.

    The best, because whatever else the machine does only makes a run worse.
    """
    print(f"{'':38}{'(a) loop polls':>16}{'(b) threads':>16}{'b/a':>8}")
    with a_topic(brokers, "count", messages) as topic:
        runs = in_turn(rounds, lambda shape: throughput(shape, brokers, topic, messages))
    row(f"no-op, {messages:,}: messages/s", runs, lambda r: messages / r.watched.seconds, ",.0f")
    row("  supervisor's CPU, µs a message", runs, lambda r: r.cpu / messages * 1e6, ".2f")
    for work in (0.0, 0.005):
        runs = in_turn(rounds, lambda shape, w=work: latency(shape, brokers, seconds, w))
        name = f"200/s, {work * 1000:g} ms each:"
        row(f"{name} latency p50, ms", runs, lambda r: percentile(r.latencies, 0.5) * 1000, ".2f")
        row("  p99, ms", runs, lambda r: percentile(r.latencies, 0.99) * 1000, ".2f")
        row("  supervisor's CPU, s", runs, lambda r: r.cpu, ".2f")
    runs = in_turn(rounds, lambda shape: drain(shape, brokers))
    row("200 ms each, another joins: silent, s", runs, lambda r: r[1], ".2f")


def in_turn(rounds: int, measure: Callable[[str], object]) -> dict[str, list]:
    """Measure both shapes in turn, so that what else the machine does meets both."""
    runs: dict[str, list] = {"a": [], "b": []}
    for number in range(rounds):
        for shape in "ab" if number % 2 == 0 else "ba":
            runs[shape].append(measure(shape))
    return runs


def percentile(values: list[float], part: float) -> float:
    """Return the value that this part of all values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def row(name: str, runs: dict[str, list], of: Callable[[object], float], form: str) -> None:
    """Print one line: the best of both shapes, and their ratio."""
    best = max if "messages/s" in name else min
    a, b = (best(map(of, runs[shape])) for shape in "ab")
    print(f"{name:38}{a:>16{form}}{b:>16{form}}{b / a:>8.2f}", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--messages", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each latency run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stamps", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=float, default=0.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stamps:
        produce_stamps(given.brokers, given.stamps, given.rate, given.seconds, given.work)
        return
    with tempfile.TemporaryDirectory() as directory:
        os.environ[LATENCIES] = directory
        compare(given.brokers, given.messages, given.seconds, given.rounds)


if __name__ == "__main__":
    main()
