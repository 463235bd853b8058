"""Segments for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Token
from typing import Any, NoReturn

from kqworker.app.app import App
from kqworker.app.context import Context, Origin, collecting, current, running, take_outputs
from kqworker.app.handler import Handler
from kqworker.types import Headers, Records, Segment, TopicPartition

PLACE = TopicPartition("orders", 2)


def segment(
    *values: bytes | None,
    keys: Sequence[bytes | None] | None = None,
    timestamp: int = -1,
    headers: Sequence[Headers | None] | None = None,
    attempt: int = 1,
) -> Segment:
    """Return messages at offsets 10, 11, … of one partition."""
    offsets = range(10, 10 + len(values))
    records = Records(PLACE, offsets, values, keys, [timestamp] * len(values), headers, 0)
    return Segment(records, attempt)


def no_context(i: int) -> NoReturn:
    raise AssertionError("a context was made for a handler that does not ask for one")


def made(function: Any, **options: Any) -> Handler[..., Any]:
    """Return the handler that an app of its own makes of a function."""
    return App("test").handler(**{"topic": "orders", **options})(function)


def given(function: Any, *values: bytes | None, **columns: Any) -> Any:
    """Return what a handler returns for the last of these messages."""
    handler = made(function)
    messages = segment(*values, **columns)

    def context(i: int) -> Context:
        return Context(handler, messages, i, None)

    return handler.bind(messages, context)(len(values) - 1)


def begin_message(offset: int = 10) -> Token[Origin | None]:
    """Go on to a message."""
    running[0] = origin = Origin()
    origin.partition, origin.offsets, origin.index = PLACE, [offset], 0
    return current.set(origin)


@contextmanager
def in_a_message(offset: int = 10) -> Iterator[None]:
    """Be a worker on a message, as the loop over messages makes it one."""
    collecting(True)
    before = begin_message(offset)
    yield
    current.reset(before)
    take_outputs()
    collecting(False)
