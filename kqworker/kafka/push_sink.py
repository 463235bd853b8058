"""Pushes outside of workers, into Kafka.

Decides what it tells a `Delivery`. Tested by tests/kafka_unit/test_push_sink.py
and tests/kafka/test_sink.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message

from kqworker.app.delivery import Delivery
from kqworker.errors import BrokerError
from kqworker.kafka import refusals
from kqworker.kafka.counting import counted
from kqworker.kafka.outgoing import Outgoing
from kqworker.types import Output


@dataclass(slots=True, eq=False)
class _Pushed:
    """A pushed record."""

    output: Output
    delivery: Delivery

    def delivered(self, message: Message) -> None:
        # The offset is None if the broker found that it has the record already.
        self.delivery._resolve(message.partition(), message.offset())

    def refused(self, error: KafkaError, text: str) -> None:
        text = f"the record cannot be delivered: {text}"
        self.delivery._fail(BrokerError(text, retriable=error.code() not in refusals.FINAL))

    def lost(self, error: BrokerError) -> None:
        if not self.delivery.done:
            self.delivery._fail(BrokerError(f"the record may not be delivered: {error}"))


class KafkaPushSink:
    """The sink of pushes; every method is safe to call from several threads.

    Args:
        outgoing: Delivers the records; the sink starts and closes it.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        outgoing.start(lambda: None)

    @property
    def fatal(self) -> BrokerError | None:
        """Why it delivers nothing and answers nothing any more; None while it works."""
        return self._outgoing.fatal

    @property
    def full(self) -> str:
        """Why records wait for room in a topic; empty if there is room, as always on Kafka."""
        return self._outgoing.full

    def send(
        self,
        output: Output,
        delivery: Delivery | None = None,
        timeout: float | None = None,
        given_up: Callable[[], bool] | None = None,
    ) -> Delivery:
        """Produce a record; wait only for room, and raise, as `Outgoing.push` does.

        Args:
            output: The record.
            delivery: It is told how the record ends; None for a new one.
            timeout: Seconds to wait for room, at least 0; None waits without a limit.
            given_up: Asked while it waits: whether to give up.

        Returns:
            The delivery; if it fails, it has a BrokerError.
        """
        delivery = Delivery() if delivery is None else delivery
        self._outgoing.push(_Pushed(output, delivery), timeout, given_up)
        return delivery

    def partitions(
        self, topic: str, timeout: float, given_up: Callable[[], bool] | None = None
    ) -> int:
        """Return how many partitions a topic has; wait for one that does not exist.

        If `allow.auto.create.topics` is set, the question creates the topic.

        Args:
            topic: Its name.
            timeout: Seconds, above 0.
            given_up: Asked while it waits: whether to give up.

        Raises:
            BrokerError: The topic does not exist, Kafka does not answer, or it gave up.
            RuntimeError: The sink is closed.
        """
        return counted(self._outgoing.client(), topic, timeout, given_up, self._outgoing.why)

    def begin_close(self, timeout: float) -> None:
        """Take no more records, and start the time of a close; do not wait."""
        self._outgoing.begin_close(timeout)

    def close(self, timeout: float) -> bool:
        """Wait for records under way, as `Outgoing.close` does."""
        return self._outgoing.close(timeout)
