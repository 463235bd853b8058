"""The Pusher for asyncio: calls that would block are awaited.

Decides only which calls go to a thread, because they may block: the first push, a full buffer,
the count of partitions, the close. The channel decides what a push means, as for the Pusher.
Tested by tests/kq/test_async_pusher.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kqworker.errors import KQWorkerError
from kqworker.kq.push.push_channel import CLOSE_TIMEOUT, PushChannel
from kqworker.kq.push.push_options import PushOption, combined
from kqworker.types import Output
from kqworker.watch import logs

if TYPE_CHECKING:
    from kqworker.kq.push.pushing import PushDelivery

_logger = logs.logger("kqworker.kq")


class AsyncDelivery:
    """A message on its way; delivered means that all in-sync replicas have it."""

    __slots__ = ("_delivery",)

    def __init__(self, delivery: PushDelivery) -> None:
        self._delivery = delivery

    def __repr__(self) -> str:
        return repr(self._delivery)

    @property
    def done(self) -> bool:
        """Whether it was delivered or has failed."""
        return self._delivery.done

    @property
    def partition(self) -> int | None:
        """Where it was stored; None before it is delivered."""
        return self._delivery.partition

    @property
    def offset(self) -> int | None:
        """Where it was stored; None before it is delivered, or if the broker did not say."""
        return self._delivery.offset

    async def wait(self, timeout: float | None = None) -> Self:
        """Wait until it is delivered, and return it; a failure counts as told.

        Args:
            timeout: Seconds, at least 0; None waits for as long as Kafka is tried, 30 s.

        Raises:
            TimeoutError: It is still under way; it may be delivered later.
            BrokerError: It cannot be delivered.
        """
        delivery = self._delivery
        producer = delivery.producer
        if not delivery.done:
            loop = asyncio.get_running_loop()
            settled = asyncio.Event()

            def wake() -> None:
                # The loop may have ended; then nobody waits.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(settled.set)

            producer.claim(delivery)
            producer.when_settled(delivery, wake)
            try:
                async with asyncio.timeout(timeout):
                    await settled.wait()
            except BaseException as error:  # a cancelled task too: then nobody waits any more
                producer.forget(delivery, wake)
                producer.untold.unclaim(delivery)
                if not isinstance(error, TimeoutError):
                    raise
                if not delivery.done:
                    text = f"the record was not delivered within {timeout:g} s"
                    raise TimeoutError(text) from None
        delivery.wait()
        return self


class AsyncPusher:
    """Pushes messages to one topic from coroutines; otherwise as `Pusher`.

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
        return f"<AsyncPusher {self._channel}>"

    @property
    def name(self) -> str:
        """The topic."""
        return self._channel.topic

    async def push(self, value: str | bytes) -> AsyncDelivery:
        """Push a value, under the time in nanoseconds as its key.

        Args:
            value: str becomes UTF-8.

        Returns:
            The delivery under way; `await delivery.wait()` where it must be certain.

        Raises:
            BrokerError, ConfigError, HandlerError, RuntimeError, TypeError: As `Pusher.push`.
        """
        return await self._push(self._channel.stamped(value))

    async def push_with_key(self, key: str | bytes, value: str | bytes) -> AsyncDelivery:
        """Push a value under a key, with the headers of the active trace.

        Args:
            key: Messages with one key go to one partition, unless the balancer ignores keys.
            value: str becomes UTF-8.

        Returns:
            As `push`.

        Raises:
            BrokerError, ConfigError, HandlerError, RuntimeError, TypeError: As `Pusher.push`.
        """
        return await self._push(self._channel.traced(key, value))

    async def kpush(self, key: str | bytes, value: str | bytes) -> AsyncDelivery:
        """Push a value under a key, without the headers of a trace, as go-queue's KPush.

        Args:
            key: As for `push_with_key`.
            value: str becomes UTF-8.

        Returns:
            As `push`.

        Raises:
            BrokerError, ConfigError, HandlerError, RuntimeError, TypeError: As `Pusher.push`.
        """
        return await self._push(self._channel.plain(key, value))

    async def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Deliver everything that was pushed, and end the connections.

        Args:
            timeout: Seconds, at least 0. What is not delivered by then has failed.

        Raises:
            BrokerError: Messages were not delivered; the text says how many are left.
            HandlerError: The callback of `with_on_delivery` raised, or still runs when the
                time is over.
            TypeError, ValueError: The timeout is no number of seconds; nothing is changed.
        """
        await self._close(partial(self._channel.close, timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close(partial(self._channel.close_after, error))

    async def _close(self, close: Callable[[], None]) -> None:
        cancelled = threading.Event()

        def run() -> None:
            try:
                close()
            except KQWorkerError as error:
                if not cancelled.is_set():
                    raise
                # Its thread goes on to the end, and no caller is left for the error.
                _logger.error("%s", error)

        try:
            await asyncio.to_thread(run)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def _push(self, output: Output) -> AsyncDelivery:
        channel = self._channel
        delivery = channel.send_at_once(output)
        if delivery is None:
            given_up = threading.Event()
            try:
                delivery = await asyncio.to_thread(channel.send, output, given_up.is_set)
            finally:
                # After a cancellation it does not send, nor hold up its thread and the loop's end.
                given_up.set()
        pushed = AsyncDelivery(delivery)
        return await pushed.wait() if channel.waits else pushed


def new_async_pusher(addrs: str | Sequence[str], topic: str, *options: PushOption) -> AsyncPusher:
    """Return a pusher for asyncio.

    Args:
        addrs: Kafka's bootstrap addresses, `host:port`, a list or with commas between them.
        topic: Its name.
        *options: What the functions `with_…` return.

    Raises:
        ConfigError: One of them is not what it must be; the text names it.
    """
    return AsyncPusher(addrs, topic, *options)
