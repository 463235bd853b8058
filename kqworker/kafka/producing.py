"""A producer of librdkafka that is replaced when it is given up.

Decides which refusals are final for a record at once, and how soon a producer follows one that
librdkafka uses no more. Locks nothing: outgoing.py does. Tested by
tests/kafka_unit/test_outgoing.py and tests/kafka/test_sink.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kqworker.kafka.properties import MESSAGE_MAX_BYTES
from kqworker.kafka.reasons import Ear
from kqworker.types import Output

# How long one call waits for deliveries, and so how soon a stop is seen.
POLL = 0.05
# What is under way at an end is answered within this.
PURGE = 1.0
# Between a producer and the next: without a right to write each is given up at once.
FIRST_PAUSE, LAST_PAUSE = 1.0, 16.0

Answered = Callable[[KafkaError | None, Message | None], None]


class Producing:
    """A producer, and the one after it.

    Args:
        properties: librdkafka's.
        ear: Hears its lines.

    Attributes:
        broken: Why librdkafka has given the present one up; None while it has not.
    """

    def __init__(self, properties: Mapping[str, str], ear: Ear) -> None:
        self.broken: KafkaError | None = None
        self._properties = properties
        self._ear = ear
        self._pause, self._due = FIRST_PAUSE, 0.0
        self.producer = self._connect()

    def __len__(self) -> int:
        return len(self.producer)

    def accepts(self, output: Output, answered: Answered) -> bool:
        """Hand a record over; return False if there is no room for it now.

        Args:
            output: The record.
            answered: Called when it is known how the record ends; that may be before this returns.
        """
        if self.broken is not None:
            return False
        try:
            try:
                self._produce(output, answered)
            except BufferError:
                if len(self.producer):
                    return False
                # Either the queue has just become empty, or it is too small for this one.
                self._produce(output, answered)
        except BufferError:
            # It would wait for ever, and all others behind it.
            text = "the record is larger than queue.buffering.max.kbytes"
            answered(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, text), None)
        except KafkaException as raised:
            error: KafkaError = raised.args[0]
            if error.code() == KafkaError._FATAL:
                self.broken = error
                return False
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                error = KafkaError(error.code(), self._too_large(output))
            answered(error, None)
        except (ValueError, OverflowError) as raised:
            # A NUL in the topic's name, a partition beyond 32 bits.
            answered(KafkaError(KafkaError._INVALID_ARG, str(raised)), None)
        return True

    def _too_large(self, output: Output) -> str:
        size = len(output.value or b"") + len(output.key or b"")
        most = self._properties.get("message.max.bytes", MESSAGE_MAX_BYTES)
        return f"its {size:,} bytes are too many: set message.max.bytes above them (now {most})"

    def serve(self, *, flush: bool) -> None:
        """Have answers given, and wait for some; flushing, not for batches to fill."""
        if self.broken is not None:
            time.sleep(POLL)
            return
        try:
            self.producer.flush(POLL) if flush else self.producer.poll(POLL)
        except KafkaException as raised:
            # This is how confluent_kafka hands over a fatal error, whatever error_cb is;
            # librdkafka has logged it.
            if raised.args[0].fatal():
                self.broken = raised.args[0]

    def went_well(self) -> None:
        """Note that a record was delivered."""
        self._pause = FIRST_PAUSE

    def successor(self) -> Producer | None:
        """Return a producer in the place of one that was given up, once it is time for it.

        What the former had not delivered is answered as failed, and its sender sends it again;
        what the broker stored without our knowing is then stored twice.
        """
        self.abandon()
        if time.monotonic() < self._due:
            return None
        producer = self._connect()
        # From now: to make one takes its time.
        self._due = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LAST_PAUSE)
        return producer

    def replace(self, producer: Producer) -> None:
        """Go on with another one."""
        self.producer, self.broken = producer, None

    def abandon(self) -> None:
        """Answer all that is under way as failed."""
        self.producer.purge()
        deadline = time.monotonic() + PURGE
        while len(self.producer) and time.monotonic() < deadline:
            try:
                self.producer.flush(POLL)
            except KafkaException:
                continue

    def _connect(self) -> Producer:
        return Producer({**self._properties, "error_cb": self._ear.error}, logger=self._ear)

    def _produce(self, output: Output, answered: Answered) -> None:
        self.producer.produce(
            output.topic,
            output.value,
            output.key,
            -1 if output.partition is None else output.partition,
            on_delivery=answered,
            timestamp=output.timestamp or 0,
            headers=list(output.headers),
        )
