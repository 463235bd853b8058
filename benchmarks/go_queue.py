"""Our Queue and go-queue itself, on one topic with one configuration and handlers that do nothing.

Both load the same file: go-queue's defaults, and `Processors: 2`. Needs Go, which builds the
original as the tests do. A ratio above 1 is ours being faster, or sooner.
"""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

import kqworker.run
from benchmarks import ground
from benchmarks.latency import COUNT as ARRIVALS
from benchmarks.latency import RATE
from benchmarks.throughput import Rate
from kqworker.exits import Exit
from kqworker.kq import load
from kqworker.kq.queue.consuming import QueueApp
from kqworker.kq.queue.queue import run_app, understood
from tests.interop import groups

GO = ground.HERE.parent / "tests" / "interop" / "go"
COUNT = 1_000_000
ROUNDS = 3
PARTITIONS = 12
# So many come first and are not looked at: the first fetches wait for single partitions.
WARM = 400
# Their time, in the far future: they arrive before they were sent.
NEVER = b"1e18"
DEFAULTS: Mapping[str, object] = {}
TWO: Mapping[str, object] = {"Processors": 2}
# Not to wait for 10 KiB, kq's default, which takes both a third of a second at this rate.
AT_ONCE: Mapping[str, object] = {"MinBytes": 1}
# As for the handlers of an app over a bare poll loop.
MOST_ADDED_MS: Mapping[float, float] = {0.5: 1.0, 0.99: 8.0}


def nothing(key: str, value: str) -> None:
    """Do nothing."""


def arrive(key: str, value: str) -> None:
    """Note how long the message was on its way."""
    late = time.monotonic() - float(value)
    path = Path(os.environ["BENCH_FOLDER"]) / str(os.getpid())
    with path.open("ab") as file:
        file.write(struct.pack("d", late))


def produce(brokers: str, topic: str) -> None:
    """Send messages evenly: first some that are not looked at, then those with the time."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0})
    due = time.monotonic()
    for i in range(WARM + ARRIVALS):
        due += 1 / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        value = NEVER if i < WARM else repr(time.monotonic()).encode()
        producer.produce(topic, value, partition=i % PARTITIONS)
        producer.poll(0)
    producer.flush()


class Sides:
    """Runs one side and the other.

    Args:
        folder: For the program and the files.
        brokers: Where the messages are.
    """

    def __init__(self, folder: Path, brokers: str) -> None:
        self.folder = folder
        self.brokers = brokers
        self.program = folder / "original"
        subprocess.run(["go", "build", "-o", str(self.program), "."], cwd=GO, check=True)

    def configuration(self, topic: str, fields: Mapping[str, object]) -> tuple[Path, str]:
        """Return a file that both load, and its group."""
        group = uuid.uuid4().hex
        values = {
            "Name": "bench",
            "Log": {"Encoding": "json", "Stat": False},
            "Brokers": self.brokers.split(","),
            "Group": group,
            "Topic": topic,
            "Offset": "first",
            **fields,
        }
        path = self.folder / f"{group}.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path, group

    # -- messages a second

    def throughput_there(self, topic: str, fields: Mapping[str, object]) -> float:
        """Return the messages per second of the original."""
        path, _ = self.configuration(topic, fields)
        told = self._told(self._start(path, COUNT))
        return COUNT / float(told["Seconds"])

    def throughput_here(self, topic: str, fields: Mapping[str, object]) -> float:
        """Return the messages per second of ours."""
        own = {"until_caught_up": True, "app_dir": str(ground.HERE.parent)}
        path, _ = self.configuration(topic, {**fields, "Kqworker": own})
        rate = Rate()
        translation = understood(load(path))
        reference = "benchmarks.go_queue:nothing"  # by its name, which __main__ is not
        app = QueueApp(translation, nothing, reference=reference)
        code = run_app(app, translation, rate)
        assert code is Exit.CLEAN, code
        return rate.per_second()

    # -- how long a message is on its way

    def latency_there(self, fields: Mapping[str, object]) -> list[float]:
        """Return the latencies that handlers of the original see, in seconds."""
        topic = ground.fill(self.brokers, 0, PARTITIONS, lambda _: b"")
        path, group = self.configuration(topic, fields)
        process = self._start(path, WARM + ARRIVALS, "-latency")
        self._until_it_owns_all(group)
        produce(self.brokers, topic)
        return _warm(self._told(process)["Latencies"])

    def latency_here(self, fields: Mapping[str, object]) -> list[float]:
        """Return the latencies that handlers of ours see, in seconds."""
        topic = ground.fill(self.brokers, 0, PARTITIONS, lambda _: b"")
        path, group = self.configuration(topic, fields)
        folder = self.folder / group
        folder.mkdir()
        command = [sys.executable, "-m", "kqworker", "kq", "-f", str(path)]
        command += ["--app-dir", str(ground.HERE.parent), "benchmarks.go_queue:arrive"]
        process = subprocess.Popen(
            command,
            env={**os.environ, "BENCH_FOLDER": str(folder)},
            stderr=subprocess.DEVNULL,
        )
        try:
            self._until_it_owns_all(group)
            produce(self.brokers, topic)
            deadline = time.monotonic() + 10.0
            while len(seen := _warm(_read(folder))) < ARRIVALS:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{len(seen)} of {ARRIVALS} messages arrived in time")
                time.sleep(0.05)
            process.terminate()
            process.wait()
        finally:
            process.kill()
            process.wait()
        return seen

    # -- inside

    def _start(self, path: Path, count: int, *options: str) -> subprocess.Popen[str]:
        command = [str(self.program), "bench", "-f", str(path), "-count", str(count), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def _told(process: subprocess.Popen[str]) -> dict[str, list[float]]:
        out, _ = process.communicate(timeout=300)
        # Its log is on the same output.
        (told,) = [json.loads(line) for line in out.splitlines() if line.startswith('{"Handled')]
        return dict(told)

    def _until_it_owns_all(self, group: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 3})
        while True:
            state = groups.look(admin, group)
            if state.stable and sum(len(m.partitions) for m in state.members) == PARTITIONS:
                return
            time.sleep(0.1)


def _read(folder: Path) -> list[float]:
    raw = b"".join(path.read_bytes() for path in folder.iterdir())
    return [late for (late,) in struct.iter_unpack("d", raw)]


def _warm(seen: list[float]) -> list[float]:
    return [late for late in seen if late > 0]


def main(brokers: str) -> bool:
    """Print ours against the original's."""
    kqworker.run.TICK_SECONDS = 0.02  # type: ignore[misc]  # the points are that exact
    met = True
    with tempfile.TemporaryDirectory(prefix="kqworker-bench-") as folder:
        sides = Sides(Path(folder), brokers)
        topic = ground.fill(brokers, COUNT, PARTITIONS, lambda _: b"x" * 100)
        for name, fields in (("8 processors", DEFAULTS), ("2 processors", TWO)):
            there, here = [], []
            for _ in range(ROUNDS):
                there.append(sides.throughput_there(topic, fields))
                here.append(sides.throughput_here(topic, fields))
            ratios = [ours / original for ours, original in zip(here, there, strict=True)]
            note = f"{max(here):,.0f}/s, go-queue {max(there):,.0f}/s at best"
            met = ground.say(f"no-op, {name}, ours to go-queue", ratios, 1.0, note) and met
        for name, fields in (("8 processors", DEFAULTS), ("2 processors", TWO)):
            for q, pairs in rounds_of(sides, fields).items():
                ratios = [original / ours for original, ours in pairs]
                ms = [f"{1000 * min(side):.2f} ms" for side in zip(*pairs, strict=True)]
                text = f"p{100 * q:.0f} of latency, {name}, go-queue to ours"
                note = f"{ms[1]}, go-queue {ms[0]} at best"
                met = ground.say(text, ratios, 1.0, note) and met
        # Here nothing hides the way into another process, which go-queue's handlers have not.
        for q, pairs in rounds_of(sides, AT_ONCE).items():
            added = statistics.median(1000 * (ours - original) for original, ours in pairs)
            bound = MOST_ADDED_MS[q]
            print(
                f"p{100 * q:.0f} of latency, MinBytes 1, added to go-queue's: {added:+.2f} ms "
                f"(at most {bound:g})",
                flush=True,
            )
            met = met and added <= bound
    return met


def rounds_of(sides: Sides, fields: Mapping[str, object]) -> dict[float, list[tuple[float, float]]]:
    """Return, for the median and the 99th percentile, the original's and ours of each round."""
    rounds = [(sides.latency_there(fields), sides.latency_here(fields)) for _ in range(ROUNDS)]
    return {
        q: [(ground.quantile(a, q), ground.quantile(b, q)) for a, b in rounds]
        for q in MOST_ADDED_MS
    }
