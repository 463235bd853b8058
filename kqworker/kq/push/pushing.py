"""The producer behind a pusher in one process, and what became of each message.

Decides when a failed delivery counts as told (somebody waited for it, or a push or the close
raised it), where a balancer's count of partitions comes from, and when the application's
callback runs. Knows nothing of values, keys and trace headers. Tested by
tests/kq/test_pushing.py and tests/kafka/test_kq_pusher.py.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from kqworker.app import process_exit
from kqworker.app.delivery import Delivery
from kqworker.app.payload import refuse_unrun
from kqworker.errors import BrokerError, HandlerError, KQWorkerError
from kqworker.kq.push.balancers import Counting
from kqworker.kq.push.push_options import PushOptions
from kqworker.types import Output

if TYPE_CHECKING:
    from kqworker.kafka.sink import KafkaSink

# How long the first push waits for the count of partitions, where the balancer needs it.
FIRST_COUNT = 10.0
# A later question may take this long; what was counted before holds until it is answered.
NEXT_COUNT = 1.0
COUNT_INTERVAL = 30.0


class PushDelivery(Delivery):
    """The delivery of a pushed message, which knows whether anybody waits for it.

    Attributes:
        producer: Which delivers it.
    """

    __slots__ = ("_claimed", "_failure", "_held", "_then", "_waiters", "producer")

    def __init__(self, producer: PushProducer, then: Callable[[PushDelivery], None] | None) -> None:
        super().__init__()
        self.producer = producer
        self._claimed = False
        self._failure: BaseException | None = None
        # While the push goes on, nothing of the application is called under its feet.
        self._held = True
        self._then = then
        # In a row, and not each around the one before: thousands may wait for one message.
        self._waiters: dict[Callable[[], None], None] = {}

    def wait(self, timeout: float | None = None) -> Delivery:
        """Wait until it is delivered, and return it; a failure counts as told.

        Args:
            timeout: Seconds, at least 0; None waits for as long as Kafka is tried, 30 s.

        Raises:
            TimeoutError: It is still under way; it may be delivered later.
            BrokerError: It cannot be delivered.
            RuntimeError: It was pushed before this process was forked.
        """
        self.producer.claim(self)
        try:
            return super().wait(timeout)
        except BaseException as error:  # Ctrl-C too: then nobody waits any more
            if error is not self._failure:
                self.producer.unclaim(self)
            raise

    def _resolve(self, partition: int | None, offset: int | None) -> None:
        super()._resolve(partition, offset)
        self.producer.settled(self)

    def _fail(self, error: BaseException) -> None:
        # Before those who wait are woken: they may end the process.
        self.producer.failed(self, error)
        super()._fail(error)
        self.producer.settled(self)


class PushProducer:
    """One producer for one topic; every method is safe to call from several threads.

    Args:
        addrs: The bootstrap addresses.
        topic: Where messages go.
        options: What the pusher was told.
        sync: Whether every push waits for its delivery.

    Attributes:
        pid: The process that it works in.

    Raises:
        ConfigError: librdkafka refuses an option, such as a certificate.
    """

    def __init__(
        self, addrs: tuple[str, ...], topic: str, options: PushOptions, sync: bool
    ) -> None:
        self.pid = os.getpid()
        self._topic = topic
        self._options = options
        self._sink = _open(addrs, options.properties(sync))
        # Guards what is told of deliveries; nothing is called while it is held.
        self._lock = threading.Lock()
        self._untold: dict[PushDelivery, BaseException] = {}
        self._raised: BaseException | None = None
        # What everybody is told who closes at the same time.
        self._judging = threading.Lock()
        self._judged = False
        self._verdict: KQWorkerError | None = None
        self._deadline: float | None = None
        self._left = 0
        self._under_way = 0
        self._callbacks = 0
        self._calling = threading.local()
        self._choosing = threading.Lock()
        balancer = options.balancer
        self._choose = balancer.chooser() if isinstance(balancer, Counting) else None
        self._partitions = 0
        self._count_at = 0.0
        process_exit.renew(self)

    @property
    def counts(self) -> bool:
        """Whether a push may have to wait until Kafka has told how many partitions there are."""
        return self._choose is not None

    def push(
        self, output: Output, patience: float, given_up: Callable[[], bool] | None = None
    ) -> PushDelivery | None:
        """Produce a message.

        Args:
            output: The message.
            patience: Seconds to wait for room in the buffer.
            given_up: Asked while it waits, whether somebody has called it off.

        Returns:
            Its delivery; None where there was no room in time, or it was called off.

        Raises:
            BrokerError: Kafka does not tell how many partitions there are.
            RuntimeError: The pusher is closed.
        """
        if self._choose is not None:
            size = len(output.key or b"") + len(output.value or b"")
            output = replace(output, partition=self._chosen(self._choose, size, given_up))
        delivery = PushDelivery(self, self._callback(output))
        try:
            self._sink.send(output, delivery, patience, given_up)
        except TimeoutError:
            return None
        except RuntimeError:
            raise closed(self._topic) from None
        self._released(delivery)
        return delivery

    def in_callback(self) -> bool:
        """Return whether the caller is a delivery callback, which nobody must wait in."""
        return getattr(self._calling, "now", False)

    def complain(self) -> None:
        """Raise what nobody has been told of yet, once, or why this caller cannot push.

        Raises:
            BrokerError: Messages were not delivered, and nobody waited for them.
            HandlerError: The delivery callback raised.
            RuntimeError: This is a delivery callback.
        """
        if self.in_callback():
            raise RuntimeError("a delivery callback cannot push: it holds up what is under way")
        if not self._untold and self._raised is None:
            return
        self._complain("nothing was pushed now: ")

    def begin_close(self, timeout: float) -> None:
        """Take nothing more, and let the time begin that a close has; do not wait.

        Args:
            timeout: Seconds, at least 0; where it was begun before, the earlier end holds.
        """
        self._bound(timeout)
        self._sink.begin_close(timeout)

    def close(self, timeout: float) -> None:
        """Deliver everything, and end the connections.

        Interrupted, it may be called again; several threads that call it are told the same.

        Args:
            timeout: Seconds, at least 0; the earliest end of several holds.

        Raises:
            BrokerError: Something was not delivered in time, or had failed before.
            HandlerError: The delivery callback raised, or still runs.
        """
        self._bound(timeout)
        answered = self._sink.close(timeout)
        with self._judging:
            if not self._judged:
                try:
                    self._judge(answered, timeout)
                except KQWorkerError as verdict:
                    self._verdict = verdict
                self._judged = True
        if self._verdict is not None:
            raise self._verdict

    def after_fork(self) -> None:
        """Make the lock anew that a child takes who looks at a delivery of its parent's."""
        self._lock = threading.Lock()

    def _bound(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._lock:
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    def _judge(self, answered: bool, timeout: float) -> None:
        with self._lock:
            stuck = not answered and self._callbacks > 0
            unknown = self._under_way
        late = f", {self._left} of them still under way after {timeout:g} s" if self._left else ""
        if not stuck:
            self._complain(late=late)
            if self._sink.fatal is not None:
                raise self._sink.fatal
            return
        text = (
            f"the delivery callback of the pusher to {self._topic!r} still runs after {timeout:g} s"
        )
        if unknown:
            text += f", and holds up what became of {_messages(unknown)}"
        try:
            self._complain(late=late)
        except KQWorkerError as error:
            raise HandlerError(f"{text}; {error}") from error
        raise HandlerError(text)

    def when_settled(self, delivery: PushDelivery, call: Callable[[], None]) -> None:
        """Call a function, which cannot fail, once a message is delivered or has failed."""
        with self._lock:
            if not delivery.done:
                delivery._waiters[call] = None
                return
        call()

    def forget(self, delivery: PushDelivery, call: Callable[[], None]) -> None:
        """Call a function no more that waited for the end of a delivery."""
        with self._lock:
            delivery._waiters.pop(call, None)

    # -- told by deliveries

    def claim(self, delivery: PushDelivery) -> None:
        """Leave a failure to somebody who waits for it.

        Raises:
            RuntimeError: Nobody here will ever be told, in a child forked since.
        """
        if self.pid != os.getpid() and not delivery.done:
            raise RuntimeError(
                "this message was pushed before a fork: only the parent learns what became of it"
            )
        with self._lock:
            delivery._claimed = True
            self._untold.pop(delivery, None)

    def unclaim(self, delivery: PushDelivery) -> None:
        """Take it back: nobody waits any more."""
        with self._lock:
            delivery._claimed = False
            if delivery._failure is not None:
                self._untold[delivery] = delivery._failure

    def failed(self, delivery: PushDelivery, error: BaseException) -> None:
        """Keep a failure until somebody is told."""
        with self._lock:
            delivery._failure = error
            late = self._deadline is not None and time.monotonic() >= self._deadline
            self._left += late
            # A close tells of what it has cut off, whoever else waits for it.
            if late or not delivery._claimed:
                self._untold[delivery] = error

    def settled(self, delivery: PushDelivery) -> None:
        """Call what waits for the end of a delivery."""
        with self._lock:
            self._under_way -= 1
            waiters, delivery._waiters = delivery._waiters, {}
            then = None
            if not delivery._held:
                then, delivery._then = delivery._then, None
        for call in waiters:
            call()
        if then is not None:
            then(delivery)

    # -- inside

    def _released(self, delivery: PushDelivery) -> None:
        with self._lock:
            # Below 0 before this, where it was answered in the middle of the push.
            self._under_way += 1
            delivery._held = False
            if not delivery.done:
                return
            then, delivery._then = delivery._then, None
        if then is not None:
            then(delivery)

    def _callback(self, output: Output) -> Callable[[PushDelivery], None] | None:
        callback = self._options.on_delivery
        if callback is None:
            return None
        key, value = output.key or b"", output.value or b""

        def call(delivery: PushDelivery) -> None:
            self._calling.now = True
            with self._lock:
                self._callbacks += 1
            try:
                refuse_unrun(callback(key, value, delivery), "the delivery callback")
            except BaseException as error:  # the application's, in a thread that must go on
                with self._lock:
                    self._raised = self._raised or error
            finally:
                with self._lock:
                    self._callbacks -= 1
                self._calling.now = False

        return call

    def _complain(self, before: str = "", late: str = "") -> None:
        with self._lock:
            untold, self._untold = self._untold, {}
            raised, self._raised = self._raised, None
        if untold:
            what, first = _messages(len(untold)), next(iter(untold.values()))
            retriable = all(isinstance(e, BrokerError) and e.retriable for e in untold.values())
            raise BrokerError(
                f"{before}{what} to topic {self._topic!r} could not be delivered{late}; "
                f"the first: {first}",
                retriable,
            ) from (raised or first)
        if raised is not None:
            raise HandlerError(
                f"{before}the delivery callback of the pusher to {self._topic!r} raised "
                f"{type(raised).__name__}: {raised}"
            ) from raised

    def _chosen(
        self,
        choose: Callable[[int, int], int],
        size: int,
        given_up: Callable[[], bool] | None,
    ) -> int:
        with self._choosing:
            now = time.monotonic()
            if now >= self._count_at:
                known = self._partitions > 0
                try:
                    timeout = NEXT_COUNT if known else FIRST_COUNT
                    self._partitions = self._sink.partitions(self._topic, timeout, given_up)
                except BrokerError:
                    # A broker that is away says so by what is not delivered.
                    if not known:
                        raise
                except RuntimeError:
                    raise closed(self._topic) from None
                self._count_at = time.monotonic() + COUNT_INTERVAL
            return choose(size, self._partitions)


def closed(topic: str) -> RuntimeError:
    """Return the error of a push that comes too late."""
    return RuntimeError(f"the pusher to topic {topic!r} is closed")


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _open(addrs: tuple[str, ...], kafka: dict[str, str]) -> KafkaSink:
    # Here, and not above: what a handler's module imports, every worker imports.
    from kqworker.settings.settings import Settings
    from kqworker.sinks import open_sink

    return open_sink(Settings(brokers=addrs, kafka=kafka))
