"""How many partitions a topic has, as a producer finds out.

Decides how long to wait for a topic that does not exist. Keeps nothing.
Tested by tests/kafka_unit/test_push_sink.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from kqworker.errors import BrokerError
from kqworker.kafka import refusals

# How long one question may take, and the pause between two.
ASK = 1.0
PAUSE = 0.05


def counted(
    producer: Producer,
    topic: str,
    timeout: float,
    given_up: Callable[[], bool] | None,
    heard: Callable[[], str],
) -> int:
    """Return how many partitions a topic has; wait for one that does not exist.

    Args:
        producer: The producer that asks.
        topic: Its name.
        timeout: Seconds, above 0.
        given_up: Asked while it waits: whether to give up.
        heard: Why brokers cannot be reached; empty if that is not known.

    Raises:
        BrokerError: The topic does not exist, Kafka does not answer, or it gave up.
    """
    deadline = time.monotonic() + timeout
    while True:
        # Short calls, so that Ctrl-C is answered in between.
        patience = min(ASK, max(deadline - time.monotonic(), PAUSE))
        try:
            found = producer.list_topics(topic, timeout=patience).topics[topic]
            error = found.error
            count = len(found.partitions)
        except KafkaException as raised:
            error, count = raised.args[0], 0
        if count and error is None:
            return count
        over = time.monotonic() >= deadline or (given_up is not None and given_up())
        if over or (error is not None and error.code() in refusals.REFUSED):
            text = refusals.reason(error, topic, heard())
            text = f"cannot read how many partitions there are: {text}"
            raise BrokerError(text, error is not None and error.code() not in refusals.FINAL)
        time.sleep(PAUSE)
