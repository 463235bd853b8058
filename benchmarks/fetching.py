"""Two ways to fetch: (a) the loop polls the consumer itself, (b) a thread owns each consumer.

Same core, same workers, same columns; only who calls the consumer differs. (b) is what
kqworker does, `KafkaSource` and `Loop`; (a) is `polling.py`; a run of either, `shapes.py`. The
figures that decided stand in docs/decisions/0004-fetch-threads.md.

    python -m benchmarks.fetching --brokers localhost:9092
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from benchmarks.shapes import LATENCIES, PARTITIONS, ROOT, WORKERS, Run, Watched, a_topic, run

if TYPE_CHECKING:
    from kqworker.core.events import Event


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
