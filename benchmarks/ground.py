"""What every benchmark stands on: a broker, filled topics, a run of the real command line.

Without `--brokers` an Apache Kafka of its own is started, as in the tests (it needs Java
and Maven). The app under test runs by `python -m kqworker run` with the default settings.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

HERE = Path(__file__).parent


@contextlib.contextmanager
def broker(given: str | None) -> Iterator[str]:
    """Lend the address of a broker."""
    if given is not None:
        yield given
        return
    from tests.kafka.cluster import Cluster

    with Cluster.start(1, lasting=True) as cluster:
        yield cluster.bootstrap


def fill(brokers: str, count: int, partitions: int, value: Callable[[int], bytes]) -> str:
    """Create a topic with `count` messages, spread evenly; return its name."""
    name = f"bench-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 3})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "linger.ms": 20,
            "batch.size": 500_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for i in range(count):
        while True:
            try:
                producer.produce(name, value(i), partition=i % partitions)
                break
            except BufferError:
                producer.poll(0.1)
        if i % 1000 == 0:
            producer.poll(0)
    producer.flush()
    return name


class Running:
    """`kqworker run` in a process, with a folder in which its handlers leave what they saw."""

    def __init__(self, brokers: str, app: str, topic: str, *options: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kqworker-bench-")
        self.folder = Path(self._folder.name)
        environment = {
            **os.environ,
            "BENCH_TOPIC": topic,
            "BENCH_FOLDER": str(self.folder),
            "PYTHONPATH": str(HERE.parent),
        }
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "kqworker", "run", f"benchmarks.apps:{app}"),
                *("--brokers", brokers, "--group", uuid.uuid4().hex, "--log-format", "json"),
                *options,
            ],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, event: str) -> dict[str, object]:
        """Return the log line of an event, when it comes."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with contextlib.suppress(json.JSONDecodeError):
                said = json.loads(line)
                if said.get("event") == event:
                    return dict(said)
        raise RuntimeError(f"{event!r} never came; exit {self._process.wait()}")

    def ended(self) -> dict[str, object]:
        """Wait for the end; return its summary."""
        summary = self.wait_for("finished")
        if self._process.wait():
            raise RuntimeError(f"exit {self._process.returncode}: {summary}")
        return summary

    def stop(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def seen(self) -> list[dict[str, float]]:
        """Return what each worker left."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))]

    def close(self) -> None:
        """Make sure that nothing stays."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._folder.cleanup()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def span(seen: list[dict[str, float]]) -> float:
    """Return the seconds from the first message's start to the last one's end, over workers."""
    return max(s["last"] for s in seen) - min(s["first"] for s in seen)


def say(name: str, ratios: list[float], bound: float, note: str = "") -> bool:
    """Print a figure: the median of ratios, and the bound that it is held to."""
    median = statistics.median(ratios)
    each = " ".join(f"{ratio:.3f}" for ratio in ratios)
    met = median >= bound
    verdict = "" if met else "  BELOW"
    print(f"{name}: {median:.2f} (at least {bound}){verdict}   [{each}] {note}", flush=True)
    return met


def quantile(values: list[float], q: float) -> float:
    """Return the value below which the fraction `q` lies."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]
