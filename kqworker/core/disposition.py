"""What becomes of a message: one value for each thing that may, decided in one place.

`decide` takes what is known of a message that was tried, or whose record was refused, and
returns a `Disposition`. It changes nothing; `settling` carries a disposition out. A delivery
policy (retry topics, delays, expiry, results) is a case of `decide`, and perhaps a new value, for
which `settling` then has a case.

Plain accepts, which are nearly all, and what was not begun take no decision: `messages` has
them carried out for many messages at once.

Pure. Tested by tests/core/test_disposition.py and by every run in tests/sim.
"""

from __future__ import annotations

from dataclasses import dataclass

from kqworker.core.circles import Circles
from kqworker.core.commands import ReportKind
from kqworker.core.deadletter import comes_round, dead_letter
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Random
from kqworker.types import Failure, Outcome, Output, Records, Verdict

UNTOLD = Failure("Unknown", "the worker gave no reason")


@dataclass(frozen=True, slots=True)
class Accept:
    """It is handled."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It has failed for good, which is told, and counts as done.

    Attributes:
        failure: Why.
        kind: As what it is told: with a dead letter, without one, or as a circle.
        circles: What is to be told before of circles that it may be in.
    """

    failure: Failure
    kind: ReportKind
    circles: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Deliver:
    """It waits until its records are in the log, and is then done.

    Attributes:
        outputs: The records; none for a message that returned nothing after all.
        then: How it is done when all of them are there.
        circles: What is to be told before of circles that it may be in.
    """

    outputs: tuple[Output, ...]
    then: Accept | GiveUp
    circles: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryAt:
    """It is tried again.

    Attributes:
        delay: Seconds from now.
        failure: Why.
    """

    delay: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class HandBack:
    """It was not begun, and goes back as if it had never been handed over."""


Disposition = Accept | GiveUp | Deliver | RetryAt | HandBack


def decide(
    policy: HandlerPolicy,
    records: Records,
    attempt: int,
    outcome: Outcome,
    circles: Circles,
    random: Random,
) -> GiveUp | Deliver | RetryAt:
    """Return what becomes of a message.

    Args:
        policy: Its handler's.
        records: The message alone.
        attempt: How many attempts it has had, at least 1.
        outcome: Of the last of them. A record of the message's that Kafka refuses for good, or
            attempts that were used up before a restart, are a REJECT.
        circles: Counts what is produced.
        random: For the jitter of delays.
    """
    if outcome.verdict is Verdict.ACCEPT:
        outputs, told, over = circles.count(policy.name, records, outcome.outputs)
        found = () if told is None else (told,)
        if over is None:
            return Deliver(tuple(outputs), Accept(), found)
        return _give_up(policy, records, attempt, over, found)
    failure = outcome.failure or UNTOLD
    if outcome.verdict is Verdict.REJECT or attempt >= policy.retry.attempts:
        return _give_up(policy, records, attempt, failure)
    delay = outcome.delay
    if delay is None:
        delay = policy.retry.delay(attempt, random)
    return RetryAt(delay, failure)


def _give_up(
    policy: HandlerPolicy,
    records: Records,
    attempt: int,
    failure: Failure,
    circles: tuple[Failure, ...] = (),
) -> GiveUp | Deliver:
    if policy.dead_letter is None:
        return GiveUp(failure, ReportKind.GAVE_UP, circles)
    way = f"{policy.name} ({records.partition.topic}) to {policy.dead_letter}"
    circle, over = comes_round(records, 0, way)
    if circle is not None:
        if over:
            return GiveUp(circle, ReportKind.BROKE_CIRCLE, circles)
        circles += (circle,)
    letter = dead_letter(policy.dead_letter, records, 0, attempt, policy.name, failure)
    return Deliver((letter,), GiveUp(failure, ReportKind.DEAD_LETTERED), circles)
