"""Trace headers: those of the message being handled, and those that a push takes along.

Does as go-queue does (`kq/internal/trace.go`, the propagators of go-zero: W3C trace
context and baggage): what a handler pushes is in the trace of its message. Uses OpenTelemetry
if the application has imported it, and does not need it otherwise. Knows nothing of
Kafka. Tested by tests/kq/test_trace.py.
"""

from __future__ import annotations

import contextvars
import importlib
import re
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from kqworker.types import Headers

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
BAGGAGE = "baggage"

_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.S)

_handled: contextvars.ContextVar[Headers] = contextvars.ContextVar("kqworker_headers", default=())


class handling:
    """Put pushes inside into the trace of the message that has these headers.

    If OpenTelemetry is imported, spans that are started inside are children of it, too.

    Args:
        headers: The message's; None if it has none.
    """

    __slots__ = ("_detach", "_headers", "_token")

    def __init__(self, headers: Headers | None) -> None:
        self._headers = headers or ()
        self._detach: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        self._token = _handled.set(self._headers)
        if "opentelemetry.trace" in sys.modules:
            self._detach = _attach(self._headers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._detach is not None:
            self._detach()
        _handled.reset(self._token)


def trace_headers() -> Headers:
    """Return the headers of the active trace, in go-queue's order; none without a trace.

    The trace is the active span of OpenTelemetry, or else that of the message that is being
    handled.
    """
    found = _of_the_message(_handled.get())
    if "opentelemetry.trace" in sys.modules:
        found = _of_open_telemetry(found)
    return tuple((name, value.encode()) for name, value in found.items())


def normal(traceparent: str) -> str | None:
    """Return what Go passes on for a `traceparent`; None if it is invalid.

    The version becomes 00, and of the flags only "sampled" stays
    (https://www.w3.org/TR/trace-context/#traceparent-header).

    >>> normal("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more")
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    """
    parts = _FORM.fullmatch(traceparent)
    if parts is None:
        return None
    version, trace, span, flags, more = parts.groups()
    if not trace.strip("0") or not span.strip("0"):
        return None
    if version == "00" and (more is not None or int(flags, 16) > 2):
        return None
    return _sampled_only(f"00-{trace}-{span}-{flags}")


def _sampled_only(traceparent: str) -> str:
    return f"{traceparent[:-2]}{int(traceparent[-2:], 16) & 1:02x}"


def _of_the_message(headers: Headers) -> dict[str, str]:
    """Return the trace that is in a message's headers, in the order in which Go writes it."""
    texts = _texts(headers)
    found = {}
    traceparent = normal(texts.get(TRACEPARENT, ""))
    if traceparent is not None:
        if state := texts.get(TRACESTATE):
            found[TRACESTATE] = state
        found[TRACEPARENT] = traceparent
    if baggage := texts.get(BAGGAGE):
        found[BAGGAGE] = baggage
    return found


def _texts(headers: Headers) -> dict[str, str]:
    """Return the headers that are text; of two with one name, the first, as in Go."""
    texts: dict[str, str] = {}
    for name, value in headers:
        if name not in texts and value is not None:
            try:
                texts[name] = value.decode()
            except UnicodeDecodeError:
                continue
    return texts


# Any: its modules have no types here, because it need not be installed.
def _module(name: str) -> Any:
    return importlib.import_module(f"opentelemetry.{name}")


def _of_open_telemetry(message: dict[str, str]) -> dict[str, str]:
    """Return what its propagator writes; without an active span the message's trace."""
    carrier: dict[str, str] = {}
    _module("propagate").inject(carrier)
    if not _module("trace").get_current_span().get_span_context().is_valid:
        return {**message, **carrier}
    found = {}
    # Python's writes these two the other way round.
    if state := carrier.pop(TRACESTATE, None):
        found[TRACESTATE] = state
    if traceparent := carrier.pop(TRACEPARENT, None):
        found[TRACEPARENT] = _sampled_only(traceparent)
    return {**found, **carrier}


def _attach(headers: Headers) -> Callable[[], None]:
    context = _module("context")
    # For this message alone: one without a trace is not in that of the message before.
    token = context.attach(_module("propagate").extract(_texts(headers), context.Context()))
    return lambda: context.detach(token)
