"""What a handler may learn of the message that it is on, and what it pushes meanwhile.

In a worker a push is collected, not produced: the supervisor delivers it once the handler
has returned, before the message is finished, and drops it with a failed attempt. One
invocation runs at a time, so one list a process does; it serves threads of the handler too.
Knows nothing of signatures or Kafka. Tested by tests/app/test_context.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Protocol

from kqworker import logs
from kqworker.delivery import Delivery
from kqworker.payload import HeadersLike
from kqworker.types import Headers, Output, Segment

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
    """What a context must know of its handler."""

    @property
    def name(self) -> str:
        """Return the handler's name."""
        ...

    @property
    def app_push(self) -> Push:
        """Return the push of the handler's app."""
        ...


class Context:
    """The message that a handler is on, for handlers that annotate a parameter with it.

    Attributes:
        attempt: 1 for the first time that the message is handed to a handler.
        deadline: When the time limit ends the worker, in seconds of `time.monotonic()`;
            None without a limit.
    """

    __slots__ = ("_handler", "_index", "_segment", "attempt", "deadline")

    def __init__(
        self, handler: Handling, segment: Segment, index: int, deadline: float | None
    ) -> None:
        self._handler = handler
        self._segment = segment
        self._index = index
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
        """Push a value; the same as `App.push`.

        In a worker it is delivered after the handler has returned and before its message
        is finished; if the handler raises, it is dropped.
        """
        return self._handler.app_push(topic, value, key=key, headers=headers, partition=partition)


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
        """Refuse: waiting here would be waiting for oneself."""
        raise RuntimeError(
            "what a handler pushes is delivered after it has returned and before its message is "
            "finished: do not wait for it; if it cannot be delivered, the message is not finished"
        )


_outputs: list[Output] = []
_collecting = False
_forbidden_in: str | None = None


def collecting(on: bool) -> None:
    """Collect what is pushed in this process from now on, or no longer."""
    global _collecting
    _collecting = on


def is_collecting() -> bool:
    """Return whether this process is a worker, where a push must not outlive its message."""
    return _collecting


def collect(output: Output) -> Delivery | None:
    """Take a push into the current invocation's list; None where nothing is collected.

    Raises:
        RuntimeError: Outside of an invocation, where nobody would deliver it.
    """
    if _forbidden_in is not None:
        raise RuntimeError(
            f"{_forbidden_in} cannot push: it belongs to no message, so nothing would ensure the "
            "delivery; push in a handler, or outside of workers"
        )
    if not _collecting:
        return None
    _outputs.append(output)
    return CollectedDelivery()


def take_outputs() -> tuple[Output, ...]:
    """Return what was pushed since the last call, in order, and forget it."""
    if not _outputs:
        return ()
    taken = tuple(_outputs)
    # A thread that the handler left running may have pushed in between.
    del _outputs[: len(taken)]
    return taken


@contextmanager
def without_pushes(where: str) -> Iterator[None]:
    """Refuse pushes of this process while inside; `where` is named in the error."""
    global _forbidden_in
    _forbidden_in = where
    try:
        yield
    finally:
        _forbidden_in = None
