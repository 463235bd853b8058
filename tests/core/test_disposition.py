"""What becomes of a message: each case of `decide`."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from kqworker.core.circles import MOST, RESULTS, Circles
from kqworker.core.commands import ReportKind
from kqworker.core.deadletter import ROUNDS, TOLD_ROUNDS, dead_letter
from kqworker.core.disposition import UNTOLD, Accept, Deliver, Disposition, GiveUp, RetryAt, decide
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Retry
from kqworker.types import Failure, Headers, Outcome, Output, Records, Verdict
from tests.core.supervised import BOOM, policy, records

ONE = records(7)
PUSHED, RESULT = Output("out", b"x"), Output("out", b"y", returned=True)
RELEASED, REJECTED = Outcome(0, Verdict.RELEASE, BOOM), Outcome(0, Verdict.REJECT, BOOM)
KEEPS, DROPS = policy(dead_letter="letters"), policy()


def decided(
    outcome: Outcome, attempt: int = 1, what: HandlerPolicy = DROPS, message: Records = ONE
) -> Disposition:
    return decide(what, message, attempt, outcome, Circles(Random(1)), Random(1))


def with_headers(*headers: tuple[str, bytes]) -> Records:
    return replace(ONE, headers=[headers])


def letter_of(message: Records, attempt: int = 3, failure: Failure = BOOM) -> Output:
    return dead_letter("letters", message, 0, attempt, "on_test", failure)


def test_what_a_handler_produces_is_waited_for() -> None:
    outcome = Outcome(0, Verdict.ACCEPT, outputs=(PUSHED, RESULT))
    assert decided(outcome) == Deliver((PUSHED, RESULT), Accept())


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1.0), (2, 2.0)])
def test_what_failed_is_tried_again_as_its_policy_says(attempt: int, delay: float) -> None:
    assert decided(RELEASED, attempt) == RetryAt(delay, BOOM)


def test_a_handler_may_say_when() -> None:
    assert decided(replace(RELEASED, delay=0.0)) == RetryAt(0.0, BOOM)


def test_the_delay_is_drawn_from_its_upper_half() -> None:
    found = decided(RELEASED, what=policy(retry=Retry(first=8.0)))
    assert isinstance(found, RetryAt) and 4.0 <= found.delay < 8.0


def test_a_failure_without_a_reason_says_so() -> None:
    assert decided(Outcome(0, Verdict.RELEASE)) == RetryAt(1.0, UNTOLD)


@pytest.mark.parametrize(("outcome", "attempt"), [(RELEASED, 3), (RELEASED, 9), (REJECTED, 1)])
def test_what_has_failed_for_good_is_told_or_kept(outcome: Outcome, attempt: int) -> None:
    assert decided(outcome, attempt) == GiveUp(BOOM, ReportKind.GAVE_UP)
    assert decided(outcome, attempt, KEEPS) == Deliver(
        (letter_of(ONE, attempt),), GiveUp(BOOM, ReportKind.DEAD_LETTERED)
    )


def dead_so_often(rounds: int) -> Records:
    message = ONE
    for _ in range(rounds):
        headers: Headers = letter_of(message).headers
        message = replace(message, headers=[headers])
    return message


def test_a_dead_letter_that_comes_round_is_told_and_at_last_given_up() -> None:
    told = decided(REJECTED, 1, KEEPS, dead_so_often(TOLD_ROUNDS))
    assert isinstance(told, Deliver) and [circle.type for circle in told.circles] == ["Circle"]

    over = decided(REJECTED, 1, KEEPS, dead_so_often(ROUNDS))
    assert isinstance(over, GiveUp)
    assert (over.kind, over.failure.type, over.circles) == (ReportKind.BROKE_CIRCLE, "Circle", ())


def test_one_result_too_many_in_a_row_fails_for_good() -> None:
    message = with_headers((RESULTS, b"%d" % MOST))
    outcome = Outcome(0, Verdict.ACCEPT, outputs=(PUSHED, RESULT))

    dropped = decided(outcome, 2, DROPS, message)
    assert isinstance(dropped, GiveUp) and dropped.kind is ReportKind.GAVE_UP
    assert dropped.failure.type == "Circle" and len(dropped.circles) == 1
    kept = decided(outcome, 2, KEEPS, message)
    letter = letter_of(message, 2, dropped.failure)
    assert kept == Deliver(
        (letter,), GiveUp(dropped.failure, ReportKind.DEAD_LETTERED), dropped.circles
    )
