"""What offsets cost: by gaps and frames, never by messages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kqworker.core.offsets import Offsets


def test_memory_grows_with_gaps_and_not_with_messages() -> None:
    offsets = Offsets(0)
    for first in range(0, 1_000_000, 1_000):
        offsets.admit(range(first, first + 1_000))
    offsets.finish(range(500_000, 600_000))
    assert len(offsets._starts) == len(offsets._stops) == 2


class Watched(Sequence[int]):
    """A frame that counts how many of its offsets are looked at."""

    def __init__(self, offsets: Sequence[int]) -> None:
        self.offsets = offsets
        self.looks = 0

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        self.looks += 1
        return self.offsets[index]


def test_a_frame_without_gaps_costs_nothing_per_message() -> None:
    frame = Watched(list(range(10, 1_010)))
    offsets = Offsets(10, [(2_000, 2_010)])
    offsets.admit(frame)
    offsets.finish(frame)
    assert offsets.watermark == 1_010
    assert frame.looks < 10


class Counted(list[int]):
    """A list that counts the items it must move or write for a change."""

    moved = 0

    def __setitem__(self, key: slice, items: list[int]) -> None:  # type: ignore[override]
        start, stop, _ = key.indices(len(self))
        self.moved += len(items) + (len(self) - stop if len(items) != stop - start else 0)
        super().__setitem__(key, items)

    def __delitem__(self, key: slice) -> None:  # type: ignore[override]
        start, stop, _ = key.indices(len(self))
        self.moved += len(self) - stop if stop > start else 0
        super().__delitem__(key)


@pytest.mark.parametrize("frame", [1, 500])
@pytest.mark.parametrize("oldest", ["finishes", "hangs"])
def test_a_compacted_backlog_is_finished_in_linear_time(frame: int, oldest: str) -> None:
    count = 100_000
    backlog = list(range(0, 2 * count, 2))
    offsets = Offsets(0)
    offsets.admit(backlog)
    starts = offsets._starts = Counted(offsets._starts)
    for first in range(oldest == "hangs", count, frame):
        offsets.finish(backlog[first : first + frame])
        left = max(0, count - first - frame) + (oldest == "hangs")
        assert len(offsets._starts) <= 2 * (left + 1)
    assert starts.moved <= 4 * count
    assert offsets.runs_done() == ([(1, 2 * count - 1)] if oldest == "hangs" else [])


def test_finishing_touches_only_the_runs_between_the_first_and_the_last_offset() -> None:
    offsets = Offsets(0)
    offsets.admit(range(0, 20_000, 2))
    starts = offsets._starts = Counted(offsets._starts)
    offsets.finish(range(19_000, 19_500, 2))
    assert starts.moved <= 1_000
