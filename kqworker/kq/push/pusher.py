"""go-queue's Pusher: messages to one topic, each delivered or reported as failed.

Decides what its calls are named and when they wait. The channel decides what a message is
made of and which producer takes it. Imports no Kafka before the first push. Tested by
tests/kq/test_pusher.py and tests/kafka/test_kq_pusher.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from kqworker.app.delivery import Delivery
from kqworker.kq.push.push_channel import CLOSE_TIMEOUT, PushChannel
from kqworker.kq.push.push_options import PushOption, combined
from kqworker.types import Output


class Pusher:
    """Pushes messages to one topic; safe to use from several threads.

    It connects at the first push, once in each process: a pusher may be a global of a
    module, may be pickled, and may exist when a process forks. All in-sync replicas confirm
    each message, and it is stored once even if it had to be sent twice. A signal handler
    must neither push nor close: it and the push that it has interrupted would wait for each
    other for ever. Let it raise SystemExit, or set a flag.

    A push returns before its message is delivered. Waiting for the delivery raises its
    failure. If nobody waits, the next push raises it, and pushes nothing, or else `close`
    raises it. In a worker every push waits, so what a finished message has pushed is
    delivered; a message that is handled again pushes again.

    Args:
        addrs: Kafka's bootstrap addresses, `host:port`, a list or with commas between them.
        topic: Its name.
        *options: What the functions `with_…` return.

    Raises:
        ConfigError: One of them is not what it must be; the text names it.
    """

    def __init__(self, addrs: str | Sequence[str], topic: str, *options: PushOption) -> None:
        self._channel = PushChannel(addrs, topic, combined(options))

    def __repr__(self) -> str:
        return f"<Pusher {self._channel}>"

    @property
    def name(self) -> str:
        """The topic."""
        return self._channel.topic

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
            RuntimeError: The pusher is closed, or this is a delivery callback.
            TypeError: The value is neither str nor bytes.
        """
        return self._push(self._channel.stamped(value))

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
        return self._push(self._channel.traced(key, value))

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
        return self._push(self._channel.plain(key, value))

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Deliver everything that was pushed, and end the connections.

        A second call does nothing, unless the first was interrupted, for example by Ctrl-C: then
        it goes on. The end of the process calls it, with 10 s for all pushers together, and only
        logs what cannot be delivered.

        Args:
            timeout: Seconds, at least 0. What is not delivered by then has failed. If several
                threads close, the first to run out of time ends the wait for all.

        Raises:
            BrokerError: Messages were not delivered; the text says how many are left.
            HandlerError: The callback of `with_on_delivery` raised, or still runs when the
                time is over.
            RuntimeError: This is a delivery callback.
            TypeError, ValueError: The timeout is no number of seconds; nothing is changed.
        """
        self._channel.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close_after(error)

    def _push(self, output: Output) -> Delivery:
        delivery = self._channel.send(output)
        return delivery.wait() if self._channel.waits else delivery


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
