"""What a pusher and its asynchronous twin have in common: how their messages leave.

Decides what a message is made of (go-queue's keys, trace headers), which process a producer
belongs to, whether a push waits for its delivery, and what the process still delivers at its end.
Imports no Kafka before the first push. Tested by tests/kq/test_pusher.py,
tests/kq/test_async_pusher.py and tests/kafka/test_kq_pusher.py.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kqworker.app import process_exit
from kqworker.app.connection import Connection
from kqworker.app.context import is_collecting
from kqworker.app.payload import topic_fault
from kqworker.errors import BrokerError, ConfigError, KQWorkerError
from kqworker.kq.push.push_options import PushOptions
from kqworker.kq.trace import trace_headers
from kqworker.settings import values
from kqworker.types import Headers, Output
from kqworker.watch import logs

if TYPE_CHECKING:
    from kqworker.kq.push.pushing import PushDelivery, PushProducer

_logger = logs.logger("kqworker.kq")

CLOSE_TIMEOUT = 30.0
HURRIED_TIMEOUT = 1.0


class PushChannel:
    """The messages of one pusher, and in each process the producer that takes them.

    Safe to use from several threads. A pickle leaves its connection out.

    Args:
        addrs: As the user gave them.
        topic: As the user gave it.
        options: What the user's options say together.

    Attributes:
        topic: Where messages go.

    Raises:
        ConfigError: Addresses or topic are wrong; the text names them.
    """

    def __init__(self, addrs: str | Sequence[str], topic: str, options: PushOptions) -> None:
        try:
            checked = values.addresses(addrs)
        except ValueError as error:
            raise ConfigError(f"addrs={addrs!r}: must be {error}") from None
        if not checked:
            raise ConfigError(f"addrs={addrs!r}: must be at least one address, host:port")
        fault = topic_fault(topic)
        if fault is not None:
            raise ConfigError(fault)
        self.topic = topic
        self._addrs = checked
        self._options = options
        self._connection = Connection["PushProducer"](self)
        self._closed = False

    def __str__(self) -> str:
        return f"to {self.topic!r} at {','.join(self._addrs)}"

    def __reduce__(self) -> tuple[type[PushChannel], tuple[object, ...]]:
        # A connection stays in its process.
        return PushChannel, (self._addrs, self.topic, self._options)

    @property
    def waits(self) -> bool:
        """Whether each push waits for its delivery."""
        return self._options.sync or is_collecting()

    # Messages

    def stamped(self, value: str | bytes) -> Output:
        """Return a message under the time in nanoseconds, with the headers of the trace."""
        return self.traced(str(time.time_ns()), value)

    def traced(self, key: str | bytes, value: str | bytes) -> Output:
        """Return a message under a key, with the headers of the trace that is active."""
        return self._output(key, value, trace_headers())

    def plain(self, key: str | bytes, value: str | bytes) -> Output:
        """Return a message under a key, without headers."""
        return self._output(key, value, ())

    def _output(self, key: str | bytes, value: str | bytes, headers: Headers) -> Output:
        return Output(self.topic, _bytes("value", value), _bytes("key", key), headers)

    # Their way

    def send(self, output: Output, given_up: Callable[[], bool] | None = None) -> PushDelivery:
        """Hand a message to the producer; wait until there is a producer, and room.

        Args:
            output: The message.
            given_up: Asked while it waits: whether to give up.

        Raises:
            BrokerError, ConfigError, HandlerError, RuntimeError: As `Pusher.push`.
        """
        producer = self._connection.open(self._make)
        self._ready(producer)
        delivery = producer.push(output, self._options.buffer_timeout, given_up)
        if delivery is None:
            raise BrokerError(
                f"the buffer of the pusher to topic {self.topic!r} has been full for "
                f"{self._options.buffer_timeout:g} s: "
                "Kafka takes messages more slowly than they are pushed, or not at all",
                retriable=True,
            )
        return delivery

    def send_at_once(self, output: Output) -> PushDelivery | None:
        """Hand a message to the producer; return None where it would have to wait.

        Raises:
            BrokerError, HandlerError, RuntimeError: As `Pusher.push`.
        """
        producer = self._connection.opened()
        if producer is None or producer.counts:
            return None
        self._ready(producer)
        return producer.push(output, 0.0)

    def close(self, timeout: float) -> None:
        """Deliver everything, and end the connections; see `Pusher.close`."""
        if not isinstance(timeout, (int, float)):
            raise TypeError(f"close(timeout={timeout!r}): must be a number of seconds")
        if not (math.isfinite(timeout) and 0 <= timeout <= threading.TIMEOUT_MAX / 2):
            raise ValueError(f"close(timeout={timeout!r}): must be seconds, at least 0")
        opened = self._connection.opened()
        if opened is not None and opened.in_callback():
            raise RuntimeError("a delivery callback cannot close its pusher")
        self._closed = True
        producer = self._connection.awaited()
        if producer is None:
            return
        # After an interrupt the messages stay ours: the next close, or the exit, goes on.
        try:
            producer.close(timeout)
        except KQWorkerError:
            self._connection.forget(producer)
            raise
        self._connection.forget(producer)

    def close_after(self, error: BaseException | None) -> None:
        """Close at the end of a `with` block.

        Args:
            error: What has ended the block. After Ctrl-C and a cancellation it does not wait until
                Kafka has come back; after SystemExit it may take as long as an exit.

        Raises:
            BrokerError, HandlerError: As `Pusher.close`, unless the block raised: then it
                becomes a note on the block's own error.
        """
        hurried = error is not None and not isinstance(error, Exception)
        timeout = HURRIED_TIMEOUT if hurried else CLOSE_TIMEOUT
        try:
            self.close(process_exit.EXIT_TIMEOUT if isinstance(error, SystemExit) else timeout)
        except KQWorkerError as failure:
            if error is None:
                raise
            # The failure of its messages must not hide what ended the block.
            error.add_note(str(failure))
            if hurried:
                # These errors are printed without their notes, or without some of them.
                _logger.error("%s", failure)

    def _ready(self, producer: PushProducer) -> None:
        """Raise why nothing can be pushed."""
        # A callback is told why it cannot push, even if a close goes on.
        if self._closed and not producer.in_callback():
            from kqworker.kq.push.pushing import closed

            raise closed(self.topic)
        producer.complain()

    def _make(self) -> PushProducer:
        from kqworker.kq.push.pushing import PushProducer, closed

        if self._closed:
            raise closed(self.topic)
        return PushProducer(self._addrs, self.topic, self._options, self.waits)

    # Called by process_exit

    def begin_end(self, timeout: float) -> None:
        """Begin to deliver everything, as the process ends."""
        producer = self._connection.opened()
        self._closed = True
        if producer is not None:
            producer.begin_close(timeout)

    def end(self, timeout: float) -> None:
        """Deliver everything, as the process ends."""
        try:
            self.close(timeout)
        except KQWorkerError as error:
            # No caller is left for an exception.
            _logger.error("%s", error)


def _bytes(what: str, given: str | bytes) -> bytes:
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, bytes):
        return given
    raise TypeError(f"a pusher takes str or bytes as {what}, not {type(given).__name__}")
