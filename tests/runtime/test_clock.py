"""Time that stands still while whoever looks at it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.clock import COUNTED_SECONDS, LATE_SECONDS, StandstillClock, TimeOut


class Time:
    """Goes on by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def a_clock(time: Time) -> StandstillClock:
    clock = StandstillClock(read=time)
    clock.now()
    return clock


def passes(time: Time, clock: StandstillClock, waited: float, asked: float) -> float:
    """Have so many seconds pass in a wait for `asked`; return by how much the clock went on."""
    before = clock.now()
    clock.waits(asked)
    time.seconds += waited
    return clock.now() - before


@pytest.mark.parametrize(
    ("waited", "asked", "counted"),
    [
        (0.2, 0.2, 0.2),
        (0.1, 0.2, 0.1),  # an event came
        (0.6, 0.2, 0.6),  # late, as on a busy machine
        (30.0, 30.0, 30.0),
        (60.2, 0.2, 0.2 + COUNTED_SECONDS),
    ],
)
def test_what_was_waited_for_counts_and_a_standstill_does_not(
    waited: float, asked: float, counted: float
) -> None:
    time = Time()
    assert passes(time, a_clock(time), waited, asked) == pytest.approx(counted)


def test_a_standstill_in_the_middle_of_work_does_not_count_either() -> None:
    time = Time()
    clock = a_clock(time)
    passes(time, clock, 0.01, 10.0)
    time.seconds += 60.0  # nobody waits now, so nothing of the ten seconds is left
    before = clock.at(100.0)
    assert clock.now() - before == pytest.approx(0.01 + COUNTED_SECONDS)


def test_a_machine_that_is_always_late_hides_no_hang() -> None:
    time = Time()
    clock = a_clock(time)
    looks = 0
    begun = clock.now()
    while clock.now() < begun + 2.0:
        passes(time, clock, 5.0, 0.0)
        looks += 1
    assert looks <= 2.0 / COUNTED_SECONDS + 1


def test_a_standstill_is_told_once_with_its_seconds() -> None:
    time, told = Time(), list[float]()
    clock = StandstillClock(read=time, stood_still=told.append)
    time.seconds += 50.0  # before the first look nobody waits for anything
    clock.now()
    passes(time, clock, 60.0, 0.0)
    clock.now()
    assert told == [pytest.approx(60.0 - COUNTED_SECONDS)]


def test_a_message_that_began_before_a_standstill_has_run_for_the_rest_alone() -> None:
    time = Time()
    clock = a_clock(time)
    passes(time, clock, 1.0, 1.0)
    begun = time.seconds
    passes(time, clock, 0.5, 0.5)
    passes(time, clock, 60.0, 0.0)
    passes(time, clock, 0.25, 0.25)
    passes(time, clock, 60.0, 0.0)
    ran = clock.now() - clock.at(begun)
    assert ran == pytest.approx(0.5 + 0.25 + 2 * COUNTED_SECONDS)


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 5.0)), max_size=30))
def test_the_past_is_as_it_was_when_it_was_now(steps: list[tuple[float, float]]) -> None:
    time = Time()
    clock = a_clock(time)
    seen = [(time.seconds, clock.now())]
    for waited, asked in steps:
        passes(time, clock, waited, asked)
        seen.append((time.seconds, clock.now()))
    for moment, then in seen:
        assert clock.at(moment) == pytest.approx(then)
    moments = sorted({moment + part for moment, _ in seen for part in (-0.3, 0.0, 0.3)})
    times = [clock.at(moment) for moment in moments if moment <= time.seconds]
    assert times == sorted(times)


def test_it_never_goes_back_and_is_late_at_most_by_what_counts() -> None:
    time = Time()
    clock = a_clock(time)
    just = passes(time, clock, LATE_SECONDS, 0.0)
    more = passes(time, clock, LATE_SECONDS + 0.01, 0.0)
    assert (just, more) == (pytest.approx(LATE_SECONDS), pytest.approx(COUNTED_SECONDS))


def test_a_time_out_is_over_in_time_where_nothing_stands_still() -> None:
    time_out = TimeOut(0.0, step=1.0)
    assert time_out.left <= 0.0
    assert 0.0 < TimeOut(60.0, step=1.0).left <= 60.0
