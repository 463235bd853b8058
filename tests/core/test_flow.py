"""When fetching stops and goes on: for all, and for a partition that stands still."""

from __future__ import annotations

import pytest

from kqworker.core.commands import Fetching, Pause, Resume
from kqworker.core.completion import Completion
from kqworker.core.epochs import METADATA_BUDGET, Epoch
from kqworker.core.events import Start
from kqworker.core.flow import Flow
from kqworker.types import TopicPartition


def partition(number: int) -> TopicPartition:
    return TopicPartition("test", number)


def epochs(count: int) -> list[Epoch]:
    return [Epoch(n + 1, 0, partition(n), 0, Start(0), Completion()) for n in range(count)]


def finish(flow: Flow, epoch: Epoch, count: int, size: int = 0) -> None:
    """What `Messages` does of it when messages are done."""
    epoch.held -= count
    epoch.held_bytes -= size
    epoch.finished += count
    flow.remove(count, size)


# -- all of them


def test_a_full_house_is_reported_once_and_so_is_room() -> None:
    flow, (epoch,) = Flow(10, 1000), epochs(1)
    flow.add(epoch, 9, 0)
    assert flow.decide() == []
    flow.add(epoch, 1, 0)
    assert flow.decide() == [Fetching(False)]
    assert flow.decide() == []

    finish(flow, epoch, 4)
    assert flow.decide() == []  # not before half of it is done
    finish(flow, epoch, 1)
    assert flow.decide() == [Fetching(True)]
    assert flow.decide() == []


def test_bytes_fill_the_house_as_messages_do() -> None:
    flow, (epoch,) = Flow(1000, 100), epochs(1)
    flow.add(epoch, 2, 99)
    assert flow.decide() == []
    flow.add(epoch, 1, 1)
    assert flow.decide() == [Fetching(False)]

    finish(flow, epoch, 1, 49)
    assert flow.decide() == []
    finish(flow, epoch, 1, 1)
    assert flow.decide() == [Fetching(True)]


def test_there_is_room_only_when_there_is_room_for_both() -> None:
    flow, (epoch,) = Flow(10, 100), epochs(1)
    flow.add(epoch, 10, 100)
    flow.decide()
    finish(flow, epoch, 10, 40)
    assert flow.decide() == []
    finish(flow, epoch, 0, 60)
    assert flow.decide() == [Fetching(True)]


def test_a_house_of_one_message_has_room_when_it_is_empty() -> None:
    flow, (epoch,) = Flow(1, 1), epochs(1)
    flow.add(epoch, 1, 10)
    assert flow.decide() == [Fetching(False)]
    finish(flow, epoch, 1, 10)
    assert flow.decide() == [Fetching(True)]


def test_what_is_held_is_counted_in_all_and_by_partition() -> None:
    flow, (first, second) = Flow(10, 100), epochs(2)
    flow.add(first, 2, 20)
    flow.add(second, 3, 30)
    assert (flow.held, flow.held_bytes) == (5, 50)
    assert [(e.held, e.held_bytes) for e in (first, second)] == [(2, 20), (3, 30)]

    flow.remove(2, 20)
    assert (flow.held, flow.held_bytes) == (3, 30)


# -- partitions that stand still


def test_a_partition_that_holds_its_share_and_stands_still_is_paused_alone() -> None:
    flow, both = Flow(10, 1000), epochs(2)
    flow.add(both[0], 5, 50)
    flow.add(both[1], 4, 40)
    assert flow.balance(both) == [Pause((partition(0),))]
    assert flow.balance(both) == []


def test_a_partition_that_gets_on_is_not_paused() -> None:
    flow, both = Flow(10, 1000), epochs(2)
    flow.add(both[0], 9, 0)
    finish(flow, both[0], 1)
    assert flow.balance(both) == []

    assert flow.balance(both) == [Pause((partition(0),))]  # nothing since the last look


def test_the_only_partition_keeps_nobody_from_going_on() -> None:
    flow, only = Flow(10, 1000), epochs(1)
    flow.add(only[0], 10, 0)
    assert flow.balance(only) == []


def test_the_share_is_that_of_each_among_all() -> None:
    flow, four = Flow(20, 1000), epochs(4)
    for epoch, held in zip(four, (4, 5, 6, 0), strict=True):
        flow.add(epoch, held, 0)
    assert flow.balance(four) == [Pause((partition(1), partition(2)))]


def test_among_more_partitions_than_messages_the_share_is_one() -> None:
    flow, three = Flow(2, 1000), epochs(3)
    flow.add(three[0], 1, 0)
    assert flow.balance(three) == [Pause((partition(0),))]


def test_a_paused_partition_goes_on_at_half_of_its_share() -> None:
    flow, both = Flow(10, 1000), epochs(2)
    flow.add(both[0], 5, 0)
    flow.balance(both)

    finish(flow, both[0], 2)
    assert flow.balance(both) == []
    finish(flow, both[0], 1)
    assert flow.balance(both) == [Resume((partition(0),))]


def test_one_can_be_paused_as_another_goes_on() -> None:
    flow, both = Flow(10, 1000), epochs(2)
    flow.add(both[0], 5, 0)
    flow.balance(both)
    finish(flow, both[0], 5)
    flow.add(both[1], 5, 0)
    assert flow.balance(both) == [Pause((partition(1),)), Resume((partition(0),))]


def test_what_a_paused_partition_holds_leaves_the_others_their_room() -> None:
    flow, both = Flow(10, 100), epochs(2)
    flow.add(both[0], 10, 100)
    assert flow.decide() == [Fetching(False)]
    flow.balance(both)
    assert flow.decide() == [Fetching(True)]

    flow.add(both[1], 10, 0)
    assert flow.decide() == [Fetching(False)]


def test_the_bytes_of_a_paused_partition_leave_the_others_their_room() -> None:
    flow, both = Flow(10, 100), epochs(2)
    flow.add(both[0], 5, 100)
    flow.balance(both)
    assert flow.decide() == []
    flow.add(both[1], 1, 100)
    assert flow.decide() == [Fetching(False)]


@pytest.mark.parametrize(("messages", "size"), [(10, 0), (1, 100)])
def test_paused_partitions_can_double_what_is_held_and_no_more(messages: int, size: int) -> None:
    flow, four = Flow(10, 100), epochs(4)
    for epoch in four[:2]:
        flow.add(epoch, 5, 0)
    assert flow.balance(four) == [Pause((partition(0), partition(1)))]
    for epoch in four[:2]:
        flow.add(epoch, messages, size)
    assert flow.balance(four) == []
    assert flow.decide() == [Fetching(False)]


def test_what_goes_on_again_counts_again() -> None:
    flow, both = Flow(10, 100), epochs(2)
    flow.add(both[0], 6, 60)
    flow.balance(both)
    finish(flow, both[0], 4, 40)
    assert flow.balance(both) == [Resume((partition(0),))]

    flow.add(both[1], 8, 0)
    assert flow.decide() == [Fetching(False)]


def test_the_bytes_of_what_goes_on_again_count_again() -> None:
    flow, both = Flow(10, 100), epochs(2)
    flow.add(both[0], 6, 60)
    flow.balance(both)
    finish(flow, both[0], 4, 0)
    flow.balance(both)

    flow.add(both[1], 1, 40)
    assert flow.decide() == [Fetching(False)]


def test_what_a_paused_partition_held_is_forgotten_when_it_ends() -> None:
    flow, both = Flow(10, 100), epochs(2)
    flow.add(both[0], 10, 100)
    flow.balance(both)

    both[0].live = False
    flow.remove(10, 100)
    flow.add(both[1], 9, 99)
    assert flow.decide() == []
    flow.add(both[1], 1, 0)
    assert flow.decide() == [Fetching(False)]


def test_what_a_paused_partition_gets_done_makes_no_room_for_the_others() -> None:
    flow, both = Flow(10, 100), epochs(2)
    flow.add(both[0], 8, 0)
    flow.balance(both)
    flow.add(both[1], 9, 0)
    finish(flow, both[0], 3)
    flow.add(both[1], 1, 0)
    assert flow.decide() == [Fetching(False)]


def test_what_drains_is_left_alone() -> None:
    flow, both = Flow(10, 1000), epochs(2)
    flow.add(both[0], 9, 0)
    both[0].draining = True
    assert flow.balance(both) == []


# -- maps that fill


def test_a_partition_whose_map_is_nearly_full_is_paused_even_alone() -> None:
    flow, (epoch,) = Flow(1000, 1000), epochs(1)
    flow.add(epoch, 1, 0)
    epoch.budget = 400
    epoch.used = 300
    assert flow.balance([epoch]) == []
    epoch.used += 1
    assert flow.balance([epoch]) == [Pause((partition(0),))]


def test_it_goes_on_when_half_of_its_map_is_free() -> None:
    flow, (epoch,) = Flow(1000, 1000), epochs(1)
    flow.add(epoch, 1, 0)
    epoch.used = METADATA_BUDGET
    flow.balance([epoch])

    epoch.used = METADATA_BUDGET // 2 + 1
    assert flow.balance([epoch]) == []
    epoch.used = METADATA_BUDGET // 2
    assert flow.balance([epoch]) == [Resume((partition(0),))]


def test_it_goes_on_when_it_holds_a_quarter_of_the_house_though_it_is_alone() -> None:
    flow, (epoch,) = Flow(100, 1000), epochs(1)
    flow.add(epoch, 26, 0)
    epoch.used = METADATA_BUDGET
    flow.balance([epoch])
    epoch.used = 0
    assert flow.balance([epoch]) == []
    finish(flow, epoch, 1)
    assert flow.balance([epoch]) == [Resume((partition(0),))]


def test_a_map_that_only_new_messages_can_shrink_keeps_none_away() -> None:
    flow, (epoch,) = Flow(1000, 1000), epochs(1)
    epoch.used = METADATA_BUDGET
    assert flow.balance([epoch]) == []

    flow.add(epoch, 1, 0)
    assert flow.balance([epoch]) == [Pause((partition(0),))]
    finish(flow, epoch, 1)
    assert flow.balance([epoch]) == [Resume((partition(0),))]
