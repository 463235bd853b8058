"""Dead letters that are larger than their topic takes."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core.retry import Retry
from tests.core.supervised import BOOM, Supervised, notes, policy, running, the, those


def cut(supervisor: Supervised, produced: c.Produce) -> list[c.Command]:
    """The dead letter is too large for its topic."""
    return supervisor.delivered(produced.ticket, BOOM, retriable=False, too_large=True)


def test_a_dead_letter_that_never_fits_is_cut_until_it_does_and_that_is_told_once() -> None:
    supervisor = running(policy(retry=Retry(attempts=1), dead_letter="letters"))
    supervisor.fetch(0)
    first = the(supervisor.fail(supervisor.seen_task()), c.Produce)
    produced = the(cut(supervisor, first), c.Produce)
    told, values = [], []
    for _ in range(4):
        commands = cut(supervisor, produced)
        told += notes(commands)
        produced = the(commands, c.Produce)
        values.append(produced.output.value)
    assert told == [c.ReportKind.TRUNCATED]
    assert values == [b"01234", b"01", b"0", b""]

    assert notes(supervisor.delivered(produced.ticket)) == [c.ReportKind.DEAD_LETTERED]


def test_a_dead_letter_without_a_value_that_does_not_fit_waits() -> None:
    supervisor = running(policy(retry=Retry(attempts=1), dead_letter="letters"))
    supervisor.fetch(0, values=[b""])
    first = the(supervisor.fail(supervisor.seen_task()), c.Produce)
    again = the(cut(supervisor, first), c.Produce)
    assert those(cut(supervisor, again), c.Produce) == []
    assert supervisor.core.snapshot().stalled == 1


def test_where_it_is_to_stall_a_dead_letter_is_not_cut() -> None:
    stalling = policy(retry=Retry(attempts=1), dead_letter="letters", dead_letter_overflow="stall")
    supervisor = running(stalling)
    supervisor.fetch(0)
    first = the(supervisor.fail(supervisor.seen_task()), c.Produce)
    again = the(cut(supervisor, first), c.Produce)
    assert those(cut(supervisor, again), c.Produce) == []
    assert the(supervisor.tick(5.0), c.Produce).output == again.output
