"""Every move of a worker, against its table and against what the words mean; and restarts."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kqworker.core.pool import TRANSITIONS, Pool, Signal, State, Worker
from kqworker.errors import BugError
from tests.core.supervised import TP


def worker_in(pool: Pool, state: State) -> Worker:
    worker = pool.start()
    worker.state = state
    return worker


# -- the table


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_a_worker_moves_along_the_table_and_no_other_way(state: State, signal: Signal) -> None:
    pool = Pool(target=1)
    worker = worker_in(pool, state)
    following = TRANSITIONS.get((state, signal))
    assert pool.may(worker, signal) is (following is not None)

    if following is None:
        with pytest.raises(BugError, match=f"worker 1 is {state.value}: {signal.value}"):
            pool.signal(worker, signal)
        assert (worker.state, pool.visited) == (state, set())
        assert pool.get(1) is worker
    else:
        pool.signal(worker, signal)
        assert (worker.state, pool.visited) == (following, {(state, signal)})
        assert pool.get(1) is (None if following is State.GONE else worker)


def test_whoever_lives_can_die() -> None:
    for state in State:
        if state is not State.GONE:
            assert TRANSITIONS[state, Signal.DIED] is State.GONE


def test_nothing_happens_to_the_dead() -> None:
    assert not any(state is State.GONE for state, _ in TRANSITIONS)


def test_a_killed_worker_is_killed_until_its_end_is_seen() -> None:
    after = {to for (state, _), to in TRANSITIONS.items() if state is State.CONDEMNED}
    assert after == {State.CONDEMNED, State.GONE}


class Life(RuleBasedStateMachine):
    """One worker after the other, by what is known of each: not by states, but by facts."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(target=1)
        self.numbers: set[int] = set()
        self.begin()

    def begin(self) -> None:
        self.worker = self.pool.start()
        assert self.worker.id not in self.numbers
        self.numbers.add(self.worker.id)
        self.ready = self.busy = self.retiring = self.stopping = self.killed = False

    def allowed(self, signal: Signal) -> bool:
        alive = not (self.killed or self.stopping)
        match signal:
            case Signal.READY:
                return self.killed or not self.ready
            case Signal.SENT:
                return self.ready and alive and not self.retiring
            case Signal.DONE:
                return self.killed or self.busy
            case Signal.RETIRE:
                return self.busy and alive and not self.retiring
            case Signal.STOP:
                return self.ready and alive and not self.busy
            case Signal.KILL:  # an idle worker is stopped and not killed
                return not self.killed and (not self.ready or self.busy or self.stopping)
            case Signal.DIED:
                return True

    def expected(self) -> State:
        if self.killed:
            return State.CONDEMNED
        if self.stopping:
            return State.LEAVING
        if self.busy:
            return State.RETIRING if self.retiring else State.BUSY
        return State.IDLE if self.ready else State.STARTING

    @rule(signal=st.sampled_from([*Signal, Signal.READY, Signal.SENT, Signal.SENT]))
    def signal(self, signal: Signal) -> None:
        if not self.allowed(signal):
            assert not self.pool.may(self.worker, signal)
            with pytest.raises(BugError):
                self.pool.signal(self.worker, signal)
            return
        self.pool.signal(self.worker, signal)
        match signal:
            case Signal.READY:
                self.ready = True
            case Signal.SENT:
                self.busy = True
            case Signal.DONE:
                self.busy = self.retiring = False
            case Signal.RETIRE:
                self.retiring = True
            case Signal.STOP:
                self.stopping = True
            case Signal.KILL:
                self.killed = True
            case Signal.DIED:
                assert self.pool.get(self.worker.id) is None
                assert len(self.pool) == 0
                self.begin()

    @invariant()
    def it_is_where_its_history_says(self) -> None:
        assert self.worker.state is self.expected()
        assert list(self.pool) == [self.worker]
        for state in State:
            assert self.pool.count(state) == (state is self.expected())


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


# -- seats


class Seats(RuleBasedStateMachine):
    """Workers that come and go, while another number of them is wanted now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(target=3)
        self.seated: dict[int, Worker] = {}

    @rule()
    def start(self) -> None:
        lowest = min(set(range(len(self.seated) + 1)) - self.seated.keys())
        worker = self.pool.start()
        assert worker.seat == lowest
        self.seated[lowest] = worker

    @precondition(lambda self: self.seated)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(sorted(self.seated)))
        self.pool.signal(self.seated.pop(seat), Signal.DIED)

    @rule(wanted=st.integers(1, 6))
    def aim(self, wanted: int) -> None:
        self.pool.aim(wanted)

    @invariant()
    def nobody_shares_a_seat(self) -> None:
        assert {worker.seat: worker for worker in self.pool} == self.seated

    @invariant()
    def what_is_vacant_is_below_the_target(self) -> None:
        assert self.pool.vacant() == len(set(range(self.pool.target)) - self.seated.keys())
        assert self.pool.size == max(self.pool.target, len(self.seated))


TestSeats = Seats.TestCase
TestSeats.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_a_successor_gets_the_seat_and_not_the_number() -> None:
    pool = Pool(target=3)
    workers = [pool.start() for _ in range(3)]
    pool.signal(workers[1], Signal.DIED)

    successor = pool.start()

    assert (successor.id, successor.seat) == (4, 1)


def test_rounds_of_deaths_are_counted_by_the_workers_of_now() -> None:
    pool = Pool(target=1)
    pool.aim(6)
    delays = [pool.died(ready=True) for _ in range(24)]
    assert None not in delays[:-1]
    assert delays[-1] is None


def test_workers_are_counted_by_state() -> None:
    pool = Pool(target=3)
    ready, sent = (Signal.READY,), (Signal.READY, Signal.SENT)
    for signals in (ready, sent, sent):
        worker = pool.start()
        for signal in signals:
            pool.signal(worker, signal)
    assert pool.count(State.BUSY) == 2
    assert pool.count(State.IDLE, State.BUSY) == 3
    assert pool.count(State.LEAVING) == 0


# -- restarts


def test_the_first_deaths_in_a_row_are_replaced_at_once_then_ever_later() -> None:
    pool = Pool(target=1)
    delays = [pool.died(ready=True) for _ in range(12)]
    assert delays == [0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_deaths_that_end_in_dead_letters_are_replaced_soon() -> None:
    pool = Pool(target=1)
    delays = [pool.died(ready=True, killer=(TP, offset)) for offset in range(7)]
    assert delays == [0, 0, 0, 0.1, 0.2, 0.2, 0.2]


@pytest.mark.parametrize(("size", "last"), [(1, 200), (60, 240)])
def test_so_many_different_messages_that_kill_are_given_up(size: int, last: int) -> None:
    pool = Pool(size)
    delays = [pool.died(ready=True, killer=(TP, n // 2)) for n in range(2 * last - 1)]
    assert None not in delays[:-1]
    assert delays[-1] is None


def test_a_worker_that_did_not_boot_is_never_replaced_at_once() -> None:
    pool = Pool(target=1)
    assert [pool.died(ready=False) for _ in range(4)] == [0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize(("size", "last"), [(1, 20), (5, 20), (6, 24)])
def test_so_many_deaths_in_a_row_without_progress_are_given_up(size: int, last: int) -> None:
    pool = Pool(size)
    delays = [pool.died(ready=True) for _ in range(last)]
    assert None not in delays[:-1]
    assert delays[-1] is None


@pytest.mark.parametrize(("size", "last"), [(1, 5), (2, 8), (8, 32)])
def test_so_many_workers_in_a_row_that_do_not_boot_are_given_up(size: int, last: int) -> None:
    pool = Pool(size)
    delays = [pool.died(ready=False) for _ in range(last)]
    assert None not in delays[:-1]
    assert delays[-1] is None


def test_progress_forgives_the_deaths_at_work() -> None:
    pool = Pool(target=1)
    for _ in range(19):
        pool.died(ready=True)
    pool.progressed()
    assert pool.died(ready=True) == 0.0


def test_a_worker_that_boots_forgives_those_that_did_not() -> None:
    pool = Pool(target=1)
    for _ in range(4):
        pool.died(ready=False)
    pool.booted()
    assert pool.died(ready=False) == 0.1


def test_booting_is_no_progress_and_progress_no_boot() -> None:
    pool = Pool(target=1, crashes=4, boots=4)
    for _ in range(3):
        pool.died(ready=True)
        pool.booted()
    assert pool.died(ready=True) is None

    pool = Pool(target=1, crashes=4, boots=4)
    for _ in range(3):
        pool.died(ready=False)
        pool.progressed()
    assert pool.died(ready=False) is None


def test_every_death_counts_as_a_restart() -> None:
    pool = Pool(target=1)
    pool.died(ready=True)
    pool.progressed()
    pool.died(ready=False)
    assert pool.restarts == 2
