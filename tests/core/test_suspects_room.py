"""Suspects count within the share of their partition, and run alone all the same."""

from __future__ import annotations

import pytest

from kqworker.core import commands as c
from kqworker.core import suspects, wards
from tests.core.supervised import OTHER, TP, those
from tests.core.suspecting import Suspecting, said, suspects_first

pytestmark = pytest.mark.usefixtures(suspects_first.__name__)


def with_room_for(messages: int, **what: object) -> Suspecting:
    """So many messages may be at work; the former owner had handed out the offsets 0 to 4."""
    supervisor = Suspecting(messages=messages)
    supervisor.assign(metadata=said(**{"handed": 5, **what}))
    supervisor.confirm()
    return supervisor


def test_suspects_beyond_a_share_come_when_others_have_run_and_nobody_runs_beside_them() -> None:
    supervisor = with_room_for(2)
    supervisor.fetch(0, 1, 2, 3, 4, 5, 6)
    supervisor.confirm()
    for _ in range(5):
        supervisor.accept_alone()
    # Of those that there was room for the last one first; then what is not suspected.
    assert supervisor.sent() == [[1], [2], [3], [4], [0], [5], [6]]


def test_others_that_are_ahead_come_before_one_that_is_charged() -> None:
    supervisor = with_room_for(2, begun=(0,))
    supervisor.fetch(0, 1, 2, 3, 4)
    supervisor.confirm()
    for _ in range(4):
        supervisor.accept_alone()
    supervisor.confirm()
    assert supervisor.sent() == [[1], [2], [3], [4], [0]]


def test_a_suspect_that_waits_for_its_next_attempt_leaves_its_room_to_others() -> None:
    supervisor = with_room_for(2)
    supervisor.fetch(0, 1, 2)
    supervisor.confirm()
    supervisor.fail(supervisor.seen_task())
    supervisor.confirm()
    supervisor.accept_alone()
    supervisor.accept_alone()
    assert supervisor.sent() == [[1], [2], [0]]
    supervisor.tick(supervisor.now + 1.0)
    supervisor.accept(supervisor.seen_task())
    assert supervisor.sent() == [[1], [2], [0], [1]]
    assert (supervisor.core.snapshot().held, supervisor.core.snapshot().held_bytes) == (0, 0)


def test_who_must_wait_until_one_that_failed_has_run_again_is_still_suspected() -> None:
    supervisor = with_room_for(1, handed=2)
    supervisor.fetch(0, 1)
    supervisor.confirm()
    supervisor.fail(supervisor.seen_task())
    supervisor.confirm()
    supervisor.tick(supervisor.now + 1.0)
    assert supervisor.sent() == [[0], [0]]
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    assert (supervisor.sent(), supervisor.names()) == ([[0], [0]], (1,))
    supervisor.confirm()
    assert supervisor.sent() == [[0], [0], [1]]


def test_what_was_fetched_in_time_is_suspected_though_there_is_room_later() -> None:
    supervisor = with_room_for(1)
    supervisor.fetch(0, 1)
    supervisor.confirm()
    supervisor.tick(wards.FETCH_SECONDS)
    supervisor.fetch(2)
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    assert supervisor.names() == (1,)
    supervisor.confirm()
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    assert supervisor.names() == ()
    supervisor.confirm()
    assert supervisor.sent() == [[0], [1], [2]]


def test_who_cannot_be_fetched_while_its_partition_is_paused_is_still_suspected() -> None:
    supervisor = Suspecting(messages=1, ahead=1)
    supervisor.assign(metadata=said(handed=3))
    supervisor.confirm()
    supervisor.fetch(0)
    supervisor.tick(1.0)  # messages are handled slowly
    supervisor.fetch(1)
    assert those(supervisor.seen, c.Pause) == [c.Pause((TP,))]
    supervisor.confirm()
    supervisor.tick(wards.FETCH_SECONDS)
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    assert those(supervisor.seen, c.Resume) == [c.Resume((TP,))]
    supervisor.confirm()
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.confirm()
    supervisor.fetch(2, 3)
    assert supervisor.names() == (2,)
    supervisor.confirm()
    assert supervisor.sent() == [[0], [1], [2]]


def test_no_more_are_suspected_where_they_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "PER_PARTITION", 2)
    supervisor = with_room_for(1)
    supervisor.fetch(0, 1, 2, 3)
    supervisor.confirm()
    supervisor.accept_alone()
    assert supervisor.names() == (1,)
    supervisor.accept_alone()
    assert (supervisor.sent(), supervisor.names()) == ([[0], [1], [2]], ())


def test_suspects_of_two_partitions_run_one_at_a_time_within_the_share_of_each() -> None:
    supervisor = Suspecting(messages=2)
    supervisor.assign(TP, OTHER, metadata=said(handed=2))
    supervisor.confirm()
    supervisor.fetch(0, 1)
    supervisor.fetch(0, 1, partition=OTHER)
    supervisor.confirm()
    for _ in range(3):
        assert supervisor.core.snapshot().in_flight == 1
        supervisor.accept_alone()
    supervisor.accept_alone()
    assert supervisor.core.snapshot().handled == 4
