"""The producer behind a pusher in one process, and what became of each message.

Decides when the application's callback runs, and what a close says. untold.py holds what nobody
has been told of; partition_choice.py asks a balancer for the partition. Knows nothing of
values, keys and trace headers. Tested by tests/kq/test_pushing.py and
tests/kafka/test_kq_pusher.py.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kqworker.app import process_exit
from kqworker.app.delivery import Delivery
from kqworker.app.payload import refuse_unrun
from kqworker.errors import HandlerError, KQWorkerError
from kqworker.kq.push.balancers import Counting
from kqworker.kq.push.partition_choice import PartitionChoice
from kqworker.kq.push.push_options import PushOptions
from kqworker.kq.push.untold import Untold, messages
from kqworker.types import Output

if TYPE_CHECKING:
    from kqworker.kafka.push_sink import KafkaPushSink


class PushDelivery(Delivery):
    """The delivery of a pushed message, which knows whether anybody waits for it.

    Attributes:
        producer: The producer that delivers it.
        claimed: Somebody waits for it; `Untold` says so.
        failure: Why it was not delivered; `Untold` says so.
    """

    __slots__ = ("_held", "_then", "_waiters", "claimed", "failure", "producer")

    def __init__(self, producer: PushProducer, then: Callable[[PushDelivery], None] | None) -> None:
        super().__init__()
        self.producer = producer
        self.claimed = False
        self.failure: BaseException | None = None
        # While the push goes on, no function of the application is called.
        self._held = True
        self._then = then
        # A flat list, and no call inside another: thousands may wait for one message.
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
            if error is not self.failure:
                self.producer.untold.unclaim(self)
            raise

    def _resolve(self, partition: int | None, offset: int | None) -> None:
        super()._resolve(partition, offset)
        self.producer.settled(self)

    def _fail(self, error: BaseException) -> None:
        # Before those who wait are woken: they may end the process.
        self.producer.untold.failed(self, error)
        super()._fail(error)
        self.producer.settled(self)


class PushProducer:
    """One producer for one topic; every method is safe to call from several threads.

    Args:
        addrs: The bootstrap addresses.
        topic: Where messages go.
        options: The pusher's options.
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
        self.untold = Untold(topic)
        # Guards the lists of functions to call; nothing is called while it is held.
        self._lock = threading.Lock()
        # Threads that close at the same time get one verdict.
        self._judging = threading.Lock()
        self._judged = False
        self._verdict: KQWorkerError | None = None
        self._under_way = 0
        self._callbacks = 0
        self._calling = threading.local()
        balancer = options.balancer
        self._choice: PartitionChoice | None = None
        if isinstance(balancer, Counting):
            self._choice = PartitionChoice(
                balancer.chooser(), partial(self._sink.partitions, topic)
            )
        process_exit.renew(self)

    @property
    def counts(self) -> bool:
        """Whether a push may have to wait until Kafka has told how many partitions there are."""
        return self._choice is not None

    def push(
        self, output: Output, patience: float, given_up: Callable[[], bool] | None = None
    ) -> PushDelivery | None:
        """Produce a message.

        Args:
            output: The message.
            patience: Seconds to wait for room in the buffer.
            given_up: Asked while it waits: whether to give up.

        Returns:
            Its delivery; None if there was no room in time, or it gave up.

        Raises:
            BrokerError: Kafka does not tell how many partitions there are.
            RuntimeError: The pusher is closed.
        """
        if self._choice is not None:
            size = len(output.key or b"") + len(output.value or b"")
            try:
                output = replace(output, partition=self._choice.of(size, given_up))
            except RuntimeError:
                raise closed(self._topic) from None
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
        """Return whether the caller is a delivery callback, in which nothing may wait."""
        return getattr(self._calling, "now", False)

    def complain(self) -> None:
        """Raise, once, what nobody has been told of yet, or why this caller cannot push.

        Raises:
            BrokerError: Messages were not delivered, and nobody waited for them.
            HandlerError: The delivery callback raised.
            RuntimeError: This is a delivery callback.
        """
        if self.in_callback():
            raise RuntimeError("a delivery callback cannot push: it holds up what is under way")
        if self.untold:
            self.untold.tell("nothing was pushed now: ")

    def begin_close(self, timeout: float) -> None:
        """Take no more messages, and start the time of a close; do not wait.

        Args:
            timeout: Seconds, at least 0; if a close has begun before, the earlier end holds.
        """
        self.untold.bound(timeout)
        self._sink.begin_close(timeout)

    def close(self, timeout: float) -> None:
        """Deliver everything, and end the connections.

        It may be called again after an interrupt; several threads that call it get one result.

        Args:
            timeout: Seconds, at least 0; the earliest end of several holds.

        Raises:
            BrokerError: Something was not delivered in time, or had failed before.
            HandlerError: The delivery callback raised, or still runs.
        """
        self.untold.bound(timeout)
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
        """Make new locks for a child that looks at a delivery of its parent."""
        self._lock = threading.Lock()
        self.untold.after_fork()

    def _judge(self, answered: bool, timeout: float) -> None:
        with self._lock:
            stuck = not answered and self._callbacks > 0
            unknown = self._under_way
        late = self.untold.late(timeout)
        if not stuck:
            self.untold.tell(late=late)
            if self._sink.fatal is not None:
                raise self._sink.fatal
            return
        text = (
            f"the delivery callback of the pusher to {self._topic!r} still runs after {timeout:g} s"
        )
        if unknown:
            text += f", and holds up what became of {messages(unknown)}"
        try:
            self.untold.tell(late=late)
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
        """Call a function no more when a delivery ends."""
        with self._lock:
            delivery._waiters.pop(call, None)

    # -- called by deliveries

    def claim(self, delivery: PushDelivery) -> None:
        """Leave a failure to the caller that waits for it.

        Raises:
            RuntimeError: This child was forked after the push, and is never told.
        """
        if self.pid != os.getpid() and not delivery.done:
            raise RuntimeError(
                "this message was pushed before a fork: only the parent learns what became of it"
            )
        self.untold.claim(delivery)

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
            # It is below 0 before this, if the answer came in the middle of the push.
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
                self.untold.raised(error)
            finally:
                with self._lock:
                    self._callbacks -= 1
                self._calling.now = False

        return call


def closed(topic: str) -> RuntimeError:
    """Return the error of a push that comes too late."""
    return RuntimeError(f"the pusher to topic {topic!r} is closed")


def _open(addrs: tuple[str, ...], kafka: dict[str, str]) -> KafkaPushSink:
    # Not at the head of the file: every worker imports what a handler's module imports.
    from kqworker.settings.settings import Settings
    from kqworker.sinks import open_sink

    return open_sink(Settings(brokers=addrs, kafka=kafka))
