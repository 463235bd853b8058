"""Records on their way into Kafka: the core's `Sink`, and pushes outside of workers.

Decides when a record counts as delivered (all in-sync replicas have it), and what happens to
a producer that librdkafka has given up, or to all records once the thread fails that takes
their answers. Each record is answered once. Knows nothing of messages that wait for it, nor of
retries: both are the core's. Tested by tests/kafka_unit/test_sink.py and tests/kafka/test_sink.py.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kqworker import logs
from kqworker.core.commands import Produce
from kqworker.core.events import Delivered, Event
from kqworker.delivery import Delivery
from kqworker.errors import BrokerError
from kqworker.kafka import refusals
from kqworker.kafka.mailbox import Mailbox
from kqworker.kafka.reasons import Ear
from kqworker.types import Failure, Output

_logger = logs.logger("kqworker.kafka")

# How long the thread waits for deliveries at a time, and so how soon it sees a stop.
POLL = 0.05
# How long one question after a topic may take.
ASK = 1.0
# A close tells those who still wait, within this.
PURGE = 1.0

Answered = Callable[[KafkaError | None, Message | None], None]


class Job(NamedTuple):
    """A record, and who is told what has become of it."""

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
        self._batch_size = int(properties.get("batch.size", refusals.BATCH_SIZE))
        self._ear = Ear(properties.get("bootstrap.servers", ""))
        self._producer = self._connect()
        # Guards the producer, what waits for room in its queue, and the end.
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._waiting: deque[Job] = deque()
        self._broken = False
        self._deadline: float | None = None
        self._all_answered = False
        # What send() was given and nobody has told yet.
        self._pending: set[Delivery] = set()
        # A thread whose join() was interrupted counts as ended in Python 3.11, and is not.
        self._ended = threading.Event()
        # One system call for all that one poll delivers, not one for each.
        self._delivered: deque[Event] = deque()
        self._mailbox = Mailbox()
        # A daemon: at the interpreter's exit somebody closes it who knows how long to wait.
        self._thread = threading.Thread(target=self._run, name="kqworker-sink", daemon=True)
        self._thread.start()

    @property
    def fatal(self) -> BrokerError | None:
        """Why nothing is delivered or told any more; None while there is no such reason."""
        return self._mailbox.fatal

    @property
    def full(self) -> str:
        """Why records wait for room in a topic; empty while there is room, as ever on Kafka."""
        return ""

    def fileno(self) -> int:
        """Return a descriptor that is readable while events wait, or there is a `fatal`."""
        return self._mailbox.fileno()

    def events(self) -> Sequence[Event]:
        """Return what was delivered since the last call, in order; never block."""
        return self._mailbox.take()

    def produce(self, command: Produce) -> None:
        """Produce a record; answered by one `Delivered`, unless there is a `fatal`; never block."""
        job = Job(command.output, partial(self._note, command.ticket, command.output.topic))
        with self._lock:
            if self.fatal is not None:
                return  # nobody confirms it, so its offset is not committed
            self._check_open()
            # In order: what waits for room goes first.
            if self._waiting or not self._taken(job):
                self._waiting.append(job)
        self._post()

    def send(
        self,
        output: Output,
        delivery: Delivery | None = None,
        timeout: float | None = None,
        given_up: Callable[[], bool] | None = None,
    ) -> Delivery:
        """Produce a record; wait only while the client's queue is full, never for the broker.

        Args:
            output: The record.
            delivery: What is told how it ends; None for a new one. It may be told before
                this returns.
            timeout: Seconds to wait for room, at least 0; None waits until there is some.
            given_up: Asked while it waits, whether somebody has called it off.

        Returns:
            The delivery under way; it fails with a BrokerError.

        Raises:
            BrokerError: There is a `fatal`.
            TimeoutError: There was no room in time, or it was called off; the delivery is told
                nothing.
            RuntimeError: The sink is closed.
        """
        delivery = Delivery() if delivery is None else delivery
        job = Job(output, partial(self._settle, delivery, output.topic))
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._room:
            while True:
                self._check_open()
                if given_up is not None and given_up():
                    raise TimeoutError("it was called off")
                self._pending.add(delivery)
                accepted = False
                try:
                    accepted = not self._waiting and self._accepted(job)
                finally:
                    if not accepted:
                        self._pending.discard(delivery)
                if accepted:
                    return delivery
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("the queue has been full")
                if given_up is not None:
                    left = POLL if left is None else min(left, POLL)
                self._room.wait(left)

    def partitions(
        self, topic: str, timeout: float, given_up: Callable[[], bool] | None = None
    ) -> int:
        """Return how many partitions a topic has; one that does not exist is waited for.

        Where `allow.auto.create.topics` is set, the question creates it.

        Args:
            topic: Its name.
            timeout: Seconds, above 0.
            given_up: Asked while it waits, whether somebody has called it off.

        Raises:
            BrokerError: The topic does not exist, Kafka does not answer, or it was called off.
            RuntimeError: The sink is closed.
        """
        with self._lock:
            self._check_open()
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
            over = time.monotonic() >= deadline or (given_up is not None and given_up())
            if over or (error is not None and error.code() in refusals.REFUSED):
                text = refusals.reason(error, topic, self._ear.why())
                text = f"cannot read how many partitions there are: {text}"
                raise BrokerError(text, error is not None and error.code() not in refusals.FINAL)
            time.sleep(POLL)

    def begin_close(self, timeout: float) -> None:
        """Take nothing more, and let the time begin that a close has; do not wait.

        Args:
            timeout: Seconds, at least 0; where it was begun before, the earlier end holds.
        """
        deadline = time.monotonic() + timeout
        with self._room:
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
            self._room.notify_all()

    def close(self, timeout: float) -> bool:
        """Wait for what is under way; what is not answered in time is answered as failed.

        Interrupted, by Ctrl-C for one, it may be called again. To answer what is late takes
        another second at most; a delivery that does not return keeps the answers of all others
        from being told, and nobody waits for it longer.

        Args:
            timeout: Seconds, at least 0.

        Returns:
            Whether all was answered in time.
        """
        self.begin_close(timeout)
        assert self._deadline is not None
        left = max(0.0, self._deadline - time.monotonic())
        if self._ended.wait(left + PURGE + 4 * POLL):
            self._thread.join()
        self._mailbox.close()
        return self._all_answered

    def _check_open(self) -> None:
        if self.fatal is not None:
            raise self.fatal
        if self._deadline is not None:
            raise RuntimeError("the sink is closed")

    def _connect(self) -> Producer:
        return Producer({**self._properties, "error_cb": self._ear.error}, logger=self._ear)

    def _taken(self, job: Job) -> bool:
        """Do as `_accepted`, for whom it must not raise."""
        return self._accepted(job)

    def _accepted(self, job: Job) -> bool:
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

    def _produce(self, job: Job) -> None:
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
            self._ear.forget()
            self._delivered.append(Delivered(ticket))
            return
        text = self._why(error, topic, message)
        if error.code() in refusals.UNKNOWN_TOPIC:
            text += ": no push, output or dead letter can go there"
        failure = Failure(f"KafkaError.{error.name()}", text)
        code = error.code()
        self._delivered.append(
            Delivered(ticket, failure, code not in refusals.FINAL, code in refusals.TOO_LARGE)
        )

    def _settle(
        self, delivery: Delivery, topic: str, error: KafkaError | None, message: Message | None
    ) -> None:
        if delivery.done:
            return  # it was told when the thread failed
        if error is not None:
            text = f"the record cannot be delivered: {self._why(error, topic, message)}"
            delivery._fail(BrokerError(text, retriable=error.code() not in refusals.FINAL))
        else:
            assert message is not None
            self._ear.forget()
            # The offset is None if the broker found that it has the record already.
            delivery._resolve(message.partition(), message.offset())
        self._pending.discard(delivery)

    def _why(self, error: KafkaError, topic: str, message: Message | None) -> str:
        return refusals.why(error, topic, message, self._batch_size, self._ear.why())

    def _post(self) -> None:
        if self._delivered:
            with self._lock:
                found = [self._delivered.popleft() for _ in range(len(self._delivered))]
            self._mailbox.put(*found)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # whatever it is, those who wait are told by nobody else
            self._fail(error)
        finally:
            self._ended.set()

    def _work(self) -> None:
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
        self._abandon(self._producer)
        # Its connections go now, not when the last reference to a closed sink does.
        del self._producer
        with self._lock:
            left, self._waiting = self._waiting, deque()
        for job in left:
            job.answered(KafkaError(KafkaError._PURGE_QUEUE), None)
        self._all_answered = empty

    def _fail(self, error: BaseException) -> None:
        what = f"{type(error).__name__}: {error}"
        text = f"the thread that delivers records has failed, please report it: {what}"
        _logger.error("%s", text, exc_info=error)
        self._mailbox.fail(BrokerError(text))
        with self._room:
            self._waiting.clear()
            self._room.notify_all()
            pending, self._pending = self._pending, set()
        for delivery in pending:
            if not delivery.done:
                try:
                    delivery._fail(BrokerError(f"the record may not be delivered: {text}"))
                except (
                    Exception
                ):  # what has failed before may again; the others are told all the same
                    _logger.exception("a delivery cannot be told")
        # What this cannot end either ends with the process.
        with contextlib.suppress(Exception):
            self._abandon(self._producer)
        # Whoever keeps the error does not keep the connections.
        traceback.clear_frames(error.__traceback__)
        del self._producer

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
                while self._waiting and self._taken(self._waiting[0]):
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
