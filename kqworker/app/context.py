"""What a handler can learn about its message, and what it pushes meanwhile.

In a worker a push is collected, not produced: the supervisor delivers it once the handler
has returned, before the message is finished, and drops it with a failed attempt. It belongs
to the message in whose context it is made: a task, or code in a copy of that context, may
outlive its message, and must not push into the next one. One invocation runs at a time, so
each process needs only one list. Knows nothing of signatures or Kafka.
Tested by tests/app/test_context.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from kqworker.app.delivery import Delivery
from kqworker.app.payload import HeadersLike
from kqworker.types import Headers, Output, Segment, TopicPartition
from kqworker.watch import logs

_logger = logs.logger("kqworker.handler")


class Push(Protocol):
    """The signature of `App.push`."""

    def __call__(
        self,
        topic: str,
        value: object,
        *,
        key: str | bytes | None = None,
        headers: HeadersLike | None = None,
        partition: int | None = None,
    ) -> Delivery:
        """Push a value to a topic."""
        ...


class Handling(Protocol):
    """What a context must know about its handler."""

    @property
    def name(self) -> str:
        """Return the handler's name."""
        ...

    @property
    def app_push(self) -> Push:
        """Return the push of the handler's app."""
        ...


class Context:
    """The message that a handler works on, for handlers that annotate a parameter with it.

    Attributes:
        attempt: 1 for the first time that the message is handed to a handler.
        deadline: When the time limit ends the worker, in seconds of `time.monotonic()`;
            None without a limit.
    """

    __slots__ = ("_handler", "_index", "_origin", "_segment", "attempt", "deadline")

    def __init__(
        self, handler: Handling, segment: Segment, index: int, deadline: float | None
    ) -> None:
        self._handler = handler
        self._segment = segment
        self._index = index
        self._origin = current.get()
        self.attempt = segment.attempt
        self.deadline = deadline

    @property
    def topic(self) -> str:
        """The topic that the message came from."""
        return self._segment.records.partition.topic

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self._segment.records.partition.partition

    @property
    def offset(self) -> int:
        """The message's offset in its partition."""
        return self._segment.records.offsets[self._index]

    @property
    def headers(self) -> Headers:
        """The message's headers, in the record's order; a name may stand more than once."""
        column = self._segment.records.headers
        return () if column is None else column[self._index] or ()

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry topic, partition, offset, attempt and handler."""
        fields = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "attempt": self.attempt,
            "handler": self._handler.name,
        }
        return _FieldsAdapter(_logger, fields)

    def push(
        self,
        topic: str,
        value: object,
        *,
        key: str | bytes | None = None,
        headers: HeadersLike | None = None,
        partition: int | None = None,
    ) -> Delivery:
        """Push a value as `App.push` does, from any thread.

        In a worker it is delivered after the handler has returned and before its message
        is finished; if the handler raises, it is dropped.

        Raises:
            RuntimeError: The message has ended.
        """
        # A thread has no context of its own before Python 3.14.
        before = current.set(self._origin)
        try:
            return self._handler.app_push(
                topic, value, key=key, headers=headers, partition=partition
            )
        finally:
            current.reset(before)


class _FieldsAdapter(logging.LoggerAdapter[logging.Logger]):
    """Adds its fields to those of a call; the standard one replaces them before 3.13."""

    def process(
        self,
        msg: Any,  # as in the base class: what a caller logs
        kwargs: MutableMapping[str, Any],
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class CollectedDelivery(Delivery):
    """A push inside a worker: it stays pending as long as the handler can look at it."""

    def wait(self, timeout: float | None = None) -> Delivery:
        """Refuse: the handler would wait for its own end."""
        raise RuntimeError(
            "what a handler pushes is delivered after it has returned and before its message is "
            "finished: do not wait for it; if it cannot be delivered, the message is not finished"
        )


class Origin:
    """The message that a push belongs to, for as long as one attempt lasts.

    Another attempt, or another message, gets another object if anything can still hold this
    one. It is made empty: a call with arguments would cost each message more.
    """

    __slots__ = ("index", "offsets", "partition")

    partition: TopicPartition
    offsets: Sequence[int]
    index: int  # the index of its offset

    @property
    def offset(self) -> int:
        """The offset of the message."""
        return self.offsets[self.index]


# Which message a push belongs to, which one runs, and what was pushed for it. The loop over
# the messages writes to them itself: a call would cost it more.
current: ContextVar[Origin | None] = ContextVar("kqworker_message", default=None)
running: list[Origin | None] = [None]
collected: list[Output] = []
# Held during a push, because a thread may push while its message ends.
_lock = threading.Lock()
_collecting = False
_forbidden_in: ContextVar[str | None] = ContextVar("kqworker_no_pushes", default=None)


def collecting(on: bool) -> None:
    """Collect the pushes of this process from now on, or no longer."""
    global _collecting
    _collecting = on


def is_collecting() -> bool:
    """Return whether this process is a worker, where a push must not outlive its message."""
    return _collecting


def collect(output: Output) -> Delivery | None:
    """Take a push for its message; None if this process does not collect.

    Raises:
        RuntimeError: It belongs to no message that still runs, so it would not be delivered.
    """
    forbidden = _forbidden_in.get()
    if forbidden is not None:
        raise RuntimeError(
            f"{forbidden} cannot push: it belongs to no message, so nothing would ensure the "
            "delivery; push in a handler, or outside of workers"
        )
    if not _collecting:
        return None
    origin = current.get()
    if origin is None:
        raise RuntimeError(
            "a push in a worker belongs to the message in whose context it is made, and here is "
            "none, as in a thread: push by the handler's Context, or run what pushes in "
            "contextvars.copy_context() of the handler"
        )
    with _lock:
        if running[0] is origin:
            collected.append(output)
            if running[0] is origin:
                return CollectedDelivery()
            # The message ended meanwhile; if it has seen this push, it waits for the lock.
            collected.pop()
    raise RuntimeError(
        f"{origin.partition}@{origin.offset} has ended, so nothing would ensure the delivery of "
        "what is pushed for it now: the handler must wait for the thread or task that pushes"
    )


def take_outputs() -> tuple[Output, ...]:
    """Return the pushes of the message that runs, in order; it takes no more of them."""
    running[0] = None
    if not collected:
        return ()
    with _lock:
        taken = tuple(collected)
        collected.clear()
    return taken


@contextmanager
def without_pushes(where: str) -> Iterator[None]:
    """Refuse the pushes of this context while inside; the error names `where`."""
    before = _forbidden_in.set(where)
    try:
        yield
    finally:
        _forbidden_in.reset(before)
