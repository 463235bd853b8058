"""What may go to work next: shares of messages and bytes, and what waits."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kqworker.core.backpressure import Backpressure
from kqworker.core.stock import MOST_WAITING, Stock
from tests.core.house import House, partition

# -- shares


def test_a_partition_has_all_while_nobody_else_needs_it() -> None:
    house = House(12)
    house.fetch(0, 20)
    assert house.at_work == [12, 0]
    house.finish(0)
    assert house.at_work == [12, 0]


def test_who_is_below_its_share_may_fill_it_at_once() -> None:
    house = House(12)
    house.fetch(0, 20)
    house.fetch(1, 20)
    assert house.at_work == [12, 6]


def test_what_gets_free_goes_to_nobody_who_has_more_than_its_share() -> None:
    house = House(12)
    house.fetch(0, 30)
    house.fetch(1, 20)
    house.finish(0, 6)
    assert house.at_work == [6, 6]
    house.finish(0, 6)
    house.finish(1, 6)
    assert house.at_work == [6, 6]


def test_shares_are_those_of_handlers_first_and_then_of_their_partitions() -> None:
    house = House(12, 1200, handlers=(0, 0, 0, 1))
    shares = [(epoch.stock.messages, epoch.stock.size) for epoch in house.of]
    assert shares == [(2, 200), (2, 200), (2, 200), (6, 600)]


def test_shares_grow_when_a_partition_has_gone() -> None:
    house = House(12)
    for epoch in house.epochs.end([partition(1)]):
        house.backpressure.forget(epoch)
    house.backpressure.share_out(house.epochs)
    assert house.of[0].stock.messages == 12


def test_among_more_partitions_than_messages_each_may_have_one() -> None:
    house = House(1, handlers=(0, 0, 0))
    for which in range(3):
        house.fetch(which, 2)
    assert house.at_work == [1, 1, 1]


def test_messages_go_to_work_in_their_order() -> None:
    house = House(3, handlers=(0,))
    house.fetch(0, 2)
    house.fetch(0, 3)
    house.fetch(0, 2)
    seen = []
    while house.working[0]:
        seen.append(house.working[0][0][0])
        house.finish(0)
    assert seen == list(range(7))


def test_what_gets_free_of_one_that_drains_goes_to_others() -> None:
    house = House(4)
    house.fetch(0, 6)
    house.fetch(1, 3)
    assert house.at_work == [4, 2]
    house.backpressure.finish(house.of[0], 3, 30)
    house.backpressure.drain(house.of[0])
    house.let_in()
    assert house.at_work == [4, 3]  # of which three are done


# -- bytes


def test_bytes_fill_a_share_as_messages_do() -> None:
    house = House(1000, 120)
    house.fetch(0, 20)
    house.fetch(1, 20)
    assert house.at_work == [12, 6]


def test_bytes_count_more_than_one_message_a_partition() -> None:
    house = House(1000, 100, handlers=(0,) * 10)
    for which in range(10):
        house.fetch(which, 1, size=40)
    # Two fit, and one that is more than its share goes beside them.
    assert sum(house.at_work) == 3


def test_messages_above_their_share_go_one_at_a_time_and_in_turn() -> None:
    house = House(1000, 100, handlers=(0, 0, 0))
    for which in range(3):
        house.fetch(which, 2, size=300)
    order = []
    while any(house.at_work):
        assert sum(house.at_work) == 1
        which = house.at_work.index(1)
        order.append(which)
        house.finish(which)
    assert sorted(order) == [0, 0, 1, 1, 2, 2]
    assert set(order[:3]) == {0, 1, 2}


def test_a_large_message_waits_for_no_backlog_of_others() -> None:
    house = House(1000, 100)
    house.fetch(0, 50, size=10)
    house.fetch(1, 1, size=80)
    assert house.at_work == [10, 1]


def test_the_next_large_message_has_its_turn_when_its_partition_has_gone() -> None:
    house = House(1000, 100)
    house.fetch(0, 1, size=300)
    house.fetch(1, 1, size=300)
    assert house.at_work == [1, 0]
    house.backpressure.forget(house.of[0])
    house.let_in()
    assert house.at_work[1] == 1


def test_tombstones_weigh_nothing() -> None:
    house = House(1000, 1, handlers=(0,))
    house.fetch(0, 5, size=0)
    assert house.at_work == [5]


# -- what waits


def test_what_waits_for_its_next_attempt_leaves_its_room_to_others() -> None:
    house = House(12)
    house.fetch(0, 40)
    house.wait(0, 5)
    assert house.at_work == [12, 0]


def test_as_many_as_its_share_may_wait_of_a_partition_and_no_more() -> None:
    house = House(12)
    house.fetch(0, 40)
    house.wait(0, 6)
    before = house.at_work[0]
    house.finish(0, 3)
    assert house.at_work[0] == before - 3
    house.go_on(0)
    house.finish(0)
    assert house.at_work[0] > before - 3


def test_never_more_wait_than_a_map_has_room_for() -> None:
    house = House(20_000, handlers=(0,))
    house.fetch(0, 20_000)
    house.wait(0, MOST_WAITING)
    house.fetch(0, 10)
    assert house.at_work == [20_000 - MOST_WAITING]


def test_the_bytes_of_what_waits_have_a_bound_too() -> None:
    house = House(1000, 200)
    house.fetch(0, 30)
    house.wait(0, 10)
    house.finish(0, 5)
    assert house.at_work == [15 - 5 + 10 - 5, 0] or house.at_work[0] <= 15


def test_a_partition_finishes_while_another_is_full_of_what_waits() -> None:
    house = House(400)
    house.fetch(0, 2000)
    for _ in range(20):
        house.wait(0, min(100, house.at_work[0]))
        house.look()
    house.fetch(1, 500)
    while house.at_work[1]:
        house.finish(1)
    assert house.backpressure.held == 2000


# -- any history


class Slow(Backpressure):
    """Lets nothing in but by `let_in`."""

    def _has_room(self, stock: Stock, count: int, size: int) -> bool:
        return False


class Histories(RuleBasedStateMachine):
    """Whatever happens, the bounds hold, and who has less than its share has all it wants."""

    def __init__(self) -> None:
        super().__init__()
        self.house, self.other = (
            House(8, 80, 600, handlers=(0, 0, 1), backpressure=backpressure)
            for backpressure in (Backpressure, Slow)
        )

    @rule(which=st.integers(0, 2), count=st.integers(1, 6), size=st.sampled_from((0, 5, 10, 70)))
    def fetch(self, which: int, count: int, size: int) -> None:
        for house in (self.house, self.other):
            house.fetch(which, count, size)
            house.decide()

    @precondition(lambda self: any(self.house.at_work))
    @rule(data=st.data(), waits=st.booleans())
    def an_end(self, data: st.DataObject, waits: bool) -> None:
        which = data.draw(st.sampled_from([n for n, held in enumerate(self.house.at_work) if held]))
        for house in (self.house, self.other):
            if waits:
                house.wait(which)
            else:
                house.finish(which)
            house.decide()

    @precondition(lambda self: any(self.house.waiting))
    @rule(data=st.data())
    def another_attempt(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from([n for n, held in enumerate(self.house.waiting) if held]))
        for house in (self.house, self.other):
            house.go_on(which)

    @rule()
    def time(self) -> None:
        for house in (self.house, self.other):
            house.look()
            house.decide()

    @invariant()
    def what_goes_to_work_at_once_is_what_would_have_been_let_in(self) -> None:
        assert self.house.working == self.other.working

    @invariant()
    def it_is_counted_right(self) -> None:
        house = self.house
        ahead = [
            house.next[n] - 1 - max([-1, *(o for o, _ in house.working[n] + house.waiting[n])])
            for n in range(3)
        ]
        for n, epoch in enumerate(house.of):
            stock = epoch.stock
            assert stock.working == len(house.working[n])
            assert stock.waiting == len(house.waiting[n])
            assert stock.working_bytes == sum(size for _, size in house.working[n])
            assert stock.waiting_bytes == sum(size for _, size in house.waiting[n])
            assert stock.ahead <= ahead[n] or not house.working[n] + house.waiting[n]
        assert house.backpressure.held == sum(epoch.stock.held for epoch in house.of)
        assert house.backpressure.ahead == sum(epoch.stock.ahead_bytes for epoch in house.of)

    @invariant()
    def who_has_less_than_its_share_has_all_it_wants(self) -> None:
        for epoch in self.house.of:
            stock = epoch.stock
            if stock.ahead and not stock.shut:
                more = 70  # the largest message
                full = stock.working >= stock.messages
                assert full or stock.working_bytes + more > stock.size or stock.paused

    @invariant()
    def never_all_stand_still(self) -> None:
        if not any(self.house.at_work) and not any(self.house.waiting):
            assert self.house.backpressure.held == 0 or any(e.stock.full for e in self.house.of)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
