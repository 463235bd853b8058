"""Records on their way into Kafka: the core's `Sink`, and pushes outside of workers.

Decides when a record counts as delivered (all in-sync replicas have it), which failures
are worth another attempt, and what happens to a producer that librdkafka has given up. Each
record is answered once. Knows nothing of messages that wait for it, nor of retries: both
are the core's. Tested by tests/kafka_unit/test_sink.py and tests/kafka/test_sink.py.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kqworker.core.commands import Produce
from kqworker.core.events import Delivered, Event
from kqworker.delivery import Delivery
from kqworker.errors import BrokerError
from kqworker.kafka.logs import client_log
from kqworker.kafka.mailbox import Mailbox
from kqworker.types import Failure, Output

# How long the thread waits for deliveries at a time, and so how soon it sees a stop.
POLL = 0.05
# How long one question after a topic may take.
ASK = 1.0
# A close tells those who still wait, within this.
PURGE = 1.0

# Answers of the broker and of librdkafka that the same record gets again, whenever it is
# produced. All else may pass: a broker that is away, a leader that moves, a full disk.
FINAL = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError._INVALID_ARG,
        KafkaError._BAD_MSG,
    }
)

UNKNOWN_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
# Of a question after a topic: no use in asking again, as there is after an unknown one.
REFUSED = FINAL - UNKNOWN_TOPIC

# What librdkafka says in words of its own inside.
IN_WORDS = {
    KafkaError._PURGE_QUEUE: "it could not be sent before the close",
    KafkaError._PURGE_INFLIGHT: "Kafka had not confirmed it before the close",
    KafkaError._MSG_TIMED_OUT: "Kafka did not confirm it in time",
}
# Of librdkafka, where it is not set.
BATCH_SIZE = 1_000_000
TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

Answered = Callable[[KafkaError | None, Message | None], None]


class _Job(NamedTuple):
    output: Output
    answered: Answered


class KafkaSink:
    """A producer, and the thread that waits for its deliveries.

    Every method is safe to call from several threads.

    Args:
        properties: What `producer_properties` returns.
    """

    def __init__(self, properties: Mapping[str, str]) -> None:
        self._properties = dict(properties)
        self._producer = self._connect()
        # Guards the producer, what waits for room in its queue, and the end.
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._waiting: deque[_Job] = deque()
        self._broken = False
        self._deadline: float | None = None
        self._all_answered = True
        # One system call for all that one poll delivers, not one for each.
        self._delivered: deque[Event] = deque()
        self._mailbox = Mailbox()
        # A daemon: at the interpreter's exit somebody closes it who knows how long to wait.
        self._thread = threading.Thread(target=self._run, name="kqworker-sink", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return a descriptor that is readable while events wait."""
        return self._mailbox.fileno()

    def events(self) -> Sequence[Event]:
        """Return what was delivered since the last call, in order; never block."""
        return self._mailbox.take()

    def produce(self, command: Produce) -> None:
        """Produce a record; answered by one `Delivered`; never block."""
        job = _Job(command.output, partial(self._note, command.ticket, command.output.topic))
        with self._lock:
            if self._deadline is not None:
                raise RuntimeError("the sink is closed")
            # In order: what waits for room goes first.
            if self._waiting or not self._accepted(job):
                self._waiting.append(job)
        self._post()

    def send(
        self, output: Output, delivery: Delivery | None = None, timeout: float | None = None
    ) -> Delivery:
        """Produce a record; wait only while the client's queue is full, never for the broker.

        Args:
            output: The record.
            delivery: What is told how it ends; None for a new one. It may be told before
                this returns.
            timeout: Seconds to wait for room, at least 0; None waits until there is some.

        Returns:
            The delivery under way; it fails with a BrokerError.

        Raises:
            TimeoutError: There was no room in time; the delivery is told nothing.
            RuntimeError: The sink is closed.
        """
        delivery = Delivery() if delivery is None else delivery
        job = _Job(output, partial(self._settle, delivery, output.topic))
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._room:
            while True:
                if self._deadline is not None:
                    raise RuntimeError("the sink is closed")
                if not self._waiting and self._accepted(job):
                    return delivery
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("the queue has been full")
                self._room.wait(left)

    def partitions(self, topic: str, timeout: float) -> int:
        """Return how many partitions a topic has; one that does not exist is waited for.

        Where `allow.auto.create.topics` is set, the question creates it.

        Args:
            topic: Its name.
            timeout: Seconds, above 0.

        Raises:
            BrokerError: The topic does not exist, or Kafka does not answer.
            RuntimeError: The sink is closed.
        """
        with self._lock:
            if self._deadline is not None:
                raise RuntimeError("the sink is closed")
            producer = self._producer
        deadline = time.monotonic() + timeout
        while True:
            # In short calls, so that Ctrl-C is answered in between.
            patience = min(ASK, max(deadline - time.monotonic(), POLL))
            try:
                found = producer.list_topics(topic, timeout=patience).topics[topic]
                error = found.error
                count = len(found.partitions)
            except KafkaException as raised:
                error, count = raised.args[0], 0
            if count and error is None:
                return count
            if time.monotonic() >= deadline or (error is not None and error.code() in REFUSED):
                text = f"cannot read how many partitions there are: {_reason(error, topic)}"
                raise BrokerError(text, error is not None and error.code() not in FINAL)
            time.sleep(POLL)

    def close(self, timeout: float) -> bool:
        """Wait for what is under way; what is not answered in time is answered as failed.

        To answer them takes another second at most; a delivery that does not return keeps
        the answers of all others from being told, and nobody waits for it longer.

        Args:
            timeout: Seconds, at least 0.

        Returns:
            Whether all was answered in time.
        """
        with self._room:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout
            self._room.notify_all()
        left = max(0.0, self._deadline - time.monotonic())
        self._thread.join(left + PURGE + 4 * POLL)
        self._mailbox.close()
        return self._all_answered and not self._thread.is_alive()

    def _connect(self) -> Producer:
        return Producer({**self._properties, "error_cb": client_log.error}, logger=client_log)

    def _accepted(self, job: _Job) -> bool:
        """Hand a record to librdkafka; return False if there is no room for it now."""
        try:
            try:
                self._produce(job)
            except BufferError:
                if len(self._producer):
                    return False
                # Either the queue has just become empty, or it is too small for this one.
                self._produce(job)
        except BufferError:
            # It would wait for ever, and all others behind it.
            text = "the record is larger than queue.buffering.max.kbytes"
            job.answered(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, text), None)
        except KafkaException as raised:
            error: KafkaError = raised.args[0]
            if error.code() == KafkaError._FATAL:
                # The thread makes a new producer; until then there is none.
                self._broken = True
                return False
            job.answered(error, None)
        except (ValueError, OverflowError) as raised:
            # A NUL in the topic's name, a partition beyond 32 bits.
            job.answered(KafkaError(KafkaError._INVALID_ARG, str(raised)), None)
        return True

    def _produce(self, job: _Job) -> None:
        output = job.output
        self._producer.produce(
            output.topic,
            output.value,
            output.key,
            -1 if output.partition is None else output.partition,
            on_delivery=job.answered,
            timestamp=output.timestamp or 0,
            headers=list(output.headers),
        )

    # In the thread, but for what produce() answers at once

    def _note(
        self, ticket: int, topic: str, error: KafkaError | None, message: Message | None
    ) -> None:
        if error is None:
            self._delivered.append(Delivered(ticket))
            return
        failure = Failure(f"KafkaError.{error.name()}", self._why(error, topic, message))
        code = error.code()
        self._delivered.append(Delivered(ticket, failure, code not in FINAL, code in TOO_LARGE))

    def _settle(
        self, delivery: Delivery, topic: str, error: KafkaError | None, message: Message | None
    ) -> None:
        if error is not None:
            text = f"the record cannot be delivered: {self._why(error, topic, message)}"
            delivery._fail(BrokerError(text, retriable=error.code() not in FINAL))
            return
        assert message is not None
        # The offset is None if the broker found that it has the record already.
        delivery._resolve(message.partition(), message.offset())

    def _why(self, error: KafkaError, topic: str, message: Message | None) -> str:
        # What librdkafka itself refuses as too large comes without the message.
        if error.code() not in TOO_LARGE or message is None:
            return _reason(error, topic)
        size = len(message.value() or b"") + len(message.key() or b"")
        what = f"its {size:,} bytes (before compression) are"
        remedy = "raise the topic's max.message.bytes, or the brokers' message.max.bytes"
        if size < int(self._properties.get("batch.size", BATCH_SIZE)):
            what = f"the batch with its {size:,} bytes (before compression) is"
            remedy += ", or lower batch.size (with_chunk_size)"
        return f"{what} more than topic {topic!r} takes: {remedy}"

    def _post(self) -> None:
        if self._delivered:
            with self._lock:
                found = [self._delivered.popleft() for _ in range(len(self._delivered))]
            self._mailbox.put(*found)

    def _run(self) -> None:
        while True:
            # flush() is poll() that does not wait for batches to fill.
            self._serve(self._producer.poll if self._deadline is None else self._producer.flush)
            if self._broken:
                self._replace()
            self._refill()
            self._post()
            if self._deadline is None:
                continue
            with self._lock:
                empty = not self._waiting and not len(self._producer)
            if empty or time.monotonic() >= self._deadline:
                break
        self._all_answered = empty
        self._abandon(self._producer)
        # Its connections go now, not when the last reference to a closed sink does.
        del self._producer
        with self._lock:
            left, self._waiting = self._waiting, deque()
        for job in left:
            job.answered(KafkaError(KafkaError._PURGE_QUEUE), None)

    def _serve(self, serve: Callable[[float], int]) -> None:
        try:
            serve(POLL)
        except KafkaException as raised:
            # This is how confluent_kafka hands over a fatal error, whatever error_cb is;
            # librdkafka has logged it.
            self._broken = self._broken or raised.args[0].fatal()

    def _refill(self) -> None:
        if self._waiting:
            with self._room:
                while self._waiting and self._accepted(self._waiting[0]):
                    self._waiting.popleft()
        with self._room:
            if not self._waiting:
                self._room.notify_all()

    def _replace(self) -> None:
        """Replace a producer that lost its sequence numbers: librdkafka uses it no more.

        What it had not delivered is answered as failed, and the core produces it again;
        what the broker stored without our knowing is then stored twice.
        """
        with self._lock:
            old, self._producer = self._producer, self._connect()
        self._abandon(old)
        self._broken = False

    def _abandon(self, producer: Producer) -> None:
        producer.purge()
        deadline = time.monotonic() + PURGE
        while len(producer) and time.monotonic() < deadline:
            self._serve(producer.flush)


def _reason(error: KafkaError | None, topic: str) -> str:
    if error is None or error.code() in UNKNOWN_TOPIC:
        return f"topic {topic!r} does not exist"
    return IN_WORDS.get(error.code()) or str(error.str())
