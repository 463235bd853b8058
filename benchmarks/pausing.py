"""What a pause costs: librdkafka throws away what it had prefetched, and fetches it again.

    python -m benchmarks.pausing --brokers localhost:9092

docs/decisions/0009-pause-and-hold.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

SIZE = 1000


@contextmanager
def a_topic(brokers: str, messages: int) -> Iterator[str]:
    """Make a topic of one partition with messages of 1000 bytes; delete it afterwards."""
    topic = f"pausing-{os.getpid()}-{time.monotonic_ns()}"
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 3})
    for future in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        future.result()
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20})
    for _ in range(messages):
        producer.produce(topic, os.urandom(SIZE))
        producer.poll(0)
    producer.flush()
    try:
        yield topic
    finally:
        for future in admin.delete_topics([topic]).values():
            future.result()


def measure(brokers: str, topic: str, messages: int, pause: bool) -> tuple[float, float]:
    """Read everything, in parts of 100 with a break of 10 ms behind each.

    Args:
        brokers: Where Kafka is.
        topic: What to read.
        messages: How many there are.
        pause: Pause the partition in each break; otherwise only do not ask.

    Returns:
        Bytes fetched per byte read, and seconds.
    """
    fetched = 0

    def count(text: str) -> None:
        nonlocal fetched
        fetched = json.loads(text)["rx_bytes"]

    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": topic,
            "statistics.interval.ms": 100,
            "stats_cb": count,
            "fetch.queue.backoff.ms": 5,
        }
    )
    partition = TopicPartition(topic, 0, 0)
    consumer.assign([partition])
    read = 0
    began = time.monotonic()
    while read < messages:
        read += len(consumer.consume(100, 0.2))
        if pause:
            consumer.pause([partition])
        time.sleep(0.01)
        if pause:
            consumer.resume([partition])
    seconds = time.monotonic() - began
    consumer.poll(0.3)  # the last statistics
    consumer.close()
    return fetched / (messages * SIZE), seconds


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--messages", type=int, default=5_000)
    given = parser.parse_args()
    with a_topic(given.brokers, given.messages) as topic:
        for name, pause in (("not asking", False), ("pausing", True)):
            bytes_, seconds = measure(given.brokers, topic, given.messages, pause)
            print(f"{name:12} {bytes_:6.2f} bytes fetched for each that was read, {seconds:.1f} s")


if __name__ == "__main__":
    main()
