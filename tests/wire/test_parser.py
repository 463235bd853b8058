"""The parser finds the same frames however the bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqworker import wire
from kqworker.types import Failure, Outcome, Output, Verdict
from tests.wire.test_frames import ANSWERS

PLAIN = wire.Answer(1, (), True, (), 0.5)
FAILED = wire.Answer(2, (Outcome(3, Verdict.RELEASE, Failure("E", "text", "trace")),), False, (4,))
PUSHED = wire.Answer(
    3, (Outcome(0, Verdict.ACCEPT, outputs=(Output("t", b"x" * 50, headers=[]),)),)
)


@pytest.mark.parametrize("answer", [PLAIN, FAILED, PUSHED], ids=["plain", "failed", "pushed"])
def test_a_frame_that_ends_anywhere_is_neither_a_frame_nor_an_error(answer: wire.Answer) -> None:
    frame = wire.encode_answer(answer)
    for end in range(len(frame)):
        parser = wire.supervisor_parser()
        assert parser.feed(frame[:end]) == []
        # Nothing is left of it: the next one begins where it ends.
        assert parser.feed(frame[end:]) == [answer]
        assert parser.feed(frame) == [answer]


@given(st.lists(ANSWERS, max_size=3), st.data())
@settings(max_examples=50)
def test_frames_come_out_the_same_in_any_pieces(
    answers: list[wire.Answer], data: st.DataObject
) -> None:
    stream = b"".join(map(wire.encode_answer, answers))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    parser = wire.supervisor_parser()

    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(memoryview(stream)[start:end])

    assert found == answers
    assert parser.feed(wire.encode_answer(PLAIN)) == [PLAIN]


@pytest.mark.parametrize("held", [0, 5], ids=["at once", "in two reads"])
def test_frames_before_bad_bytes_still_count(held: int) -> None:
    stream = bytes(wire.encode_answer(PLAIN)) + b"\0" * 20
    parser = wire.supervisor_parser()

    frames = parser.feed(stream[:held]) + parser.feed(stream[held:])

    assert frames == [PLAIN]
    assert parser.broken


def test_after_bad_bytes_nothing_is_believed() -> None:
    parser = wire.supervisor_parser()
    with pytest.raises(wire.WireError) as first:
        parser.feed(b"\0" * 20)

    with pytest.raises(wire.WireError) as second:
        parser.feed(wire.encode_answer(PLAIN))

    assert second.value is first.value


def test_what_was_read_may_change_afterwards() -> None:
    room = bytearray(wire.encode_answer(PUSHED) + wire.encode_answer(PLAIN)[:5])
    parser = wire.supervisor_parser()

    frames = parser.feed(room)
    room[:] = bytes(len(room))

    assert frames == [PUSHED]
    assert parser.feed(wire.encode_answer(PLAIN)[5:]) == [PLAIN]
