"""No-op handlers, 100 bytes, two million messages, against a process that only consumes."""

from __future__ import annotations

import os
import time
import uuid

from confluent_kafka import Consumer

import kqworker.run
from benchmarks import ground
from kqworker.core.snapshot import Snapshot
from kqworker.exits import Exit
from kqworker.kafka.properties import consumer_properties
from kqworker.run import AppReference, run
from kqworker.settings.settings import Settings
from kqworker.watch.interface import Several

COUNT = 2_000_000
ROUNDS = 3


class Rate(Several):
    """Notes when the first and the last messages were done."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[float, int]] = []

    def tick(self, snapshot: object) -> None:
        """Note how many are done now."""
        assert isinstance(snapshot, Snapshot)
        if snapshot.handled:
            self.points.append((time.monotonic(), snapshot.handled))

    def per_second(self) -> float:
        """Return the messages per second between the first and the last point."""
        (began, first), (ended, last) = (
            self.points[0],
            next(p for p in self.points if p[1] == self.points[-1][1]),
        )
        return (last - first) / (ended - began)


def consuming(brokers: str, topic: str) -> float:
    """Return the messages per second of a process that only consumes, tuned as ours is."""
    consumer = Consumer(consumer_properties(brokers, uuid.uuid4().hex))
    consumer.subscribe([topic])
    got, began = 0, 0.0
    while got < COUNT:
        batch = consumer.consume(10_000, 0.1)
        if batch and not began:
            began = time.monotonic()
        got += len(batch)
    seconds = time.monotonic() - began
    consumer.close()
    return COUNT / seconds


def handling(brokers: str, topic: str) -> float:
    """Return the messages per second of no-op handlers in two workers."""
    kqworker.run.TICK_SECONDS = 0.02  # type: ignore[misc]  # the points are that exact
    settings = Settings(
        brokers=(brokers,),
        group=uuid.uuid4().hex,
        workers=2,
        until_caught_up=True,
        app_dir=str(ground.HERE.parent),
    )
    from benchmarks.apps import noop  # now that its topic is known

    rate = Rate()
    code = run(noop, settings, reference=AppReference("benchmarks.apps:noop"), watch=rate)
    assert code is Exit.CLEAN, code
    return rate.per_second()


def main(brokers: str) -> bool:
    """Print the share."""
    topic = ground.fill(brokers, COUNT, 12, lambda _: b"x" * 100)
    os.environ["BENCH_TOPIC"] = topic  # for the workers too
    ratios, rates = [], []
    for _ in range(ROUNDS):
        alone = consuming(brokers, topic)
        rates.append(handling(brokers, topic))
        ratios.append(rates[-1] / alone)
    note = f"{COUNT:,} messages, {max(rates):,.0f}/s at best"
    return ground.say("no-op handlers, share of a bare consumer", ratios, 0.3, note)
