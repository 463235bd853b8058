"""What one side pushes the other handles, byte for byte, and in the same trace.

The bytes are those that are hard on somebody: nothing, NUL, text of all planes, what is not
UTF-8, and nearly the largest record that a broker takes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import pytest

from kqworker.kq import Pusher, with_sync_push
from kqworker.kq.trace import handling
from tests.interop.handlers import NEXT
from tests.interop.programs import Event, Program, Programs, encoded
from tests.kafka import records
from tests.kafka.cluster import Cluster

VALUES = (
    b"value",
    b"",
    b"a\0b\0",
    "grüße, 世界 🐍".encode(),
    b"\xff\xfe\x80 \xc3",
    bytes(range(256)),
    bytes(range(256)) * 3600,
)
KEYS = (b"key", b"", b"\0", "ключ".encode(), b"\xff\x00", b"k" * 1000, b"last")
PAIRS = list(zip(KEYS, VALUES, strict=True))

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACE = {
    "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01",
    "tracestate": "vendor=opaque,other=1",
    "baggage": "tenant=blue",
}
# In the order in which the original writes them.
TRACE_HEADERS = [(name, TRACE[name].encode()) for name in ("tracestate", "traceparent", "baggage")]


def pairs(lines: Iterable[Any]) -> list[tuple[bytes, bytes]]:
    """Keys and values as the original's commands print them."""
    # kafka-go gives nil for what is empty.
    return [
        (base64.b64decode(line["Key"] or ""), base64.b64decode(line["Value"] or ""))
        for line in lines
    ]


def headers(told: Any) -> list[tuple[str, bytes]]:
    """Headers as both journals and the original's commands print them."""
    return [(h["Key"], base64.b64decode(h["Value"] or "")) for h in told["Headers"] or ()]


def handled(program: Program) -> list[tuple[bytes, bytes]]:
    """Keys and values that its handlers got, sorted."""
    return sorted((event.key, event.value) for event in program.events("handled"))


def trace_of(event: Event) -> tuple[str, str, str, str]:
    """What a handler of the original saw in its context."""
    told = [event.told.get(name, "") for name in ("TraceID", "SpanID", "State", "Baggage")]
    return told[0], told[1], told[2], told[3]


@pytest.mark.parametrize("options", [(), ("-sync",)], ids=["asynchronous", "synchronous"])
def test_what_go_pushes_is_handled_here_byte_for_byte(
    kafka: Cluster, programs: Programs, options: tuple[str, ...]
) -> None:
    topic = kafka.new_topic(2)
    calls = [encoded("PushWithKey", key, value, Trace=TRACE) for key, value in PAIRS]
    answers = programs.push(kafka, topic, calls, *options)
    assert [answer["Error"] for answer in answers] == [""] * (len(PAIRS) + 1)

    ours = programs.queue(kafka, topic, verbs=False).handled(len(PAIRS))

    assert handled(ours) == sorted(PAIRS)
    for event in ours.events("handled"):
        assert headers(event.told) == TRACE_HEADERS
    assert ours.stop() == 0, ours


def test_what_is_pushed_here_is_handled_by_go_byte_for_byte(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic(2)
    with Pusher(kafka.bootstrap, topic) as pusher, handling(tuple(TRACE_HEADERS)):
        for key, value in PAIRS:
            pusher.push_with_key(key, value)

    go = programs.go(kafka, topic, verbs=False).handled(len(PAIRS))

    assert handled(go) == sorted(PAIRS)
    for event in go.events("handled"):
        assert trace_of(event) == (TRACE_ID, SPAN_ID, TRACE["tracestate"], TRACE["baggage"])


def test_the_records_of_both_pushers_are_the_same(kafka: Cluster, programs: Programs) -> None:
    there, here = kafka.new_topic(), kafka.new_topic()
    programs.push(
        kafka, there, [encoded("PushWithKey", key, value, Trace=TRACE) for key, value in PAIRS]
    )
    with Pusher(kafka.bootstrap, here) as pusher, handling(tuple(TRACE_HEADERS)):
        for key, value in PAIRS:
            pusher.push_with_key(key, value)

    original, ours = records.consume(kafka, there), records.consume(kafka, here)
    assert [(m.key(), m.value(), m.headers()) for m in ours] == [
        (m.key(), m.value(), m.headers()) for m in original
    ]
    # And kafka-go reads ours as its own.
    read = programs.ask("read", kafka.bootstrap, here)
    assert pairs(read) == PAIRS
    assert [headers(line) for line in read] == [TRACE_HEADERS] * len(PAIRS)


def test_push_and_kpush_make_the_same_records_on_both_sides(
    kafka: Cluster, programs: Programs
) -> None:
    there, here = kafka.new_topic(), kafka.new_topic()
    programs.push(
        kafka,
        there,
        [encoded("KPush", b"key", b"1", Trace=TRACE), encoded("Push", b"", b"2", Trace=TRACE)],
        "-sync",
    )
    with (
        Pusher(kafka.bootstrap, here, with_sync_push()) as pusher,
        handling(tuple(TRACE_HEADERS)),
    ):
        pusher.kpush(b"key", b"1")
        pusher.push(b"2")

    for topic in (there, here):
        with_key, with_time = records.consume(kafka, topic)
        # KPush takes no trace along, there and here.
        assert (with_key.key(), with_key.value(), with_key.headers()) == (b"key", b"1", None)
        assert with_time.value() == b"2"
        assert with_time.headers() == TRACE_HEADERS
        # The key of Push is the time in nanoseconds, as text.
        pushed = int(with_time.key() or b"") / 1e9
        assert abs(pushed - with_time.timestamp()[1] / 1000) < 60.0
        assert len(with_time.key() or b"") == 19


def test_headers_that_kafka_go_writes_reach_the_handler(kafka: Cluster, programs: Programs) -> None:
    topic = kafka.new_topic()
    written = [("tenant", b"blue"), ("raw", b"\xff\0"), ("empty", b""), ("tenant", b"again")]
    encoded_headers = [
        {"Key": name, "Value": base64.b64encode(value).decode()} for name, value in written
    ]
    programs.ask(
        "write",
        kafka.bootstrap,
        topic,
        lines=[encoded("", key, value, Headers=encoded_headers) for key, value in PAIRS],
    )

    ours = programs.queue(kafka, topic, verbs=False).handled(len(PAIRS))

    assert handled(ours) == sorted(PAIRS)
    for event in ours.events("handled"):
        assert headers(event.told) == written


def test_a_trace_goes_on_from_go_through_a_handler_here_to_go(
    kafka: Cluster, programs: Programs
) -> None:
    first, second = kafka.new_topic(), kafka.new_topic()
    programs.push(kafka, first, [encoded("PushWithKey", b"k", b"v", Trace=TRACE)], "-sync")

    programs.queue(
        kafka, first, handler="forward", environment={NEXT: f"{kafka.bootstrap} {second}"}
    ).handled(1)
    go = programs.go(kafka, second, group=f"next-{programs.group}", verbs=False).handled(1)

    (event,) = go.events("handled")
    assert (event.key, event.value) == (b"k", b"v")
    assert trace_of(event) == (TRACE_ID, SPAN_ID, TRACE["tracestate"], TRACE["baggage"])
