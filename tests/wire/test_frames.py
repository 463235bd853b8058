"""Whatever is put into a frame comes out of it, and nothing else is one."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker import wire
from kqworker.types import (
    Failure,
    Ordering,
    Outcome,
    Output,
    Records,
    Segment,
    Task,
    TopicPartition,
    Verdict,
    payload_size,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PAYLOAD = st.none() | st.binary(max_size=30)
HEADERS = st.lists(st.tuples(TEXT, PAYLOAD), max_size=3)
INT63 = st.integers(0, 2**63 - 1)


@st.composite
def records(draw: st.DrawFn) -> Records:
    values = draw(st.lists(PAYLOAD, min_size=1, max_size=8))
    count = len(values)
    column = {"min_size": count, "max_size": count}
    first = draw(st.integers(0, 2**62))
    gaps: Sequence[int] = sorted(draw(st.sets(INT63, **column)))
    keys = draw(st.none() | st.lists(PAYLOAD, **column))
    return Records(
        TopicPartition(draw(TEXT), draw(st.integers(0, 2**31 - 1))),
        draw(st.sampled_from([range(first, first + count), gaps])),
        values,
        keys,
        draw(st.none() | st.lists(st.integers(-1, 2**53), **column)),
        draw(st.none() | st.lists(st.none() | HEADERS, **column)),
        payload_size(keys, values),
    )


TASKS = st.builds(
    Task,
    st.integers(1, wire.MAX_TASK - 1),
    st.integers(0, 1000),
    st.sampled_from(Ordering),
    st.lists(st.builds(Segment, records(), st.integers(1, 99)), min_size=1, max_size=3).map(tuple),
)
FAILURES = st.builds(Failure, TEXT, TEXT, TEXT)
OUTPUTS = st.builds(
    Output, TEXT, PAYLOAD, PAYLOAD, HEADERS, st.none() | st.integers(0, 2**31), st.none() | INT63
)
INDEX = st.integers(0, wire.MAX_INDEX - 1)
SECONDS = st.floats(0, 1e9)
OUTCOMES = st.builds(
    Outcome,
    INDEX,
    st.sampled_from(Verdict),
    st.none() | FAILURES,
    st.none() | SECONDS,
    st.lists(OUTPUTS, max_size=3).map(tuple),
)
ANSWERS = st.builds(
    wire.Answer,
    st.integers(1, wire.MAX_TASK - 1),
    st.lists(OUTCOMES, max_size=3).map(tuple),
    st.booleans(),
    st.lists(INDEX, max_size=5).map(tuple),
    SECONDS,
)


def from_worker(data: bytes | bytearray) -> list[wire.ToSupervisor]:
    return wire.supervisor_parser().feed(data)


def from_supervisor(data: bytes | bytearray) -> list[wire.ToWorker]:
    return wire.worker_parser().feed(data)


def framed(kind: int, body: bytes | bytearray) -> bytes:
    checked = bytes([kind]) if kind == wire.TASK else bytes([kind]) + body
    return struct.pack("<IIB", len(body), crc32(checked, len(body)), kind) + body


@given(TASKS)
def test_a_task_comes_out_as_it_went_in(task: Task) -> None:
    assert from_supervisor(wire.encode_task(task)) == [task]


@given(ANSWERS)
def test_an_answer_comes_out_as_it_went_in(answer: wire.Answer) -> None:
    assert from_worker(wire.encode_answer(answer)) == [answer]


@given(FAILURES, st.integers(1, 2**22))
def test_words_of_booting_come_out_as_they_went_in(failure: Failure, pid: int) -> None:
    said = wire.encode_ready(pid) + wire.encode_boot_failed(failure)
    assert from_worker(said) == [wire.Ready(pid), wire.BootFailed(failure)]


def test_a_stop_and_a_silence_come_out_as_they_went_in() -> None:
    assert from_supervisor(wire.encode_stop()) == [wire.Stop()]
    assert from_worker(wire.encode_silenced("full")) == [wire.Silenced("full")]


def a_task(**columns: Any) -> Task:
    parts: dict[str, Any] = {
        "partition": TopicPartition("t", 0),
        "offsets": range(7, 9),
        "values": [b"a", None],
        "keys": None,
        "timestamps": [1, 2],
        "headers": None,
        "size": 1,
    }
    return Task(1, 0, Ordering.KEY, (Segment(Records(**(parts | columns))),))


def test_consecutive_offsets_travel_as_their_first() -> None:
    few = wire.encode_task(a_task(offsets=range(10**6, 10**6 + 2)))
    listed = wire.encode_task(a_task(offsets=[10**6, 10**6 + 1]))

    assert len(few) < len(listed)
    back = from_supervisor(few)[0]
    assert isinstance(back, Task)
    assert back.segments[0].records.offsets == range(10**6, 10**6 + 2)


def test_columns_may_be_any_sequence() -> None:
    task = a_task(values=(b"a", b""), timestamps=range(1, 3), headers=((), None), keys=(None, b"k"))

    back = from_supervisor(wire.encode_task(task))[0]

    assert isinstance(back, Task)
    records = back.segments[0].records
    assert (records.values, records.timestamps) == ([b"a", b""], [1, 2])
    assert (records.headers, records.keys) == ([[], None], [None, b"k"])


@pytest.mark.parametrize(
    "columns",
    [{"timestamps": [1]}, {"keys": [None]}, {"headers": [None] * 3}, {"offsets": [1, 2, 3]}],
    ids=lambda columns: next(iter(columns)),
)
def test_columns_of_different_lengths_are_no_frame(columns: dict[str, Any]) -> None:
    frame = wire.encode_task(a_task(**columns))

    with pytest.raises(wire.WireError, match="beside 2 values"):
        from_supervisor(frame)


def test_a_frame_larger_than_the_cap_is_refused_with_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "MAX_BODY", 100)

    with pytest.raises(wire.FrameTooLarge, match=r"\d+ bytes are more than a frame takes \(100\)"):
        wire.encode_task(a_task(values=[b"x" * 100, None]))


def test_a_length_above_the_cap_is_an_error_before_the_body_has_come() -> None:
    with pytest.raises(wire.WireError, match="at most"):
        from_worker(struct.pack("<IIB", wire.MAX_BODY + 1, 0, wire.ANSWER))


def is_no_frame(parser: wire.Parser[Any], frame: bytearray, bit: int) -> bool:
    """Whether a frame with a wrong bit is refused, or its length says that more is to come."""
    frame[bit // 8] ^= 1 << bit % 8
    try:
        return not parser.feed(frame)
    except wire.WireError:
        return True


@given(ANSWERS, st.data())
def test_a_wrong_bit_anywhere_is_never_a_frame(answer: wire.Answer, data: st.DataObject) -> None:
    frame = wire.encode_answer(answer)
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    assert is_no_frame(wire.supervisor_parser(), frame, bit)


@given(TASKS, st.integers(0, wire.HEADER.size * 8 - 1))
def test_a_wrong_bit_in_the_header_of_a_task_is_never_a_frame(task: Task, bit: int) -> None:
    assert is_no_frame(wire.worker_parser(), wire.encode_task(task), bit)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0, b"\x90"),
        (wire.TASK, wire.encode_task(a_task())[9:]),  # nobody sends a supervisor tasks
        (wire.READY, b""),
        (wire.READY, b"\x91\x00"),
        (wire.READY, b"\x91\x01\x01"),  # something is left over
        (wire.ANSWER, b"\x95\x00\x90\xc2\x90\x00"),  # tasks count from 1
        (wire.ANSWER, b"\x91\xcf\x00\x00\x00\x80\x00\x00\x00\x00"),  # up to 2**39
        (wire.ANSWER, b"\x92\x01\xdd\xff\xff\xff\xff"),  # four billion outcomes to come
        (wire.ANSWER, b"\x96\x01\x90\xc2\x90\x00" + b"\x91" * 100_000 + b"\xc0"),
        (wire.BOOT_FAILED, b"\x91\x83\xa4type\xa1\xff\xa4text\xa0\xa9traceback\xa0"),
    ],
)
def test_a_body_that_its_kind_does_not_have_is_an_error(kind: int, body: bytes) -> None:
    with pytest.raises(wire.WireError, match=f"kind {kind}"):
        from_worker(framed(kind, body))


def hostile_inputs(count: int) -> Iterator[bytes]:
    """Random bytes, and frames whose bodies were changed but whose checksums are right."""
    chance = random.Random(11)
    outcome = Outcome(3, Verdict.ACCEPT, None, 1.5, (Output("t", b"v", headers=[("h", None)]),))
    frames = [
        wire.encode_task(a_task(keys=[b"k", None], headers=[[("h", b"v")], None])),
        wire.encode_task(a_task(offsets=[3, 8])),
        wire.encode_answer(wire.Answer(9, (outcome,), False, (4, 5), 0.25)),
        wire.encode_boot_failed(Failure("E", "text", "trace")),
        wire.encode_ready(77),
        wire.encode_stop(),
    ]
    for _ in range(count):
        kind = chance.randrange(8)
        body = bytearray(chance.randbytes(chance.randrange(60)))
        if chance.random() < 0.7:
            frame = chance.choice(frames)
            kind, body = frame[wire.CHECKED_FROM], frame[wire.HEADER.size :]
            for _ in range(chance.randrange(1, 5)):
                at = chance.randrange(len(body) + 1)
                cut = at + chance.randrange(3)
                body[at:cut] = chance.randbytes(chance.randrange(3))
        yield framed(kind, body) if chance.random() < 0.9 else bytes(body)


def test_ten_thousand_hostile_inputs_crash_nothing() -> None:
    refused = 0
    for data in hostile_inputs(10_000):
        for parser in (wire.supervisor_parser(), wire.worker_parser()):
            try:
                parser.feed(data)
            except wire.WireError:
                refused += 1
    assert refused > 10_000
