"""Trace headers are those that go-queue would write."""

from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from kqworker.kq.trace import handling, normal, trace_headers

there = pytest.mark.parametrize("telemetry", ["with OpenTelemetry"], indirect=True)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-00"
Headers = Sequence[tuple[str, bytes | None]]


@pytest.fixture(params=["without OpenTelemetry", "with OpenTelemetry"], autouse=True)
def telemetry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the process has imported it, which must make no difference to what is handled."""
    if request.param == "without OpenTelemetry":
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")


def test_without_a_trace_there_is_no_header() -> None:
    assert trace_headers() == ()
    with handling(None):
        assert trace_headers() == ()


def test_what_is_pushed_while_a_message_is_handled_is_in_its_trace() -> None:
    headers = (
        ("other", b"stays"),
        ("baggage", b"user=7"),
        ("traceparent", PARENT.encode()),
        ("tracestate", b"vendor=1"),
    )
    with handling(headers):
        # Go's order.
        assert trace_headers() == (
            ("tracestate", b"vendor=1"),
            ("traceparent", PARENT.encode()),
            ("baggage", b"user=7"),
        )
    assert trace_headers() == ()


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", b"\xff")],
        [("traceparent", None)],
        [("traceparent", b"nonsense"), ("tracestate", b"vendor=1")],
        [("tracestate", b"vendor=1")],
    ],
)
def test_what_is_no_trace_is_not_passed_on(headers: Headers) -> None:
    with handling(headers):
        assert trace_headers() == ()


def test_baggage_travels_without_a_trace() -> None:
    with handling([("baggage", b"user=7")]):
        assert trace_headers() == (("baggage", b"user=7"),)


def test_of_a_name_that_stands_twice_the_first_counts() -> None:
    with handling([("traceparent", PARENT.encode()), ("traceparent", OTHER.encode())]):
        assert trace_headers() == (("traceparent", PARENT.encode()),)


def test_the_message_before_comes_back() -> None:
    with handling([("traceparent", PARENT.encode())]):
        with handling([("traceparent", OTHER.encode())]):
            assert trace_headers() == (("traceparent", OTHER.encode()),)
        assert trace_headers() == (("traceparent", PARENT.encode()),)


def test_a_message_without_headers_is_in_no_trace() -> None:
    with handling([("traceparent", PARENT.encode())]), handling(()):
        assert trace_headers() == ()


def test_another_thread_has_its_own_message() -> None:
    found: list[Headers] = []
    with handling([("traceparent", PARENT.encode())]):
        bare = threading.Thread(target=contextvars.Context().run, args=[found_by(found)])
        bare.start()
        bare.join()
    assert found == [()]


def found_by(found: list[Headers]):  # type: ignore[no-untyped-def]
    return lambda: found.append(trace_headers())


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (PARENT, PARENT),
        (PARENT.replace("-01", "-00"), PARENT.replace("-01", "-00")),
        (PARENT.replace("-01", "-02"), PARENT.replace("-01", "-00")),
        (PARENT.replace("-01", "-03"), None),
        ("cc" + PARENT[2:], PARENT),
        ("cc" + PARENT[2:-2] + "ff", PARENT),
        ("cc" + PARENT[2:] + "-more", PARENT),
        ("ff" + PARENT[2:], None),
        (PARENT + "-more", None),
        (PARENT + "-", None),
        (PARENT + " ", None),
        (PARENT.upper(), None),
        (PARENT[:3] + "0" * 32 + PARENT[35:], None),
        (PARENT[:36] + "0" * 16 + PARENT[52:], None),
        (PARENT[1:], None),
        ("", None),
    ],
)
def test_a_trace_is_passed_on_as_go_does(given: str, passed_on: str | None) -> None:
    assert normal(given) == passed_on


def span(flags: int = 1, state: TraceState | None = None) -> context.Context:
    """A context in which a span is active."""
    of = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(flags), trace_state=state)
    return trace.set_span_in_context(NonRecordingSpan(of))


ACTIVE = "00-00000000000000000000000000000001-0000000000000002-01"


@there
def test_the_active_span_is_the_trace() -> None:
    active = baggage.set_baggage("user", "7", span(3, TraceState([("vendor", "1")])))
    token = context.attach(active)
    try:
        with_state = (("tracestate", b"vendor=1"), ("traceparent", ACTIVE.encode()))
        assert trace_headers() == (*with_state, ("baggage", b"user=7"))
    finally:
        context.detach(token)


@there
def test_the_active_span_goes_before_the_message() -> None:
    with handling([("traceparent", PARENT.encode()), ("tracestate", b"vendor=1")]):
        token = context.attach(span())
        try:
            assert trace_headers() == (("traceparent", ACTIVE.encode()),)
        finally:
            context.detach(token)


@there
def test_a_span_that_a_handler_starts_is_a_child_of_the_message() -> None:
    with handling([("traceparent", PARENT.encode())]):
        parent = trace.get_current_span().get_span_context()
        assert f"{parent.trace_id:032x}" in PARENT and f"{parent.span_id:016x}" in PARENT
        assert parent.is_remote
    assert not trace.get_current_span().get_span_context().is_valid


def test_opentelemetry_is_not_imported() -> None:
    program = """
import sys
from kqworker.kq.trace import handling, trace_headers
with handling([("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]):
    assert trace_headers()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
assert "confluent_kafka" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
