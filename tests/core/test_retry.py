"""How often a message is tried, and when again."""

from __future__ import annotations

import doctest
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.core import retry as module
from kqworker.core.retry import Retry


class Fixed:
    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


POLICIES = st.builds(
    Retry,
    attempts=st.integers(1, 100),
    first=st.floats(0, 1e6),
    factor=st.floats(1, 1e3),
    cap=st.floats(0, 1e6),
)


def test_a_policy_without_arguments_tries_three_times_within_seconds() -> None:
    retry = Retry(jitter=False)
    assert retry.attempts == 3
    assert [retry.delay(attempt, None) for attempt in (1, 2)] == [1.0, 2.0]


@given(POLICIES, st.integers(1, 10_000), st.integers(0, 2**32))
def test_a_delay_is_drawn_from_the_upper_half_below_the_cap(
    retry: Retry, attempt: int, seed: int
) -> None:
    whole = retry.delay(attempt, None)
    assert 0 <= whole <= retry.cap
    assert whole / 2 <= retry.delay(attempt, Random(seed)) <= whole


@given(POLICIES, st.integers(1, 1_000))
def test_delays_never_shrink_from_attempt_to_attempt(retry: Retry, attempt: int) -> None:
    assert retry.delay(attempt, None) <= retry.delay(attempt + 1, None)


def test_jitter_reaches_both_ends() -> None:
    retry = Retry(first=8.0)
    assert retry.delay(1, Fixed(0.0)) == 4.0
    assert retry.delay(1, Fixed(0.5)) == 6.0
    assert Retry(first=8.0, jitter=False).delay(1, Fixed(0.0)) == 8.0


def test_a_delay_too_large_for_a_float_is_the_cap() -> None:
    assert Retry(factor=10.0, cap=60.0, jitter=False).delay(10_000, None) == 60.0


@pytest.mark.parametrize(
    ("name", "value", "low"),
    [
        ("attempts", 0, 1),
        ("first", -0.1, 0),
        ("factor", 0.9, 1),
        ("cap", -1.0, 0),
        ("cap", float("nan"), 0),
    ],
)
def test_a_value_outside_its_bounds_is_named(name: str, value: float, low: int) -> None:
    with pytest.raises(ValueError, match=rf"Retry\({name}={value}\): must be at least {low}"):
        Retry(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("attempts", "3", "a whole number"),
        ("attempts", 1.5, "a whole number"),
        ("attempts", True, "a whole number"),
        ("first", "1s", "a number"),
        ("factor", None, "a number"),
        ("cap", timedelta(minutes=1), "a number"),
        ("jitter", 0.5, "True or False"),
    ],
)
def test_a_value_of_another_kind_is_named(name: str, value: object, right: str) -> None:
    with pytest.raises(ValueError) as refused:
        Retry(**{name: value})  # type: ignore[arg-type]

    assert str(refused.value) == f"Retry({name}={value!r}): must be {right}"


def test_the_lowest_values_are_allowed() -> None:
    retry = Retry(attempts=1, first=0, factor=1, cap=0)
    assert retry.delay(1, Random(1)) == 0


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
