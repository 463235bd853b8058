"""How many messages share a frame, by what is known of their time."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.core import batch_size as module
from kqworker.core.batch_size import FRAME_MESSAGES, FRAME_SECONDS, SECOND_FRAME_SECONDS, BatchSize


def pace(*observed: tuple[int, float]) -> BatchSize:
    batch_size = BatchSize()
    for count, seconds in observed:
        batch_size.observe(count, seconds)
    return batch_size


def test_of_an_unknown_handler_one_message_travels_to_each_worker() -> None:
    assert (BatchSize().count, BatchSize().short) == (1, False)


def test_frames_of_short_messages_grow_fourfold_up_to_the_bound() -> None:
    short = BatchSize()
    counts = []
    for _ in range(7):
        counts.append(short.count)
        short.observe(short.count, short.count * 1e-6)
    assert counts == [1, 4, 16, 64, 256, FRAME_MESSAGES, FRAME_MESSAGES]


def test_a_frame_that_was_not_filled_does_not_shrink_the_next() -> None:
    assert pace((16, 16e-6), (1, 1e-6)).count == 64


def test_a_frame_is_as_long_as_its_time() -> None:
    assert pace((500, 0.5)).count == 10  # a millisecond each


def test_messages_longer_than_a_frame_travel_alone() -> None:
    assert pace((1, 2 * FRAME_SECONDS)).count == 1
    assert pace((1, 3600.0)).count == 1


def test_slower_is_believed_at_once() -> None:
    assert pace((100, 0.001), (1, 5.0)).seconds == 5.0


def test_faster_is_believed_by_and_by() -> None:
    slow = pace((1, 1.0), (1, 0.0001))
    assert slow.seconds == pytest.approx(0.7, abs=0.001)
    for _ in range(30):
        slow.observe(1, 0.0001)
    assert slow.seconds == pytest.approx(0.0001, rel=0.5)


@pytest.mark.parametrize(("count", "seconds"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -0.1)])
def test_what_nobody_knows_teaches_nothing(count: int, seconds: float) -> None:
    assert pace((count, seconds)).seconds is None
    known = pace((1, 0.002), (count, seconds))
    assert (known.seconds, known.count) == (0.002, 4)


def test_only_short_messages_wait_in_a_workers_own_queue() -> None:
    assert pace((1, SECOND_FRAME_SECONDS)).short
    assert not pace((1, SECOND_FRAME_SECONDS * 1.01)).short


@given(
    st.lists(st.tuples(st.integers(-1, 2_000), st.floats(-1, 1e9, allow_nan=False)), max_size=20)
)
def test_a_frame_is_never_empty_never_over_its_bound_nor_its_time(
    observed: list[tuple[int, float]],
) -> None:
    learnt = pace(*observed)
    assert 1 <= learnt.count <= FRAME_MESSAGES
    assert learnt.count == 1 or learnt.count * (learnt.seconds or 0) <= FRAME_SECONDS * 1.000001


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
