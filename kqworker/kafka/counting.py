"""How many partitions a topic has, asked by a producer.

Decides how long a topic that does not exist is waited for. Keeps nothing.
Tested by tests/kafka_unit/test_sink.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from kqworker.errors import BrokerError
from kqworker.kafka import refusals

# How long one question may take, and between two.
ASK = 1.0
PAUSE = 0.05


def counted(
    producer: Producer,
    topic: str,
    timeout: float,
    given_up: Callable[[], bool] | None,
    heard: Callable[[], str],
) -> int:
    """Return how many partitions a topic has; one that does not exist is waited for.

    Args:
        producer: Asks.
        topic: Its name.
        timeout: Seconds, above 0.
        given_up: Asked while it waits, whether somebody has called it off.
        heard: Why brokers cannot be reached; empty where nothing is known of that.

    Raises:
        BrokerError: The topic does not exist, Kafka does not answer, or it was called off.
    """
    deadline = time.monotonic() + timeout
    while True:
        # In short calls, so that Ctrl-C is answered in between.
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
