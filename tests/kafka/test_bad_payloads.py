"""Payloads of every kind: empty, missing, huge, not what the handler asked for."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.records import consume, produce
from tests.kafka.supervisors import Supervise

LARGE = 8 * 2**20


def test_odd_payloads_are_handled_as_promised_or_dead_lettered_with_a_reason(
    kafka: Cluster, supervise: Supervise
) -> None:
    prefix = f"p-{uuid.uuid4().hex[:8]}-"
    names = ("raw", "maybe", "text", "json")
    room = {"max.message.bytes": str(2 * LARGE)}
    for name in names:
        kafka.create_topic(prefix + name, config=room)
    dead = kafka.new_topic(config=room)
    large = b"x" * LARGE
    sent: dict[str, list[tuple[bytes | None, bytes | None]]] = {
        "raw": [(None, b""), (b"k", b"\xff\xfe"), (None, None), (None, large)],
        "maybe": [(b"k", None), (None, b"")],
        "text": [(b"k", b"caf\xc3\xa9"), (b"k", b"\xff"), (None, b"v"), (b"k", b""), (b"k", None)],
        "json": [
            (None, b'{"id": 1}'),
            (None, b"{"),
            (None, b'{"id": "one"}'),
            (None, b""),
            (None, None),
            (None, b'\xff{"id": 1}'),
        ],
    }
    for name, pairs in sent.items():
        keys, values = zip(*pairs, strict=True)
        produce(kafka, prefix + name, values, keys)

    supervisor = supervise(
        kafka, prefix, "--until-caught-up", app="tests.kafka.payloads:app", dead_letter=dead
    )
    assert supervisor.wait() == 6, supervisor

    given = {}
    for path in supervise.journal.rglob("*.given"):
        for line in path.read_text().splitlines():
            name, offset, *values = json.loads(line)
            assert (name, offset) not in given, "handled twice"
            given[name, offset] = values
    assert given.pop(("raw", 3)) == ["None", repr(large)]
    assert given == {
        ("raw", 0): ["None", "b''"],
        ("raw", 1): ["b'k'", r"b'\xff\xfe'"],
        ("maybe", 0): ["None"],
        ("maybe", 1): ["b''"],
        ("text", 0): ["'k'", "'café'"],
        ("text", 2): ["''", "'v'"],
        ("text", 3): ["'k'", "''"],
        ("json", 0): ["1"],
    }
    letters = {}
    for message in consume(kafka, dead):
        told = {name: (value or b"").decode() for name, value in message.headers() or []}
        name, offset = told["kqworker-topic"].removeprefix(prefix), int(told["kqworker-offset"])
        # As it came, and without further attempts: the bytes will not change.
        assert (message.key(), message.value()) == sent[name][offset]
        assert told["kqworker-attempts"] == "1"
        assert told["kqworker-error-type"].endswith("DecodeError"), told
        letters[name, offset] = told["kqworker-error-text"]
    everything = {(name, i) for name, pairs in sent.items() for i in range(len(pairs))}
    assert set(letters) == everything - set(given) - {("raw", 3)}
    assert "tombstone" in letters["raw", 2]
    assert "tombstone" in letters["text", 4]
    assert "UTF-8" in letters["text", 1] or "utf-8" in letters["text", 1]


@pytest.mark.parametrize("size", [2**20, LARGE])
def test_a_large_message_that_fails_keeps_its_payload(
    kafka: Cluster, supervise: Supervise, size: int
) -> None:
    room = {"max.message.bytes": str(2 * LARGE)}
    name, dead = kafka.new_topic(config=room), kafka.new_topic(config=room)
    value = b"fail 9 " + b"x" * size
    produce(kafka, name, [b"ok", value, b"exit 1 " + b"y" * size, b"ok"])

    retry = {"attempts": 2, "first": 0.05}
    supervisor = supervise(kafka, name, "--until-caught-up", retry=retry, dead_letter=dead)
    assert supervisor.wait() == 6, supervisor

    letters = {message.value() for message in consume(kafka, dead)}
    assert letters == {value, b"exit 1 " + b"y" * size}
