"""Records on their way into Kafka: the core's `Sink`, and pushes outside of workers.

Decides when a record counts as delivered (all in-sync replicas have it), whose fault it is that
a batch was refused, and what happens to all records once the thread that receives the answers
has failed. Each record is answered once. Knows nothing of messages that wait for it, nor of
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

from confluent_kafka import KafkaError, Message

from kqworker.app.delivery import Delivery
from kqworker.core.commands import Produce
from kqworker.core.events import Delivered, Event
from kqworker.errors import BrokerError
from kqworker.kafka import refusals
from kqworker.kafka.capacity import Capacity
from kqworker.kafka.counting import counted
from kqworker.kafka.mailbox import Mailbox
from kqworker.kafka.producing import POLL, PURGE, Answered, Producing
from kqworker.kafka.reasons import Ear
from kqworker.types import Failure, Output
from kqworker.watch import logs

_logger = logs.logger("kqworker.kafka")

# Of librdkafka, where it is not set.
BATCH_SIZE = 1_000_000
# What it may take to end the questions about capacity that are under way.
CAPACITY_SECONDS = 5.0


class KafkaSink:
    """A producer, and the thread that waits for its deliveries.

    Every method is safe to call from several threads.

    Args:
        properties: What `producer_properties` returns.
        capacity: Says how much fits; None where everything does, as ever on Kafka.
    """

    def __init__(self, properties: Mapping[str, str], capacity: Capacity | None = None) -> None:
        self._properties = properties
        self._capacity = capacity
        # A record of this size has a batch to itself, whatever else there is.
        self._lonely = int(properties.get("batch.size", BATCH_SIZE))
        # Where records go whose batch was refused: made when one is.
        self._single: KafkaSink | None = None
        self._ear = Ear(properties.get("bootstrap.servers", ""))
        self._producing = Producing(properties, self._ear)
        # Guards the producer, what waits for room in its queue, and the end.
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._waiting: deque[tuple[Output, Answered]] = deque()
        self._deadline: float | None = None
        self._all_answered = False
        # What send() was given and has not been told how it ended.
        self._pending: set[Delivery] = set()
        # A thread whose join() was interrupted counts as ended in Python 3.11, and is not.
        self._ended = threading.Event()
        # One system call for all that one poll delivers, not one for each.
        self._delivered: deque[Event] = deque()
        self._mailbox = Mailbox()
        # A daemon: at the interpreter's exit somebody closes it who knows how long to wait.
        self._thread = threading.Thread(target=self._run, name="kqworker-sink", daemon=True)
        if capacity is not None:
            capacity.start(self._refill)
        self._thread.start()

    @property
    def fatal(self) -> BrokerError | None:
        """Why nothing is delivered or told any more; None while there is no such reason."""
        return self._mailbox.fatal

    @property
    def full(self) -> str:
        """Why records wait for room in a topic; empty while there is room, as ever on Kafka."""
        return "" if self._capacity is None else self._capacity.full

    def fileno(self) -> int:
        """Return a descriptor that is readable while events wait, or there is a `fatal`."""
        return self._mailbox.fileno()

    def events(self) -> Sequence[Event]:
        """Return what was delivered since the last call, in order; never block."""
        return self._mailbox.take()

    def produce(self, command: Produce) -> None:
        """Produce a record; answered by one `Delivered`, unless there is a `fatal`; never block."""
        with self._lock:
            if self.fatal is not None:
                return  # nobody confirms it, so its offset is not committed
            self._check_open()
            self._enter(command.output, partial(self._note, command.ticket, command.output))
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
        answered = partial(self._settle, delivery, output)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._room:
            while True:
                self._check_open()
                if given_up is not None and given_up():
                    raise TimeoutError("it was called off")
                self._pending.add(delivery)
                accepted = False
                try:
                    accepted = not self._waiting and self._accepted(output, answered)
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
            producer = self._producing.producer
        return counted(producer, topic, timeout, given_up, self._ear.why)

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
        if self._capacity is not None:
            self._capacity.close(CAPACITY_SECONDS)
        return self._all_answered

    def _check_open(self) -> None:
        if self.fatal is not None:
            raise self.fatal
        if self._deadline is not None:
            raise RuntimeError("the sink is closed")

    def _enter(self, output: Output, answered: Answered) -> None:
        # In order: what waits for room goes first.
        if self._waiting or not self._taken(output, answered):
            self._waiting.append((output, answered))

    def _taken(self, output: Output, answered: Answered) -> bool:
        """Do as `_accepted`, and answer a record that nobody makes room for."""
        try:
            return self._accepted(output, answered)
        except BrokerError as error:
            answered(KafkaError(KafkaError._QUEUE_FULL, str(error)), None)
            return True

    def _accepted(self, output: Output, answered: Answered) -> bool:
        """Hand a record to librdkafka; return False if there is no room for it now.

        Raises:
            BrokerError: There is none, and nobody makes any.
        """
        if self._capacity is None:
            return self._producing.accepts(output, answered)
        return self._capacity.passes(output, answered, self._producing.accepts)

    # In the thread, but for what produce() answers at once

    def _note(
        self,
        ticket: int,
        output: Output,
        error: KafkaError | None,
        message: Message | None,
        alone: bool = False,
    ) -> None:
        if error is None:
            self._heard_well()
            self._delivered.append(Delivered(ticket))
            return
        answered = partial(self._note, ticket, output, alone=True)
        if not alone and self._again(error, message, output, answered):
            return
        error = self._reason(error)
        code = error.code()
        text = refusals.why(error, output.topic, message, self._ear.why())
        if code in refusals.UNKNOWN_TOPIC:
            text += ": no push, output or dead letter can go there"
        # The right may be given while the record waits.
        retriable = code not in refusals.FINAL - refusals.NO_RIGHT
        failure = Failure(f"KafkaError.{error.name()}", text)
        self._delivered.append(Delivered(ticket, failure, retriable, code in refusals.TOO_LARGE))

    def _settle(
        self,
        delivery: Delivery,
        output: Output,
        error: KafkaError | None,
        message: Message | None,
        alone: bool = False,
    ) -> None:
        if delivery.done:
            return  # it was told when the thread failed
        if error is None:
            assert message is not None
            self._heard_well()
            # The offset is None if the broker found that it has the record already.
            delivery._resolve(message.partition(), message.offset())
        else:
            answered = partial(self._settle, delivery, output, alone=True)
            if not alone and self._again(error, message, output, answered):
                return
            error = self._reason(error)
            text = refusals.why(error, output.topic, message, self._ear.why())
            text = f"the record cannot be delivered: {text}"
            delivery._fail(BrokerError(text, retriable=error.code() not in refusals.FINAL))
        self._pending.discard(delivery)

    def _heard_well(self) -> None:
        self._ear.forget()
        self._producing.went_well()

    def _reason(self, error: KafkaError) -> KafkaError:
        """Return why a record was not delivered that a producer was given up with."""
        purged = error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
        return (self._producing.broken or error) if purged else error

    def _again(
        self, error: KafkaError, message: Message | None, output: Output, answered: Answered
    ) -> bool:
        """Have a record produced alone whose batch was refused; return whether that is of use."""
        if error.code() not in refusals.OF_ITS_BATCH or message is None:
            return False
        if len(output.value or b"") + len(output.key or b"") >= self._lonely:
            return False
        if self._single is None:
            self._single = KafkaSink({**self._properties, "batch.num.messages": "1"})
        with self._single._lock:
            self._single._check_open()
            self._single._enter(output, answered)
        return True

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
            self._producing.serve(flush=self._deadline is not None)
            if self._producing.broken is not None:
                successor = self._producing.successor()
                if successor is not None:
                    with self._lock:
                        self._producing.replace(successor)
            self._refill()
            self._post()
            if self._single is not None and self._single.fatal is not None:
                raise self._single.fatal
            if self._deadline is None:
                continue
            empty = self._is_empty() and (self._single is None or self._single._is_empty())
            if empty or time.monotonic() >= self._deadline:
                break
        if self._single is not None:
            self._single.begin_close(0.0)  # its time for that is ours
        self._producing.abandon()
        # Its connections go now, not when the last reference to a closed sink does.
        del self._producing.producer
        with self._lock:
            left, self._waiting = self._waiting, deque()
        for _, answered in left:
            answered(KafkaError(KafkaError._PURGE_QUEUE), None)
        if self._single is not None:
            self._single.close(0.0)
        self._post()
        self._all_answered = empty

    def _is_empty(self) -> bool:
        with self._lock:
            return not self._waiting and not len(self._producing)

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
                except Exception:  # what has failed may again; the others are told all the same
                    _logger.exception("a delivery cannot be told")
        # What this cannot end either ends with the process.
        with contextlib.suppress(Exception):
            if self._single is not None:
                self._single.close(0.0)
            self._producing.abandon()
        # Code that keeps the error does not keep the connections.
        traceback.clear_frames(error.__traceback__)
        del self._producing.producer

    def _refill(self) -> None:
        with self._room:
            if self._capacity is not None:
                # One topic's records do not wait for another's room.
                for _ in range(len(self._waiting)):
                    first = self._waiting.popleft()
                    if not self._taken(*first):
                        self._waiting.append(first)
            while self._waiting and self._taken(*self._waiting[0]):
                self._waiting.popleft()
            if not self._waiting:
                self._room.notify_all()
