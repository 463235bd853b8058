"""Offsets against a naive model made of sets, and the laws that the model cannot show."""

from __future__ import annotations

import doctest
from collections.abc import Iterable, Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kqworker.core import offsets as module
from kqworker.core.offsets import Offsets, Run
from kqworker.errors import BugError


def runs_of(numbers: Iterable[int]) -> list[Run]:
    runs: list[Run] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


class Model:
    """What Offsets promises, one set for each word of it."""

    def __init__(self, start: int | None, done: Sequence[Run]) -> None:
        self.position = start
        self.done = {offset for run in done for offset in range(*run)}
        self.open: set[int] = set()

    def admit(self, offsets: Sequence[int]) -> list[int] | None:
        new = [
            index
            for index, offset in enumerate(offsets)
            if (self.position is None or offset >= self.position) and offset not in self.done
        ]
        self.open.update(offsets[index] for index in new)
        if offsets:
            self.advance(offsets[-1] + 1)
        return None if len(new) == len(offsets) else new

    def finish(self, offsets: Sequence[int]) -> None:
        assert self.open.issuperset(offsets)
        self.open.difference_update(offsets)

    def advance(self, position: int) -> None:
        self.position = position if self.position is None else max(self.position, position)

    @property
    def watermark(self) -> int | None:
        return min(self.open, default=self.position)

    def runs_done(self) -> list[Run]:
        if self.watermark is None or self.position is None:
            return runs_of(self.done)
        between = set(range(self.watermark, self.position)) - self.open
        return runs_of(between | {offset for offset in self.done if offset >= self.position})


class Pair:
    """Offsets and its model, driven together and compared after each step."""

    def __init__(self, start: int | None = None, done: Sequence[Run] = ()) -> None:
        self.offsets = Offsets(start, done)
        self.model = Model(start, done)
        self.compare()

    def admit(self, offsets: Sequence[int]) -> None:
        assert self.offsets.admit(offsets) == self.model.admit(offsets)
        self.compare()

    def finish(self, offsets: Sequence[int]) -> None:
        self.offsets.finish(offsets)
        self.model.finish(offsets)
        self.compare()

    def advance(self, position: int) -> None:
        self.offsets.advance(position)
        self.model.advance(position)
        self.compare()

    def compare(self) -> None:
        offsets, model = self.offsets, self.model
        assert offsets.position == model.position
        assert offsets.watermark == model.watermark
        # What is not in these, and below the position, is open.
        assert offsets.runs_done() == model.runs_done()


def offsets_from(first: int, gaps: Sequence[int]) -> list[int]:
    """Ascending offsets: one for each gap, with so many missing before it."""
    offsets = []
    for gap in gaps:
        first += gap
        offsets.append(first)
        first += 1
    return offsets


def done_from(start: int, sizes: Sequence[tuple[int, int]]) -> list[Run]:
    """Runs from (gap before, length); only the first gap may be 0."""
    runs: list[Run] = []
    for gap, length in sizes:
        run = start + gap + bool(runs)
        runs.append((run, run + length))
        start = run + length
    return runs


GAPS = st.lists(st.sampled_from([0, 0, 0, 1, 3]), max_size=12)
DONE = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6)), max_size=4)


class OffsetsMachine(RuleBasedStateMachine):
    @initialize(start=st.none() | st.integers(0, 5), done=DONE)
    def begin(self, start: int | None, done: list[tuple[int, int]]) -> None:
        self.pair = Pair(start, done_from(start or 0, done))

    @rule(back=st.sampled_from([0, 0, 0, 0, 1, 5]), gaps=GAPS)
    def admit(self, back: int, gaps: list[int]) -> None:
        first = max(0, (self.pair.model.position or 0) - back)
        self.pair.admit(offsets_from(first, gaps))

    @rule(back=st.sampled_from([0, 0, 2]), gap=st.integers(0, 3), count=st.integers(0, 20))
    def admit_a_range(self, back: int, gap: int, count: int) -> None:
        first = max(0, (self.pair.model.position or 0) + gap - back)
        self.pair.admit(range(first, first + count))

    @rule(choices=st.integers(0, 2**40))
    def finish_some(self, choices: int) -> None:
        self.pair.finish([o for o in sorted(self.pair.model.open) if choices >> o % 41 & 1])

    @rule(where=st.integers(0, 100), count=st.integers(1, 10))
    def finish_neighbours(self, where: int, count: int) -> None:
        offsets = sorted(self.pair.model.open)
        first = where % (len(offsets) + 1)
        self.pair.finish(offsets[first : first + count])

    @rule(by=st.integers(-3, 6))
    def advance(self, by: int) -> None:
        self.pair.advance(max(0, (self.pair.model.position or 0) + by))

    @rule(offset=st.integers(0, 60), count=st.integers(1, 3), data=st.data())
    def finish_what_is_not_open(self, offset: int, count: int, data: st.DataObject) -> None:
        closed = set(range(offset, offset + count)) - self.pair.model.open
        others = data.draw(st.sets(st.sampled_from(sorted(self.pair.model.open) or [offset])))
        if closed:
            with pytest.raises(BugError):
                self.pair.offsets.finish(sorted(closed | others))

    @invariant()
    def nothing_differs(self) -> None:
        if hasattr(self, "pair"):
            self.pair.compare()


TestOffsetsAgreeWithSets = OffsetsMachine.TestCase
TestOffsetsAgreeWithSets.settings = settings(
    max_examples=250, stateful_step_count=30, deadline=None
)


@settings(max_examples=1_750, deadline=None)
@given(
    start=st.none() | st.integers(0, 20),
    done=DONE,
    frames=st.lists(GAPS, max_size=4),
    choices=st.lists(st.integers(0, 2**30), max_size=4),
)
def test_offsets_agree_with_sets_when_all_is_delivered_before_it_is_finished(
    start: int | None,
    done: list[tuple[int, int]],
    frames: list[list[int]],
    choices: list[int],
) -> None:
    pair = Pair(start, done_from(start or 0, done))
    for gaps in frames:
        pair.admit(offsets_from(pair.model.position or 0, gaps))
    for choice in choices:
        pair.finish([o for o in sorted(pair.model.open) if choice >> o % 31 & 1])
    pair.finish(sorted(pair.model.open))
    assert pair.offsets.watermark == pair.offsets.position


@settings(max_examples=8_000, deadline=None)
@given(seed=st.integers(0, 2**64))
def test_offsets_agree_with_sets_over_long_histories(seed: int) -> None:
    random = Random(seed)
    start = random.choice([None, 0, 7])
    sizes = [(random.randrange(5), random.randrange(1, 9)) for _ in range(random.randrange(4))]
    pair = Pair(start, done_from(start or 0, sizes))
    gappy = random.choice([0.0, 0.1, 0.9])
    for _ in range(12):
        position = pair.model.position or 0
        offsets = sorted(pair.model.open)
        match random.randrange(6):
            case 0 | 1:
                gaps = [random.random() < gappy for _ in range(random.randrange(20))]
                back = random.choice([0, 0, 0, 3])
                pair.admit(offsets_from(max(0, position - back), gaps))
            case 2:
                pair.admit(range(position, position + random.randrange(30)))
            case 3:
                share = random.choice([0.1, 0.5, 0.9])
                pair.finish([offset for offset in offsets if random.random() < share])
            case 4:
                first = random.choice([0, random.randrange(len(offsets) + 1)])
                pair.finish(offsets[first : first + random.randrange(20)])
            case _:
                pair.advance(max(0, position + random.randrange(-3, 5)))


def test_nothing_is_known_before_the_first_delivery_without_a_committed_offset() -> None:
    offsets = Offsets()
    assert (offsets.position, offsets.watermark) == (None, None)
    offsets.admit([40, 41])
    assert (offsets.position, offsets.watermark) == (42, 40)


def test_watermark_waits_for_the_oldest_open_offset() -> None:
    offsets = Offsets(5)
    offsets.admit(range(5, 10))
    offsets.finish(range(6, 10))
    assert offsets.watermark == 5
    assert offsets.runs_done() == [(6, 10)]
    offsets.finish([5])
    assert offsets.watermark == 10
    assert offsets.runs_done() == []


def test_a_gap_in_the_log_holds_nothing_up() -> None:
    offsets = Offsets(0)
    offsets.admit([3, 7])
    offsets.finish([3])
    assert offsets.watermark == 7
    offsets.finish([7])
    offsets.advance(20)
    assert offsets.watermark == 20


def test_the_position_never_goes_back() -> None:
    offsets = Offsets(10)
    offsets.advance(4)
    assert offsets.position == 10


def test_an_offset_delivered_twice_is_handled_once() -> None:
    offsets = Offsets(0)
    assert offsets.admit(range(5)) is None
    assert offsets.admit(range(2, 7)) == [3, 4]
    assert offsets.admit(range(3, 7)) == []
    offsets.finish(range(7))
    assert offsets.watermark == 7


def test_what_a_former_owner_finished_is_not_handled_again() -> None:
    offsets = Offsets(10, [(11, 13), (15, 30)])
    assert offsets.admit(range(10, 17)) == [0, 3, 4]
    offsets.finish([10, 13, 14])
    assert offsets.watermark == 17
    assert offsets.runs_done() == [(17, 30)]
    assert offsets.admit(range(17, 31)) == [13]


def test_a_run_of_a_former_owner_in_a_gap_of_the_log_costs_nothing() -> None:
    offsets = Offsets(10, [(11, 13)])
    assert offsets.admit([10, 13]) is None


def test_no_offsets_are_no_event() -> None:
    offsets = Offsets(3)
    assert offsets.admit([]) is None
    offsets.finish([])
    assert (offsets.position, offsets.watermark, offsets.runs_done()) == (3, 3, [])


@pytest.mark.parametrize(
    "wrong",
    [
        [4],  # before all of them
        [8],  # finished already
        [20],  # above all of them
        [7, 8],  # partly
        [5, 11, 20],
        [5, 8],
        [8, 12],
        range(5, 13),  # over a gap
        [12, 6, 11],  # not ascending
    ],
)
def test_finishing_what_is_not_open_is_a_bug_and_changes_nothing(wrong: Sequence[int]) -> None:
    offsets = Offsets(5)
    offsets.admit(range(5, 13))
    offsets.finish([8, 10])
    with pytest.raises(BugError):
        offsets.finish(wrong)
    assert (offsets.watermark, offsets.runs_done()) == (5, [(8, 9), (10, 11)])
    offsets.finish([5, 6, 7, 9, 11, 12])
    assert (offsets.watermark, offsets.runs_done()) == (13, [])


def test_offsets_that_do_not_ascend_are_a_bug() -> None:
    with pytest.raises(BugError, match="offset 3 came after 9"):
        Offsets(0).admit([1, 9, 3, 12])


@pytest.mark.parametrize(
    ("start", "done"),
    [
        (10, [(9, 11)]),
        (10, [(12, 12)]),
        (10, [(12, 14), (14, 15)]),
        (10, [(12, 14), (11, 12)]),
        (None, [(-1, 3)]),
    ],
)
def test_finished_runs_that_do_not_ascend_are_a_bug(start: int | None, done: list[Run]) -> None:
    with pytest.raises(BugError):
        Offsets(start, done)


def test_runs_are_maximal() -> None:
    offsets = Offsets(0, [(4, 6)])
    offsets.admit([0, 1, 2, 3])
    offsets.finish([1, 3])
    runs = offsets.runs_done()
    assert runs == [(1, 2), (3, 6)]
    assert all(stop < start for (_, stop), (start, _) in pairwise(runs))


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
