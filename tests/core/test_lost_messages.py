"""What becomes of messages whose partition is lost, given back, or left at the end."""

from __future__ import annotations

import pytest

from kqworker.core.commands import Produce, Report, ReportKind
from kqworker.core.events import Fetched, Start
from kqworker.types import Ordering, Outcome, Verdict
from tests.core.lived import OUT, A, B, Life, keyed, told
from tests.core.supervised import BOOM, OTHER, TP, policy, records, the


def test_what_waits_of_a_lost_partition_is_forgotten() -> None:
    life = Life(policy(dead_letter="letters"))
    life.fetch(0, 1, 2, 3)
    life.fail(life.take(1))
    stalled = the(life.push(life.take(1), OUT), Produce)
    under_way = the(life.push(life.take(1), OUT), Produce)
    life.delivered(stalled.ticket, BOOM)

    life.lose()

    assert (life.ready, life.backpressure.held, life.backpressure.held_bytes) == (0, 0, 0)
    assert life.messages.deadline() is None
    assert (life.messages.settling.delivering, life.messages.settling.stalled) == (False, 0)
    assert life.delivered(stalled.ticket) == life.delivered(under_way.ticket) == []
    assert life.at(100.0) == []
    assert life.counts == (0, 0, 1)


def test_what_waits_of_another_partition_stays_when_one_is_lost() -> None:
    life = Life()
    life.epochs.begin(0, OTHER, 0, Start(0))
    life.fetch(0)
    life.messages.fetched(Fetched((records(0, partition=OTHER),), 0))
    life.fail(life.take(), 0, 1)

    life.lose()
    life.at(1.0)

    assert [s.records.partition for s in life.take().task.segments] == [OTHER]


@pytest.mark.parametrize("ordering", list(Ordering))
def test_what_a_worker_tells_of_a_lost_partition_changes_nothing(ordering: Ordering) -> None:
    life = keyed(A, A, A, B, ordering=ordering)
    flight = life.take()
    life.lose()

    outcomes = (
        Outcome(0, Verdict.ACCEPT, outputs=(OUT,)),
        Outcome(1, Verdict.RELEASE, BOOM),
    )
    assert life.settle(flight, *outcomes, unstarted=(2,)) == []

    assert (life.ready, life.watermark, life.counts) == (0, 0, (0, 0, 0))
    assert life.messages.deadline() is None


def test_what_a_worker_accepts_of_a_lost_partition_is_not_counted() -> None:
    life = Life()
    life.fetch(0)
    flight = life.take()
    life.lose()
    life.settle(flight)
    assert (life.watermark, life.counts) == (0, (0, 0, 0))


@pytest.mark.parametrize("ordering", list(Ordering))
def test_a_lane_of_a_lost_partition_does_not_wait_for_its_delay(ordering: Ordering) -> None:
    life = keyed(A, A, ordering=ordering)
    life.fail(life.take(1))
    life.lose()
    again, _ = life.epochs.begin(0, TP, 0, Start(0))
    life.fetch(0, 1, keys=[A, A])
    assert told(life.take()) == [(0, 1), (1, 1)]
    assert again.busy == 2


@pytest.mark.parametrize("ordering", [Ordering.KEY, Ordering.PARTITION])
def test_a_lane_that_waits_is_forgotten_with_its_partition(ordering: Ordering) -> None:
    life = keyed(A, ordering=ordering)
    life.fail(life.take())
    life.lose()
    assert life.messages._queues[0].lane_of(life.epoch, records(0, keys=[A]), 0) is None


@pytest.mark.parametrize("ordering", list(Ordering))
def test_a_partition_that_drains_begins_nothing_again(ordering: Ordering) -> None:
    life = keyed(A, A, A, B, ordering=ordering)
    waits = life.take(1)
    life.fail(waits)
    life.at(0.5)
    flight = life.take() if life.ready else None

    life.messages.drain([life.epoch])

    if flight is not None:
        failed = Outcome(0, Verdict.RELEASE, BOOM)
        assert life.settle(flight, failed, unstarted=tuple(range(1, len(flight.task)))) == []
    life.at(100.0)
    assert (life.ready, life.epoch.busy, life.watermark) == (0, 0, 0)
    assert life.messages.deadline() is None


def test_an_attempt_of_a_draining_partition_is_counted_for_its_next_owner() -> None:
    life = Life()
    life.fetch(0)
    flight = life.take()
    life.messages.drain([life.epoch])
    assert life.fail(flight) == []
    assert life.epoch.attempts == {0: 1}
    assert life.counts == (0, 0, 0)


def test_what_a_worker_finishes_of_a_draining_partition_is_finished() -> None:
    life = Life()
    life.fetch(0)
    flight = life.take()
    life.messages.drain([life.epoch])
    life.settle(flight)
    assert (life.watermark, life.epoch.busy) == (1, 0)


def test_losing_nothing_is_nothing() -> None:
    life = Life()
    life.fetch(0)
    life.fail(life.take())
    life.messages.ended([])
    assert life.messages.deadline() == 1.0


def test_what_is_left_undelivered_is_named_once_a_message() -> None:
    life = Life()
    life.fetch(0)
    life.push(life.take(), OUT, OUT)
    life.messages.settling.abandon()
    report = the(life.out(), Report)
    assert (report.kind, report.offset) == (ReportKind.ABANDONED, 0)
    assert report.failure is not None and report.failure.type == "Undelivered"
