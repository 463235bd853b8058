"""When fetching stops and goes on, of whom, and what is said of it."""

from __future__ import annotations

from kqworker.core.backpressure import FAST_BYTES, FAST_MESSAGES, TELL_SECONDS
from kqworker.core.commands import Fetching, Pause, Report, ReportKind, Resume
from kqworker.core.stock import OVERHEAD_BYTES
from kqworker.types import TopicPartition
from tests.core.house import House, partition
from tests.core.supervised import records

# -- fetching, while messages are handled fast


def test_a_full_house_is_reported_once_and_so_is_room() -> None:
    house = House(10, handlers=(0,))
    house.fetch(0, 9)
    assert house.decide() == []
    house.fetch(0, 1)
    assert house.decide() == [Fetching(False)]
    assert house.decide() == []
    house.finish(0, 4)
    assert house.decide() == []
    house.finish(0, 1)
    assert house.decide() == [Fetching(True)]


def test_bytes_fill_the_house_as_messages_do() -> None:
    house = House(1000, 100, handlers=(0,))
    house.fetch(0, 10)
    assert house.decide() == [Fetching(False)]
    house.finish(0, 4)
    assert house.decide() == []
    house.finish(0, 1)
    assert house.decide() == [Fetching(True)]


def test_fetching_that_was_stopped_goes_on_before_another_has_waited_for_long() -> None:
    house = House(1000, 8 * FAST_BYTES, handlers=(0,))
    house.fetch(0, 64, FAST_BYTES // 8)
    assert house.decide() == [Fetching(False)]
    house.finish(0, 3)
    assert house.decide() == []
    house.finish(0, 1)
    assert house.decide() == [Fetching(True)]


def fast(house: House, which: int = 0) -> None:
    """As much is handled as makes it worth to stop fetching for moments."""
    house.backpressure.finish(house.of[which], FAST_MESSAGES, 0)
    house.backpressure.admit(
        house.of[which], records(*range(FAST_MESSAGES), values=[b""] * FAST_MESSAGES)
    )


def test_fetching_stops_for_moments_only_where_messages_are_handled_fast() -> None:
    house = House(10)
    house.fetch(0, 20)
    assert house.decide() == [Fetching(False)]
    fast(house)
    house.look()
    assert house.decide() == []

    house.look()
    assert house.decide() == [Fetching(True)]
    house.fetch(0, 10)
    assert house.decide() == []

    fast(house)
    house.look()
    assert house.decide() == [Fetching(False)]


def test_a_house_that_has_room_again_is_not_slow() -> None:
    house = slow(House(10))
    house.finish(0, len(house.working[0]))
    house.finish(0, len(house.working[0]))
    house.look()
    assert house.decide() == []
    house.fetch(0, 20)
    assert house.decide() == [Fetching(False)]


# -- fetching, while they are handled slowly


def slow(house: House) -> House:
    """The first partition has a backlog, and stands still."""
    house.fetch(0, 20)
    assert house.decide() == [Fetching(False)]
    house.look()
    assert house.decide() == [Fetching(True)]
    return house


AHEAD = 10 * (10 + OVERHEAD_BYTES)


def test_a_partition_is_paused_alone_once_enough_of_it_is_ahead() -> None:
    house = slow(House(12, ahead=4 * AHEAD))
    house.fetch(0, 11)
    assert house.decide() == []
    house.fetch(0, 1)
    assert house.decide() == [Pause((partition(0),))]
    house.fetch(0, 5)
    assert house.decide() == []


def test_it_goes_on_when_a_quarter_of_that_is_left() -> None:
    house = slow(House(12, ahead=2 * AHEAD))
    house.fetch(0, 2)
    assert house.decide() == [Pause((partition(0),))]
    house.finish(0, 7)
    assert house.decide() == []
    house.finish(0, 1)
    assert house.decide() == [Resume((partition(0),))]
    house.fetch(0, 20)
    assert house.decide() == [Pause((partition(0),))]


def test_what_is_ahead_of_all_is_bounded() -> None:
    house = House(12, ahead=20 * AHEAD, handlers=(0,) * 20)
    house.fetch(0, 20)
    house.decide()
    house.look()
    house.decide()
    paused: list[TopicPartition] = []
    for _ in range(30):
        for which in range(20):
            if partition(which) not in paused:
                house.fetch(which, 5)
                paused += [p for x in house.decide() if isinstance(x, Pause) for p in x.partitions]
    assert len(paused) == 20
    assert house.backpressure.ahead <= 2 * 20 * AHEAD


def test_a_partition_that_may_not_go_on_is_paused_though_the_others_are_fast() -> None:
    house = House(100, ahead=2 * AHEAD)
    house.fetch(0, 60)
    house.wait(0, 50)
    house.fetch(0, 20)
    assert house.decide() == [Pause((partition(0),))]


def test_what_drains_is_neither_paused_nor_let_in() -> None:
    house = slow(House(12, ahead=2 * AHEAD))
    house.fetch(0, 20)
    house.of[0].draining = True
    house.backpressure.drain(house.of[0])
    house.finish(0, 12)
    assert house.at_work == [0, 0]
    assert house.decide() == []
    assert house.look() == []


def test_what_is_forgotten_is_no_longer_counted() -> None:
    house = slow(House(12))
    house.fetch(1, 30)
    house.wait(1, 2)
    for epoch in house.epochs.end([partition(0), partition(1)]):
        house.backpressure.forget(epoch)
    assert (house.backpressure.held, house.backpressure.held_bytes, house.backpressure.ahead) == (
        0,
        0,
        0,
    )
    assert house.backpressure.deadline() is None


# -- maps that fill


def test_nothing_more_is_let_in_of_a_partition_whose_map_is_nearly_full() -> None:
    house = House(12)
    house.fetch(0, 5)
    house.of[0].budget = 400
    house.of[0].used = 300
    house.look()
    house.fetch(0, 1)
    assert house.at_work == [6, 0]
    house.of[0].used = 301
    house.look()
    house.fetch(0, 1)
    assert house.at_work == [6, 0]
    house.of[0].used = 201
    house.look()
    assert house.at_work == [6, 0]
    house.of[0].used = 200
    house.look()
    assert house.at_work == [7, 0]


def test_a_map_that_only_new_messages_can_shrink_keeps_none_away() -> None:
    house = House(12)
    house.of[0].used = house.of[0].budget
    house.look()
    house.fetch(0, 1)
    assert house.at_work == [1, 0]
    house.look()
    house.fetch(0, 1)
    house.finish(0)
    assert house.at_work == [0, 0]
    house.look()
    assert house.at_work == [1, 0]


# -- what is said


def said(reports: list[Report]) -> list[tuple[ReportKind, TopicPartition | None, str]]:
    return [(r.kind, r.partition, r.failure.type if r.failure else "") for r in reports]


def test_what_waits_is_told_once_where_it_lasts() -> None:
    house = House(12)
    house.fetch(0, 40)
    house.wait(0, 6)
    assert (said(house.look()), house.backpressure.paused) == ([], 1)
    assert said(house.look()) == [(ReportKind.PAUSED, partition(0), "Retries")]
    assert [house.look() for _ in range(5)] == [[]] * 5
    assert said(house.look(TELL_SECONDS)) == [(ReportKind.PAUSED, partition(0), "Retries")]


def test_records_that_cannot_be_delivered_are_another_cause() -> None:
    house = House(12)
    house.fetch(0, 40)
    house.wait(0, 6, undelivered=True)
    house.look()
    assert said(house.look()) == [(ReportKind.PAUSED, partition(0), "Undelivered")]
    house.go_on(0, 6, undelivered=True)
    assert (house.look(), house.backpressure.paused) == ([], 0)


def test_a_full_map_is_another_cause() -> None:
    house = House(12)
    house.fetch(0, 1)
    house.of[0].used = house.of[0].budget
    house.look()
    house.fetch(0, 1)
    house.look()
    assert said(house.look()) == [(ReportKind.PAUSED, partition(0), "CompletionMap")]


def test_the_cause_is_what_waits_where_that_is_what_fills_the_map() -> None:
    house = House(12)
    house.fetch(0, 40)
    house.of[0].used = house.of[0].budget
    house.wait(0, 3)
    house.look()
    (report,) = house.look()
    assert report.failure is not None and report.failure.text.endswith(", behind 3 that wait")
    house.wait(0, 3)
    house.look()
    assert said(house.look()) == [(ReportKind.PAUSED, partition(0), "Retries")]


def test_a_slow_partition_is_told_where_another_has_room() -> None:
    house = slow(House(12, ahead=2 * AHEAD))
    house.fetch(0, 20)
    house.decide()
    house.look()
    assert said(house.look()) == [(ReportKind.SLOW, partition(0), "Slow")]


def test_where_all_are_full_nobody_is_told_to_be_slow() -> None:
    house = slow(House(12, ahead=2 * AHEAD))
    for which in (0, 1):
        house.fetch(which, 20)
    house.decide()
    assert [house.look() for _ in range(3)] == [[]] * 3
    assert house.backpressure.paused == 0
