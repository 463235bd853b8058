"""go-queue's Pusher: messages to one topic, each delivered or told of.

Decides what a push is made of (go-queue's keys, trace headers), which process a producer
belongs to, and when a push waits for its delivery: with `with_sync_push`, and always in a
worker, whose message must not be finished before what it pushed. Imports no Kafka before
the first push. Tested by tests/kq/test_pusher.py and tests/kafka/test_kq_pusher.py.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kqworker import forks, values
from kqworker.context import is_collecting
from kqworker.delivery import Delivery
from kqworker.errors import BrokerError, ConfigError, KQWorkerError
from kqworker.kq.push_options import PushOption, PushOptions, combined
from kqworker.kq.trace import inject
from kqworker.payload import topic_fault
from kqworker.types import Headers, Output

if TYPE_CHECKING:
    from kqworker.kq.pushing import PushDelivery, PushProducer

_logger = logging.getLogger("kqworker.kq")

CLOSE_TIMEOUT = 30.0
# At the interpreter's exit nobody waits for longer.
EXIT_TIMEOUT = 10.0
HURRIED_TIMEOUT = 1.0


class Pusher:
    """Pushes messages to one topic; safe to use from several threads.

    It connects at the first push, once in each process: a pusher may be a global of a
    module, be pickled, and be there when a process forks. Everything is confirmed by all
    in-sync replicas, and stored once even where it had to be sent twice. A signal handler
    must neither push nor close: the push that it has interrupted would wait for it for ever,
    and it for the push. Let it raise SystemExit, or set a flag.

    A push returns before its message is delivered. A failure is raised by whoever waits for
    the delivery; if nobody does, by the next push, which then pushes nothing, or else by
    `close`. In a worker every push waits, so what a finished message has pushed is
    delivered; a message that is handled again pushes again.

    Args:
        addrs: Kafka's bootstrap addresses, `host:port`, a list or with commas between them.
        topic: Its name.
        *options: What the functions `with_…` return.

    Raises:
        ConfigError: One of them is not what it must be; the text names it.
    """

    def __init__(self, addrs: str | Sequence[str], topic: str, *options: PushOption) -> None:
        try:
            checked = values.addresses(addrs)
        except ValueError as error:
            raise ConfigError(f"addrs={addrs!r}: must be {error}") from None
        if not checked:
            raise ConfigError(f"addrs={addrs!r}: must be at least one address, host:port")
        fault = topic_fault(topic)
        if fault is not None:
            raise ConfigError(fault)
        self._addrs = checked
        self._topic = topic
        self._options = combined(options)
        self._lock = threading.Lock()
        self._producer: PushProducer | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pusher to {self._topic!r} at {','.join(self._addrs)}>"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        # A connection stays in its process; and the functions with_… return cannot travel.
        return _restored, (type(self), self._addrs, self._topic, self._options)

    @property
    def name(self) -> str:
        """The topic."""
        return self._topic

    @property
    def _waits(self) -> bool:
        """Whether each push waits for its delivery."""
        return self._options.sync or is_collecting()

    def push(self, value: str | bytes) -> Delivery:
        """Push a value, under the time in nanoseconds as its key.

        Args:
            value: str becomes UTF-8.

        Returns:
            The delivery under way; `wait()` for it where it must be certain.

        Raises:
            BrokerError: The buffer stays full; a message that was pushed before has failed
                and nobody was told; with `with_sync_push` and in workers also: this one
                cannot be delivered.
            ConfigError: At the first push: librdkafka refuses an option.
            HandlerError: The callback of `with_on_delivery` raised.
            RuntimeError: The pusher is closed.
            TypeError: The value is neither str nor bytes.
        """
        return self.push_with_key(str(time.time_ns()), value)

    def push_with_key(self, key: str | bytes, value: str | bytes) -> Delivery:
        """Push a value under a key, with the headers of the active trace.

        Args:
            key: Messages with one key go to one partition, unless the balancer ignores keys.
            value: str becomes UTF-8.

        Returns:
            As `push`.

        Raises:
            BrokerError, ConfigError, HandlerError, RuntimeError, TypeError: As `push`.
        """
        return self._push(key, value, inject())

    def kpush(self, key: str | bytes, value: str | bytes) -> Delivery:
        """Push a value under a key, without the headers of a trace, as go-queue's KPush.

        Args:
            key: As for `push_with_key`.
            value: str becomes UTF-8.

        Returns:
            As `push`.

        Raises:
            BrokerError, ConfigError, HandlerError, RuntimeError, TypeError: As `push`.
        """
        return self._push(key, value, ())

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Deliver everything that was pushed, and end the connections.

        A second time it does nothing. When the process ends it is called by itself, with
        10 s; what it cannot deliver is then only logged.

        Args:
            timeout: Seconds, at least 0. What is not delivered by then has failed.

        Raises:
            BrokerError: Messages were not delivered; the text says how many are left.
            HandlerError: The callback of `with_on_delivery` raised.
        """
        opened = self._opened()
        if opened is not None and opened.in_callback():
            raise RuntimeError("a delivery callback cannot close its pusher")
        with self._lock:
            self._closed = True
            producer, self._producer = self._producer, None
            atexit.unregister(self._at_exit)
        if producer is not None and producer.pid == os.getpid():
            producer.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close(close_timeout(error))
        except KQWorkerError as failure:
            if error is None:
                raise
            # What ended the block is not hidden by what became of its messages.
            error.add_note(str(failure))

    # -- for the asynchronous twin

    def _opened(self) -> PushProducer | None:
        """Return the producer of this process, if there is one already."""
        producer = self._producer
        return producer if producer is not None and producer.pid == os.getpid() else None

    def _begin(self, output: Output, patience: float | None = None) -> PushDelivery | None:
        """Hand a message to the producer.

        Args:
            output: The message.
            patience: Seconds to wait for room; None for as long as the options say.

        Returns:
            Its delivery; None where there was no room.

        Raises:
            BrokerError, ConfigError, HandlerError, RuntimeError: As `push`.
        """
        producer = self._opened() or self._open()
        producer.complain()
        return producer.push(output, patience)

    def _no_room(self) -> BrokerError:
        """Return the error of a buffer that stays full."""
        seconds = self._options.buffer_timeout
        return BrokerError(
            f"the buffer of the pusher to topic {self._topic!r} has been full for {seconds:g} s: "
            "Kafka takes messages more slowly than they are pushed, or not at all",
            retriable=True,
        )

    def _output(self, key: str | bytes, value: str | bytes, headers: Headers) -> Output:
        """Return a message as it is produced."""
        return Output(self._topic, _bytes("value", value), _bytes("key", key), headers)

    # -- inside

    def _push(self, key: str | bytes, value: str | bytes, headers: Headers) -> Delivery:
        delivery = self._begin(self._output(key, value, headers))
        if delivery is None:
            raise self._no_room()
        return delivery.wait() if self._waits else delivery

    def _open(self) -> PushProducer:
        from kqworker.kq.pushing import PushProducer, closed

        with self._lock:
            if self._closed:
                raise closed(self._topic)
            if self._producer is not None and self._producer.pid != os.getpid():
                forks.leave(self._producer)
                self._producer = None
            if self._producer is None:
                self._producer = PushProducer(self._addrs, self._topic, self._options, self._waits)
                forks.at_exit(self._at_exit)
            return self._producer

    def _at_exit(self) -> None:
        try:
            self.close(EXIT_TIMEOUT)
        except KQWorkerError as error:
            # Nobody is left whom an exception could reach.
            _logger.error("%s", error)


def close_timeout(error: BaseException | None) -> float:
    """Return the seconds to wait for deliveries after a `with` that this has ended.

    Ctrl-C and a cancellation are answered soon, and not when Kafka has come back.
    """
    return HURRIED_TIMEOUT if error and not isinstance(error, Exception) else CLOSE_TIMEOUT


def new_pusher(addrs: str | Sequence[str], topic: str, *options: PushOption) -> Pusher:
    """Return a pusher, as go-queue's NewPusher.

    Args:
        addrs: Kafka's bootstrap addresses, `host:port`, a list or with commas between them.
        topic: Its name.
        *options: What the functions `with_…` return.

    Raises:
        ConfigError: One of them is not what it must be; the text names it.
    """
    return Pusher(addrs, topic, *options)


def _restored(
    kind: type[Pusher], addrs: tuple[str, ...], topic: str, options: PushOptions
) -> Pusher:
    return kind(addrs, topic, PushOption(lambda _: options))


def _bytes(what: str, given: str | bytes) -> bytes:
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, bytes):
        return given
    raise TypeError(f"a pusher takes str or bytes as {what}, not {type(given).__name__}")
