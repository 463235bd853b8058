"""Records on their way into Kafka.

Decides when a record counts as delivered (all in-sync replicas have it), which record is at
fault when a batch is refused, who waits for room, and what happens to all records once the
thread that receives the answers has failed. It tells each record once how it ends. Knows
nothing of the core, and nothing of who waits for a push.
Tested by tests/kafka_unit/test_outgoing.py and
tests/kafka/test_sink.py.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from confluent_kafka import KafkaError, Message, Producer

from kqworker.errors import BrokerError
from kqworker.kafka import refusals
from kqworker.kafka.capacity import Capacity
from kqworker.kafka.producing import POLL, PURGE, Answered, Producing
from kqworker.kafka.reasons import Ear
from kqworker.types import Output
from kqworker.watch import logs

_logger = logs.logger("kqworker.kafka")

# librdkafka's default.
BATCH_SIZE = 1_000_000
# How long it may take to end the questions about capacity that are under way.
CAPACITY_SECONDS = 5.0


class Record(Protocol):
    """A record, which one of these methods tells how it ends; in any thread."""

    output: Output

    def delivered(self, message: Message) -> None:
        """All in-sync replicas have it."""
        ...

    def refused(self, error: KafkaError, text: str) -> None:
        """Kafka or librdkafka refused it; `text` says why, and what to do."""
        ...

    def lost(self, error: BrokerError) -> None:
        """The thread that receives the answers has failed: it may be delivered or not."""
        ...


class Outgoing:
    """A producer, and the thread that waits for its deliveries.

    Every method is safe to call from several threads.

    Args:
        properties: What `producer_properties` returns.
        capacity: Says how much fits; None if everything fits, as always on Apache Kafka.

    Attributes:
        fatal: Why it delivers nothing and answers nothing any more; None while it works.
    """

    def __init__(self, properties: Mapping[str, str], capacity: Capacity | None = None) -> None:
        self.fatal: BrokerError | None = None
        self._properties = properties
        self._capacity = capacity
        # A record of this size has a batch to itself, whatever else there is.
        self._lonely = int(properties.get("batch.size", BATCH_SIZE))
        # Sends records alone whose batch was refused; made for the first of them.
        self._single: Outgoing | None = None
        self._ear = Ear(properties.get("bootstrap.servers", ""))
        self._producing = Producing(properties, self._ear)
        # Guards the producer, what waits for room in its queue, and the end.
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._waiting: deque[tuple[Output, Answered]] = deque()
        self._untold: set[Record] = set()
        self._deadline: float | None = None
        self._all_answered = False
        self._served: Callable[[], None]
        # A thread whose join() was interrupted counts as ended in Python 3.11, and is not.
        self._ended = threading.Event()
        # A daemon: at the interpreter's exit somebody closes it who knows how long to wait.
        self._thread = threading.Thread(target=self._run, name="kqworker-sink", daemon=True)

    @property
    def full(self) -> str:
        """Why records wait for room in a topic; empty while there is room."""
        return "" if self._capacity is None else self._capacity.full

    def start(self, served: Callable[[], None]) -> None:
        """Begin to deliver; it takes records only after this.

        Args:
            served: The thread calls it after the answers of a poll, and once there is a `fatal`.
        """
        self._served = served
        if self._capacity is not None:
            self._capacity.start(self._refill)
        self._thread.start()

    def client(self) -> Producer:
        """Return the present producer.

        Raises:
            BrokerError: There is a `fatal`.
            RuntimeError: It is closed.
        """
        with self._lock:
            self._check_open()
            return self._producing.producer

    def why(self) -> str:
        """Return why brokers cannot be reached; empty if that is not known."""
        return self._ear.why()

    def enqueue(self, record: Record) -> None:
        """Take a record, which waits in line if there is no room; never block.

        Once there is a `fatal`, it ignores the record and tells it nothing.

        Raises:
            RuntimeError: It is closed.
        """
        with self._lock:
            if self.fatal is None:
                self._check_open()
                self._untold.add(record)
                self._enter(record.output, partial(self._answered, record))

    def push(
        self, record: Record, timeout: float | None, given_up: Callable[[], bool] | None
    ) -> None:
        """Take a record once there is room and no other record waits in line.

        Args:
            record: It may be told how it ends before this returns.
            timeout: Seconds to wait for room, at least 0; None waits without a limit.
            given_up: Asked while it waits: whether to give up.

        Raises:
            BrokerError: There is a `fatal`; or there is no room, and nobody makes any.
            TimeoutError: There was no room in time, or it gave up; the record is told nothing.
            RuntimeError: It is closed.
        """
        answered = partial(self._answered, record)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._room:
            while True:
                self._check_open()
                if given_up is not None and given_up():
                    raise TimeoutError("it was called off")
                self._untold.add(record)
                accepted = False
                try:
                    accepted = not self._waiting and self._accepted(record.output, answered)
                finally:
                    if not accepted:
                        self._untold.discard(record)
                if accepted:
                    return
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("the queue has been full")
                if given_up is not None:
                    left = POLL if left is None else min(left, POLL)
                self._room.wait(left)

    def begin_close(self, timeout: float) -> None:
        """Take no more records, and start the time of a close; do not wait.

        Args:
            timeout: Seconds, at least 0; if a close has begun before, the earlier end holds.
        """
        deadline = time.monotonic() + timeout
        with self._room:
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
            self._room.notify_all()

    def close(self, timeout: float) -> bool:
        """Wait for records under way; those without an answer in time have failed.

        It may be called again after an interrupt, such as Ctrl-C. It takes another second at most
        to answer late records. If a record's method does not return, no other record is told, and
        the close does not wait for it any longer.

        Args:
            timeout: Seconds, at least 0.

        Returns:
            Whether all records were answered in time.
        """
        self.begin_close(timeout)
        assert self._deadline is not None
        left = max(0.0, self._deadline - time.monotonic())
        if self._ended.wait(left + PURGE + 4 * POLL):
            self._thread.join()
        if self._capacity is not None:
            self._capacity.close(CAPACITY_SECONDS)
        return self._all_answered

    def _check_open(self) -> None:
        if self.fatal is not None:
            raise self.fatal
        if self._deadline is not None:
            raise RuntimeError("the sink is closed")

    def _enter(self, output: Output, answered: Answered) -> None:
        # In order: records that wait for room go first.
        if self._waiting or not self._taken(output, answered):
            self._waiting.append((output, answered))

    def _taken(self, output: Output, answered: Answered) -> bool:
        """Do the same as `_accepted`; a record that nobody makes room for is answered."""
        try:
            return self._accepted(output, answered)
        except BrokerError as error:
            answered(KafkaError(KafkaError._QUEUE_FULL, str(error)), None)
            return True

    def _accepted(self, output: Output, answered: Answered) -> bool:
        """Hand a record to librdkafka; return False if there is no room for it now.

        Raises:
            BrokerError: There is no room, and nobody makes any.
        """
        if self._capacity is None:
            return self._producing.accepts(output, answered)
        return self._capacity.passes(output, answered, self._producing.accepts)

    # -- in the thread; `_answered` also in a caller's, for records that are refused at once

    def _answered(
        self,
        record: Record,
        error: KafkaError | None,
        message: Message | None,
        alone: bool = False,
    ) -> None:
        if self.fatal is not None:
            return  # `_fail` tells the record that it is lost
        if error is None:
            assert message is not None
            self._ear.forget()
            self._producing.went_well()
            record.delivered(message)
        elif not alone and self._again(record, error, message):
            return
        else:
            if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
                # librdkafka gave its producer up, and that error has the reason.
                error = self._producing.broken or error
            text = refusals.why(error, record.output.topic, message, self._ear.why())
            record.refused(error, text)
        self._untold.discard(record)

    def _again(self, record: Record, error: KafkaError, message: Message | None) -> bool:
        """Send a record of a refused batch alone; return whether that can help."""
        if error.code() not in refusals.OF_ITS_BATCH or message is None:
            return False
        output = record.output
        if len(output.value or b"") + len(output.key or b"") >= self._lonely:
            return False
        if self._single is None:
            self._single = Outgoing({**self._properties, "batch.num.messages": "1"})
            self._single.start(lambda: None)
        with self._single._lock:
            self._single._check_open()
            self._single._enter(output, partial(self._answered, record, alone=True))
        return True

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # nobody else tells those who wait
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
            self._served()
            if self._single is not None and self._single.fatal is not None:
                raise self._single.fatal
            if self._deadline is None:
                continue
            empty = self._is_empty() and (self._single is None or self._single._is_empty())
            if empty or time.monotonic() >= self._deadline:
                break
        if self._single is not None:
            self._single.begin_close(0.0)  # it had the same time as this one
        self._producing.abandon()
        # Close its connections now, not with the last reference to a closed sink.
        del self._producing.producer
        with self._lock:
            left, self._waiting = self._waiting, deque()
        for _, answered in left:
            answered(KafkaError(KafkaError._PURGE_QUEUE), None)
        if self._single is not None:
            self._single.close(0.0)
        self._served()
        self._all_answered = empty

    def _is_empty(self) -> bool:
        with self._lock:
            return not self._waiting and not len(self._producing)

    def _fail(self, error: BaseException) -> None:
        what = f"{type(error).__name__}: {error}"
        text = f"the thread that delivers records has failed, please report it: {what}"
        _logger.error("%s", text, exc_info=error)
        self.fatal = BrokerError(text)
        self._served()
        with self._room:
            self._waiting.clear()
            self._room.notify_all()
            untold, self._untold = self._untold, set()
        for record in untold:
            try:
                record.lost(self.fatal)
            except Exception:  # it may fail again; the others are told
                _logger.exception("a delivery cannot be told")
        # If this fails too, the process ends the rest.
        with contextlib.suppress(Exception):
            if self._single is not None:
                self._single.close(0.0)
            self._producing.abandon()
        # Code that keeps the error must not keep the connections.
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
