"""Which offsets of one partition are open, and how far it is safe to commit.

Decides what of a delivery is new, and the watermark: everything below it is finished.
Offsets are kept as runs, so memory grows with the number of gaps and not of messages.

Pure: no Kafka, no clock, no process. Knows nothing of ordering, retries or epochs: each
epoch of a partition has an `Offsets` of its own.
Tested by tests/core/test_offsets.py and by every run in tests/sim.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence

from kqworker.errors import BugError

Run = tuple[int, int]  # half open: [start, stop)


class Offsets:
    """The open offsets of one partition during one epoch.

    An offset is open from its delivery until it is finished. One that is never delivered
    although a later one is (compaction, transaction markers) does not exist, and counts
    as finished.

    >>> offsets = Offsets(start=10)
    >>> offsets.admit(range(10, 15))
    >>> offsets.finish([10, 12])
    >>> offsets.watermark, offsets.position, offsets.runs_done()
    (11, 15, [(12, 13)])

    The next owner of the partition continues there, and handles 12 no second time:

    >>> successor = Offsets(start=11, done=[(12, 13)])
    >>> successor.admit(range(11, 15))
    [0, 2, 3]

    Args:
        start: The committed offset; None if it is unknown until the first delivery.
        done: Runs at or above `start` that a former owner finished: ascending, with at
            least one offset between two of them.

    Raises:
        BugError: `done` is not as said.
    """

    __slots__ = ("_ahead", "_count", "_head", "_position", "_starts", "_stops")

    def __init__(self, start: int | None = None, done: Sequence[Run] = ()) -> None:
        low = -1 if start is None else start - 1
        for run in done:
            if not low < run[0] < run[1]:
                raise BugError(f"the finished runs {done} do not ascend from offset {start}")
            low = run[1]
        self._position = start
        self._ahead = deque(done)  # at or above the position: finished, not yet delivered
        # The open runs ascend and never touch; those below index _head are gone.
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._head = 0
        self._count = 0

    @property
    def position(self) -> int | None:
        """The next offset to be delivered; None before anything is known."""
        return self._position

    @property
    def watermark(self) -> int | None:
        """The lowest open offset, or the position if none is; None before anything is known."""
        return self._starts[self._head] if self._count else self._position

    def admit(self, offsets: Sequence[int]) -> list[int] | None:
        """Open what was delivered, but for what was seen or finished before.

        Offsets below the position were seen: librdkafka may deliver again after a seek.

        Args:
            offsets: Strictly ascending.

        Returns:
            None if all of them are to be handled, as nearly always; otherwise the
            ascending indices of those that are.

        Raises:
            BugError: The offsets do not ascend.
        """
        if not offsets:
            return None
        first, last = offsets[0], offsets[-1]
        position = first if self._position is None else self._position
        if first >= position and (not self._ahead or last < self._ahead[0][0]):
            self._open(offsets)
            self._position = last + 1
            return None
        index = bisect_left(offsets, position)
        indices: list[int] = []
        for start, stop in self._ahead:
            if start > last:
                break
            until = bisect_left(offsets, start, index)
            indices.extend(range(index, until))
            index = bisect_left(offsets, stop, until)
        indices.extend(range(index, len(offsets)))
        if indices:
            self._open([offsets[index] for index in indices])
        self.advance(last + 1)
        return None if len(indices) == len(offsets) else indices

    def finish(self, offsets: Sequence[int]) -> None:
        """Close open offsets; the watermark rises when the lowest of them is closed.

        Args:
            offsets: Strictly ascending, each of them open.

        Raises:
            BugError: One is not open, or they do not ascend; then nothing was changed.
        """
        if not offsets:
            return
        runs = _runs(offsets)
        starts, stops = self._starts, self._stops
        begin = at = bisect_right(starts, runs[0][0], self._head) - 1
        if at < self._head:
            raise BugError(f"offset {runs[0][0]} was finished, but it is not open")
        # Open run `at` is finished below `rest`; what stays open goes to the kept lists.
        rest = starts[at]
        kept_starts: list[int] = []
        kept_stops: list[int] = []
        for start, stop in runs:
            if start >= stops[at]:
                if rest < stops[at]:
                    kept_starts.append(rest)
                    kept_stops.append(stops[at])
                following = bisect_right(starts, start, at) - 1
                kept_starts += starts[at + 1 : following]
                kept_stops += stops[at + 1 : following]
                at = following
                rest = starts[at]
            if stop > stops[at]:
                raise BugError(f"offset {max(start, stops[at])} was finished, but it is not open")
            if rest < start:
                kept_starts.append(rest)
                kept_stops.append(start)
            rest = stop
        if rest < stops[at]:
            kept_starts.append(rest)
            kept_stops.append(stops[at])
        self._splice(begin, at + 1, kept_starts, kept_stops)
        self._count -= len(offsets)

    def advance(self, position: int) -> None:
        """Note that Kafka read up to `position`: there is nothing between it and ours.

        A lower position than ours changes nothing. Everything below it must have been
        admitted before, since what comes later is taken for a repetition.
        """
        if self._position is not None and position <= self._position:
            return
        self._position = position
        ahead = self._ahead
        while ahead and ahead[0][0] < position:
            stop = ahead.popleft()[1]
            if stop > position:
                ahead.appendleft((position, stop))

    def unknown_below(self, position: int) -> int:
        """Return how many offsets from ours to `position` are not known to be finished.

        >>> Offsets(start=10, done=[(12, 14)]).unknown_below(15)
        3
        """
        if self._position is None or position <= self._position:
            return 0
        done = sum(min(stop, position) - start for start, stop in self._ahead if start < position)
        return position - self._position - done

    def runs_done(self) -> list[Run]:
        """Return what is finished, or does not exist, above the watermark.

        Returns:
            Ascending runs that do not touch: those between watermark and position, and
            those above the position that a former owner finished.
        """
        runs: list[Run] = []
        if self._count and self._position is not None:
            bounds = self._starts[self._head + 1 :]
            runs = list(zip(self._stops[self._head :], bounds, strict=False))
            last = self._stops[-1]
            if last < self._position:
                runs.append((last, self._position))
        for start, stop in self._ahead:
            if runs and runs[-1][1] == start:
                start = runs.pop()[0]
            runs.append((start, stop))
        return runs

    def _open(self, offsets: Sequence[int]) -> None:
        """Add offsets, all of them above the open ones."""
        runs = _runs(offsets)
        self._count += len(offsets)
        if self._stops and self._stops[-1] == runs[0][0]:
            self._stops[-1] = runs.pop(0)[1]
        for start, stop in runs:
            self._starts.append(start)
            self._stops.append(stop)

    def _splice(self, begin: int, end: int, starts: list[int], stops: list[int]) -> None:
        """Put runs in the place of the open runs with the indices [begin, end)."""
        fewer = end - begin - len(starts)
        head = self._head
        if fewer > 0 and begin - head < len(self._starts) - end:
            # A list shifts what is behind the place, and messages end mostly near the
            # front of thousands: shift the few before it instead.
            self._head += fewer
            self._starts[self._head : end] = self._starts[head:begin] + starts
            self._stops[self._head : end] = self._stops[head:begin] + stops
        else:
            self._starts[begin:end] = starts
            self._stops[begin:end] = stops
        if self._head * 2 >= len(self._starts):
            del self._starts[: self._head]
            del self._stops[: self._head]
            self._head = 0


def _runs(offsets: Sequence[int]) -> list[Run]:
    """Return the maximal runs of strictly ascending offsets, of which there is one."""
    first, last = offsets[0], offsets[-1]
    if last - first + 1 == len(offsets):  # then none is missing, as they ascend
        return [(first, last + 1)]
    runs: list[Run] = []
    start = stop = first
    for offset in offsets:
        if offset != stop:
            if offset < stop:
                raise BugError(f"offset {offset} came after {stop - 1}: offsets must ascend")
            runs.append((start, stop))
            start = offset
        stop = offset + 1
    runs.append((start, stop))
    return runs
