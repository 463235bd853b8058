"""The slot's words, as both sides see them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kqworker import wire
from kqworker.runtime.slot import (
    BETWEEN,
    CPU,
    INDEX_BITS,
    POSITION,
    RECALL,
    STARTED,
    Position,
    Slot,
    WorkerSlot,
)

Sides = tuple[Slot, WorkerSlot]


@pytest.fixture
def sides() -> Iterator[Sides]:
    slot = Slot()
    worker = WorkerSlot(os.dup(slot.fd))
    slot.handed_over()
    yield slot, worker
    slot.close()
    worker.close()


def test_an_idle_worker_is_on_nothing(sides: Sides) -> None:
    assert sides[0].read() is None


def test_the_largest_task_and_index_fit(sides: Sides) -> None:
    slot, worker = sides
    task, index = wire.MAX_TASK - 1, wire.MAX_INDEX - 1
    worker.seconds[STARTED] = 12.5
    worker.words[POSITION] = task << INDEX_BITS | index
    assert slot.read() == Position(task, index, False, 12.5)

    worker.words[POSITION] = BETWEEN | task << INDEX_BITS | index
    assert slot.read() == Position(task, index, True, 12.5)


def test_a_recall_reaches_the_worker(sides: Sides) -> None:
    slot, worker = sides
    slot.recall(77)
    assert worker.words[RECALL] == 77


def test_the_cpu_time_of_the_worker_is_seen(sides: Sides) -> None:
    slot, worker = sides
    assert slot.cpu_seconds == 0.0
    worker.spent()
    assert slot.cpu_seconds == worker.seconds[CPU] > 0.0


def test_a_closed_side_refuses_its_words(sides: Sides) -> None:
    words = sides[1].words
    sides[1].close()
    with pytest.raises(ValueError, match="released"):
        words[POSITION] = 1
