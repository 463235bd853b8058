"""What a message that waits by key keeps in memory: itself, and no payload of its neighbours."""

from __future__ import annotations

from dataclasses import replace

from kqworker.core.completion import Completion
from kqworker.core.epochs import Epoch
from kqworker.core.events import Start
from kqworker.core.lanes import Lanes, Span, segments_of
from kqworker.types import Ordering, Records
from tests.core.supervised import TP, records

KEYS = [b"slow", b"a", b"slow", b"b"]
VALUES = [b"0", b"1", b"2", b"3"]


def batch() -> Records:
    return records(0, 1, 2, 3, keys=KEYS, values=VALUES)


def queue_with(fetched: Records, start: int = 0) -> Lanes:
    epoch = Epoch(1, 0, TP, 0, Start(0), Completion())
    queue = Lanes(by_key=True)
    queue.push(Span(epoch, fetched, start, len(fetched), 1))
    return queue


def take(queue: Lanes, count: int) -> Records:
    """The messages of the one segment that is taken."""
    spans, _ = queue.take(count, 1 << 20)
    ((_, segment),) = segments_of(spans, Ordering.KEY)
    return segment.records


def test_payloads_that_were_taken_are_not_kept_for_those_that_wait() -> None:
    queue = queue_with(batch())
    assert list(take(queue, 1).offsets) == [0]  # its lane is held now, and 2 waits in it

    taken = take(queue, 2)
    ((lane,),) = ([lane for lane in queue._lanes.values() if lane.spans],)

    assert taken.values == [b"1", b"3"]
    assert lane.spans[0].records.values == [None, None, b"2", None]


def test_what_was_fetched_is_left_as_it_came() -> None:
    fetched = batch()
    queue = queue_with(fetched)
    take(queue, 1)

    assert fetched.values == VALUES


def test_columns_that_cannot_be_changed_are_taken_from_all_the_same() -> None:
    fetched = replace(batch(), values=tuple(VALUES), headers=((("h", b"1"),), None, None, None))
    queue = queue_with(fetched)

    assert [take(queue, 1).headers, take(queue, 2).values] == [[(("h", b"1"),)], [b"1", b"3"]]


def test_what_went_back_leaves_its_payload_behind_when_it_is_taken_again() -> None:
    epoch = Epoch(1, 0, TP, 0, Start(0), Completion())
    queue = Lanes(by_key=True)
    queue.push(Span(epoch, records(0, 1, 2, keys=[b"a", b"b", b"c"], values=VALUES[:3]), 0, 3, 1))
    spans, lanes = queue.take(3, 1 << 20)
    ((_, segment),) = segments_of(spans, Ordering.KEY)

    queue.give_back([Span(epoch, segment.records, i, i + 1, 1) for i in range(3)])
    for lane in lanes:
        queue.release(lane)

    assert take(queue, 2).values == [b"0", b"1"]
    assert segment.records.values == [None, None, b"2"]  # a worker may be on it for long


def test_a_part_of_a_batch_keeps_nothing_of_the_rest() -> None:
    queue = queue_with(batch(), start=2)
    ((first, second),) = ([lane.spans[0] for lane in queue._lanes.values()],)

    assert first.records.values == second.records.values == [b"2", b"3"]


def test_a_batch_that_is_taken_whole_is_not_emptied() -> None:
    assert take(queue_with(batch()), 4).values == VALUES
