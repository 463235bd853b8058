"""From produce to handler at 200 messages a second, against a bare poll loop."""

from __future__ import annotations

import statistics
import threading
import time
import uuid

from confluent_kafka import Consumer, Producer

from benchmarks import ground
from kqworker.kafka.properties import consumer_properties

RATE = 200
COUNT = 2_000
ROUNDS = 3
WARM = 20  # the first fetch, the first import


def produce(brokers: str, topic: str, count: int) -> None:
    """Send messages that carry the time, evenly."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0})
    due = time.monotonic()
    for i in range(count):
        due += 1 / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        producer.produce(topic, repr(time.monotonic()).encode(), partition=i % 12)
        producer.poll(0)
    producer.flush()


def polling(brokers: str, topic: str) -> list[float]:
    """Return the latencies that a bare poll loop sees, in seconds."""
    properties = consumer_properties(brokers, uuid.uuid4().hex)
    consumer = Consumer(properties)
    joined: list[object] = []
    consumer.subscribe([topic], on_assign=lambda *_: joined.append(True))
    while not joined:
        consumer.poll(0.1)
    thread = threading.Thread(target=produce, args=(brokers, topic, COUNT))
    thread.start()
    seen: list[float] = []
    while len(seen) < COUNT:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            seen.append(time.monotonic() - float(message.value() or b"0"))
    thread.join()
    consumer.close()
    return seen[WARM:]


def handling(brokers: str, topic: str) -> list[float]:
    """Return the latencies that handlers see, in seconds."""
    with ground.Running(brokers, "prompt", topic, "--workers", "2") as running:
        running.wait_for("ready")
        produce(brokers, topic, COUNT)
        time.sleep(1.0)  # all of them are on their way, or something is very wrong
        running.stop()
        running.ended()
        seen = [latency for told in running.seen() for latency in told["latencies"]]
    if len(seen) != COUNT:
        raise RuntimeError(f"{len(seen)} of {COUNT} messages arrived in time")
    return sorted(seen)[: COUNT - WARM]


def main(brokers: str) -> bool:
    """Print what the hand-over to a worker costs, at the median and at the 99th percentile."""
    extra: dict[float, list[float]] = {0.5: [], 0.99: []}
    for _ in range(ROUNDS):
        alone = polling(brokers, ground.fill(brokers, 0, 12, lambda _: b""))
        ours = handling(brokers, ground.fill(brokers, 0, 12, lambda _: b""))
        for q, differences in extra.items():
            differences.append(1000 * (ground.quantile(ours, q) - ground.quantile(alone, q)))
    half, most = statistics.median(extra[0.5]), statistics.median(extra[0.99])
    print(
        f"latency over a bare poll loop: p50 +{half:.2f} ms (at most 1), "
        f"p99 +{most:.2f} ms (at most 8)",
        flush=True,
    )
    return half <= 1 and most <= 8
