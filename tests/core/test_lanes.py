"""Queues against a naive model of lists, and the laws that the model cannot show."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kqworker.core.epochs import Epoch
from kqworker.core.lanes import Lane, Lanes, Span, Unordered, queue_for, segments_of
from kqworker.types import Ordering, Segment
from tests.core.lines import Entry, Line, Lines, Name, entries, epoch_of, offsets, span
from tests.core.supervised import records

ENOUGH = 1 << 40  # bytes: no take ends for its size
KEYS = (b"a", b"b", None)


class Queues(RuleBasedStateMachine):
    """Random histories of one queue: whoever takes messages ends with some of them."""

    ordering: Ordering

    def __init__(self) -> None:
        super().__init__()
        self.queue = queue_for(self.ordering)
        self.name: dict[tuple[int, int], Name] = {}
        self.model: Line | Lines = (
            Line() if self.ordering is Ordering.UNORDERED else Lines(self.name)
        )
        self.epochs: list[Epoch] = []
        self.number = 0
        self.next_offset: dict[int, int] = {}
        self.flights: list[tuple[list[tuple[Epoch, Segment]], list[Lane]]] = []
        self.delayed: list[Lane] = []
        self.parted: list[Span] = []  # attempts of no lane that wait for their time
        self.pushed: set[tuple[int, int]] = set()
        self.done: list[tuple[int, int]] = []
        self.dropped: set[int] = set()

    def lane_name(self, epoch: int, key: bytes | None, offset: int) -> Name:
        if self.ordering is Ordering.PARTITION:
            return epoch, None
        return epoch, offset if key is None else key

    @initialize()
    def two_partitions(self) -> None:
        for partition in (0, 1):
            self.assign(partition)

    def assign(self, partition: int) -> None:
        self.number += 1
        self.epochs.append(epoch_of(self.number, partition))
        self.next_offset[self.number] = 0

    @rule(
        which=st.integers(0, 1),
        gap=st.integers(0, 1),
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=6),
        keyless=st.booleans(),
        size=st.integers(0, 9),
        attempt=st.sampled_from([1, 1, 1, 2]),
    )
    def push(
        self,
        which: int,
        gap: int,
        keys: list[bytes | None],
        keyless: bool,
        size: int,
        attempt: int,
    ) -> None:
        epoch = self.epochs[which]
        first = self.next_offset[epoch.number] + gap
        self.next_offset[epoch.number] = first + len(keys)
        fetched = range(first, first + len(keys))
        batch = records(
            *fetched,
            partition=epoch.partition,
            keys=None if keyless else keys,
            values=[b"x" * size] * len(keys),
        )
        for offset, key in zip(fetched, keys, strict=True):
            name = self.lane_name(epoch.number, None if keyless else key, offset)
            self.name[epoch.number, offset] = name
            self.pushed.add((epoch.number, offset))
        # As after a restart: part of a batch may be queued apart from the rest.
        self.queue.push(Span(epoch, batch, 0, 1, attempt))
        self.model.push([Entry(epoch.number, first, attempt)])
        if len(keys) > 1:
            self.queue.push(Span(epoch, batch, 1, len(keys), 1))
            self.model.push([Entry(epoch.number, offset, 1) for offset in fetched[1:]])

    @rule(count=st.integers(1, 12), size=st.sampled_from([ENOUGH, ENOUGH, 1, 10, 30]))
    def take(self, count: int, size: int) -> None:
        expected = self.model.next(count)
        spans, lanes = self.queue.take(count, size)
        taken = entries(spans)
        if size == ENOUGH:
            assert taken == expected
        else:
            assert taken == expected[: len(taken)]
            assert taken or not expected
        names = self.model.take(taken)
        assert {(lane.epoch.number, lane.key) for lane in lanes} == names
        assert len(lanes) == len(names)
        if not taken:
            return
        parts = segments_of(spans, self.ordering)
        travelling = [
            Entry(epoch.number, offset, segment.attempt)
            for epoch, segment in parts
            for offset in segment.records.offsets
        ]
        assert sorted(travelling) == sorted(taken)
        for name in names:
            self.in_order(name, travelling, taken)
        self.flights.append((parts, lanes))

    def in_order(self, name: Name, travelling: list[Entry], taken: list[Entry]) -> None:
        assert [entry for entry in travelling if self.name[entry[:2]] == name] == [
            entry for entry in taken if self.name[entry[:2]] == name
        ]

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """What is not accepted goes back, after a failure with all that is behind it."""
        parts, lanes = self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))
        fates = st.sampled_from(["done", "done", "back", "again"])
        stopped: set[Name] = set()
        waiting: set[Name] = set()
        back: list[Span] = []
        for epoch, segment in parts:
            for i, offset in enumerate(segment.records.offsets):
                name = self.name[epoch.number, offset]
                fate = "back" if name in stopped else data.draw(fates)
                if epoch.number in self.dropped:
                    continue
                if fate == "done":
                    self.done.append((epoch.number, offset))
                    continue
                piece = Span(epoch, segment.records, i, i + 1, segment.attempt)
                if lanes:
                    stopped.add(name)
                if fate == "again":
                    alone = segment.records.slice(i, i + 1)
                    piece = Span(epoch, alone, 0, 1, segment.attempt + 1)
                    if not lanes:
                        self.parted.append(piece)
                        continue
                    waiting.add(name)
                back.append(piece)
        self.queue.give_back(back)
        self.model.give_back(entries(back))
        for lane in lanes:
            if (lane.epoch.number, lane.key) in waiting:
                self.delayed.append(lane)
            else:
                self.release(lane)

    def release(self, lane: Lane) -> None:
        self.queue.release(lane)
        self.model.release((lane.epoch.number, lane.key))

    @precondition(lambda self: self.delayed)
    @rule()
    def a_delay_is_over(self) -> None:
        self.release(self.delayed.pop(0))

    @precondition(lambda self: self.parted)
    @rule()
    def an_attempt_is_due(self) -> None:
        back = [self.parted.pop(0)]
        if back[0].epoch.number not in self.dropped:
            self.queue.give_back(back)
            self.model.give_back(entries(back))

    @rule(which=st.integers(0, 1))
    def drop(self, which: int) -> None:
        """The partition comes back at once, as another epoch."""
        epoch = self.epochs.pop(which)
        self.queue.drop([epoch])
        self.model.drop({epoch.number})
        self.dropped.add(epoch.number)
        self.assign(epoch.partition.partition)

    @invariant()
    def ready_is_exact(self) -> None:
        assert self.queue.ready == self.model.ready

    def teardown(self) -> None:
        """Everything ends exactly once, but for what was dropped; no lane stays behind."""
        for lane in self.delayed:
            self.release(lane)
        for parts, lanes in self.flights:
            self.done += [(epoch.number, o) for epoch, s in parts for o in s.records.offsets]
            for lane in lanes:
                self.release(lane)
        self.queue.give_back([s for s in self.parted if s.epoch.number not in self.dropped])
        while self.queue.ready:
            spans, lanes = self.queue.take(100, ENOUGH)
            assert spans, "what is ready can be taken"
            self.done += [entry[:2] for entry in entries(spans)]
            for lane in lanes:
                self.queue.release(lane)
        assert len(set(self.done)) == len(self.done)
        kept = {message for message in self.pushed if message[0] not in self.dropped}
        assert kept <= set(self.done) <= self.pushed
        for epoch in self.epochs:
            for key in KEYS:
                assert self.queue.lane_of(epoch, records(0, keys=[key]), 0) is None


class AnyOrder(Queues):
    ordering = Ordering.UNORDERED


class ByKey(Queues):
    ordering = Ordering.KEY


class ByPartition(Queues):
    ordering = Ordering.PARTITION


@pytest.mark.parametrize("machine", [AnyOrder, ByKey, ByPartition])
def test_no_history_loses_doubles_or_reorders_a_message(machine: type[Queues]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=150, stateful_step_count=25, deadline=None)
    )


# -- what a take may carry


@pytest.mark.parametrize("ordering", list(Ordering))
def test_a_take_ends_at_its_size(ordering: Ordering) -> None:
    queue = queue_for(ordering)
    queue.push(span(epoch_of(1), records(0, 1, 2, 3)))  # ten bytes each

    assert offsets(queue.take(4, 30)[0]) == [0, 1, 2]
    assert queue.ready == (0 if ordering is Ordering.PARTITION else 1)


@pytest.mark.parametrize("ordering", list(Ordering))
def test_a_message_over_the_size_travels_alone(ordering: Ordering) -> None:
    queue = queue_for(ordering)
    queue.push(span(epoch_of(1), records(0, 1)))

    assert offsets(queue.take(2, 9)[0]) == [0]


@pytest.mark.parametrize("ordering", list(Ordering))
def test_the_size_is_counted_over_batches(ordering: Ordering) -> None:
    queue = queue_for(ordering)
    epoch = epoch_of(1)
    for first in (0, 2, 4):
        queue.push(span(epoch, records(first, first + 1)))

    assert offsets(queue.take(6, 40)[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("ordering", list(Ordering))
def test_tombstones_weigh_nothing(ordering: Ordering) -> None:
    queue = queue_for(ordering)
    queue.push(span(epoch_of(1), records(0, 1, 2, values=[None] * 3)))

    assert offsets(queue.take(3, 1)[0]) == [0, 1, 2]


# -- turns


@pytest.mark.parametrize("ordering", list(Ordering))
def test_a_backlog_of_one_partition_keeps_none_of_another_waiting(ordering: Ordering) -> None:
    queue = queue_for(ordering)
    busy, quiet = epoch_of(1, partition=0), epoch_of(2, partition=1)
    keys = [f"{n}".encode() for n in range(9)]
    queue.push(span(busy, records(*range(9), keys=keys)))
    queue.push(span(quiet, records(70, partition=quiet.partition, keys=[b"0"])))

    _, lanes = queue.take(2, ENOUGH)
    for lane in lanes:
        queue.release(lane)

    assert offsets(queue.take(2, ENOUGH)[0])[0] == 70


@pytest.mark.parametrize("ordering", list(Ordering))
def test_a_take_goes_on_with_the_next_partition(ordering: Ordering) -> None:
    queue = queue_for(ordering)
    for number in (1, 2):
        queue.push(span(epoch_of(number, partition=number), records(number)))

    assert offsets(queue.take(9, ENOUGH)[0]) == [1, 2]


def test_a_lane_that_was_served_goes_behind_the_others() -> None:
    queue = Lanes(by_key=True)
    queue.push(span(epoch_of(1), records(0, 1, 2, keys=[b"a", b"a", b"b"])))
    first, lanes = queue.take(1, ENOUGH)
    queue.release(lanes[0])

    second, _ = queue.take(1, ENOUGH)

    assert [offsets(first), offsets(second)] == [[0], [2]]


def test_a_lane_that_waits_leaves_the_others_their_turn() -> None:
    queue = Lanes(by_key=False)
    queue.push(span(epoch_of(1, partition=0), records(0, 1)))
    queue.push(span(epoch_of(2, partition=1), records(7)))
    queue.take(1, ENOUGH)

    assert offsets(queue.take(9, ENOUGH)[0]) == [7]
    assert queue.ready == 0


def test_messages_without_a_key_run_side_by_side() -> None:
    queue = Lanes(by_key=True)
    queue.push(span(epoch_of(1), records(0, 1, keys=[None, None])))
    queue.take(1, ENOUGH)

    assert offsets(queue.take(1, ENOUGH)[0]) == [1]


def test_an_empty_key_is_a_key() -> None:
    queue = Lanes(by_key=True)
    queue.push(span(epoch_of(1), records(0, 1, keys=[b"", b""])))
    queue.take(1, ENOUGH)

    assert queue.take(1, ENOUGH) == ([], [])


def test_the_same_key_of_another_partition_is_another_lane() -> None:
    queue = Lanes(by_key=True)
    for partition in (0, 1):
        queue.push(span(epoch_of(partition + 1, partition), records(partition, keys=[b"a"])))
    queue.take(1, ENOUGH)

    assert offsets(queue.take(1, ENOUGH)[0]) == [1]


def test_the_oldest_runs_first_in_whatever_order_tasks_come_back() -> None:
    queue, epoch = Unordered(), epoch_of(1)
    queue.push(span(epoch, records(*range(9))))
    first, second, third = (queue.take(2, ENOUGH)[0] for _ in range(3))

    for spans in (second, first, third):
        queue.give_back(spans)

    assert queue.ready == 9
    assert offsets(queue.take(9, ENOUGH)[0]) == list(range(9))


# -- what is dropped


@pytest.mark.parametrize("by_key", [True, False])
def test_what_comes_back_to_a_dropped_lane_is_let_go(by_key: bool) -> None:
    queue = Lanes(by_key)
    epoch = epoch_of(1)
    queue.push(span(epoch, records(0)))
    spans, (lane,) = queue.take(1, ENOUGH)
    queue.drop([epoch])
    queue.release(lane)

    queue.give_back(spans)

    assert queue.ready == 0
    assert queue.take(1, ENOUGH) == ([], [])


def test_unordered_messages_have_no_lane() -> None:
    queue = Unordered()
    epoch, batch = epoch_of(1), records(0)
    queue.push(span(epoch, batch))

    assert queue.lane_of(epoch, batch, 0) is None
    queue.release(Lane(None, epoch))
    assert queue.ready == 1


# -- segments


def test_by_key_the_neighbours_of_a_batch_travel_in_one_segment() -> None:
    queue = Lanes(by_key=True)
    queue.push(span(epoch_of(1), records(0, 1, 2, 3, keys=[b"a", b"b", b"a", b"c"])))
    spans, _ = queue.take(3, ENOUGH)

    ((_, segment),) = segments_of(spans, Ordering.KEY)

    assert list(segment.records.offsets) == [0, 1, 2]


def test_by_key_another_attempt_or_batch_is_another_segment() -> None:
    queue = Lanes(by_key=True)
    epoch, batch = epoch_of(1), records(0, 1, keys=[b"a", b"b"])
    queue.push(Span(epoch, batch, 0, 1, 2))
    queue.push(Span(epoch, batch, 1, 2, 1))
    queue.push(span(epoch, records(2, keys=[b"c"])))
    spans, _ = queue.take(3, ENOUGH)

    segments = [segment for _, segment in segments_of(spans, Ordering.KEY)]

    assert [(s.attempt, list(s.records.offsets)) for s in segments] == [
        (2, [0]),
        (1, [1]),
        (1, [2]),
    ]


@pytest.mark.parametrize("ordering", [Ordering.UNORDERED, Ordering.PARTITION])
def test_what_comes_bit_by_bit_of_one_batch_is_taken_as_one(ordering: Ordering) -> None:
    queue, epoch, batch = queue_for(ordering), epoch_of(1, 0), records(*range(9))
    other = records(9, 10)
    for part, start, stop, attempt in (
        (batch, 0, 2, 1),
        (batch, 2, 5, 1),
        (batch, 6, 7, 1),
        (batch, 7, 8, 2),
        (batch, 8, 9, 2),
        (other, 0, 2, 2),
    ):
        queue.push(Span(epoch, part, start, stop, attempt))
    assert queue.ready == 10

    spans, _ = queue.take(10, ENOUGH)

    assert [(s.records is batch, s.start, s.stop, s.attempt) for s in spans] == [
        (True, 0, 5, 1),
        (True, 6, 7, 1),
        (True, 7, 9, 2),
        (False, 0, 2, 2),
    ]
