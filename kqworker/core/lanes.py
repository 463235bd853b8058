"""Which messages of one handler may run next: unordered, or one at a time per lane.

A lane is a partition's epoch, or a key in it. Whoever takes messages of a lane holds it
until it is released; meanwhile nothing else of that lane runs. Partitions take turns, so
that a backlog of one keeps none of another waiting. A span names messages of a batch as it was
fetched, and nothing of it is copied; by key, of a copy of its columns (`LaneRecords`), out of
which payloads leave one by one.

Pure: no Kafka, no clock, no process. Knows nothing of workers, retries or offsets.
Tested by tests/core/test_lanes.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kqworker.core.epochs import Epoch
from kqworker.types import Headers, Ordering, Records, Segment


class Span(NamedTuple):
    """Messages `start` up to, not including, `stop` of a batch, all on one attempt."""

    epoch: Epoch
    records: Records
    start: int
    stop: int
    attempt: int

    @property
    def first(self) -> int:
        """Its lowest offset."""
        return self.records.offsets[self.start]


@dataclass(frozen=True, slots=True)
class LaneRecords(Records):
    """Messages whose payloads are held here alone; each message that is taken takes its own along.

    By key, one message may wait long after its neighbours have gone: a batch that kept their
    payloads for it would hold many times what is counted.

    Attributes:
        values, headers: Columns of its own; None where a message has left.
    """

    values: list[bytes | None]
    headers: list[Headers | None] | None

    @classmethod
    def of(cls, records: Records) -> LaneRecords:
        """Copy the columns of payloads; those of `records` stay as they are."""
        headers = None if records.headers is None else list(records.headers)
        return cls(
            records.partition,
            records.offsets,
            list(records.values),
            records.keys,
            records.timestamps,
            headers,
            records.size,
        )

    def give_up(self, indices: Sequence[int]) -> LaneRecords:
        """Return the messages at `indices`, which ascend; keep nothing but their places."""
        if len(indices) == len(self):
            return self
        taken = LaneRecords.of(self.pick(indices))
        for i in indices:
            self.values[i] = None
        if self.headers is not None:
            for i in indices:
                self.headers[i] = None
        return taken


class Lane:
    """Messages that must run one after the other.

    Attributes:
        held: Somebody has messages of it, or its first message waits for its next attempt.
    """

    __slots__ = ("count", "epoch", "held", "key", "spans")

    def __init__(self, key: object, epoch: Epoch) -> None:
        self.key = key
        self.epoch = epoch
        self.spans: deque[Span] = deque()
        self.count = 0
        self.held = False


Taken = tuple[list[Span], list[Lane]]


class Queue(Protocol):
    """What waits for a worker, of one handler.

    Attributes:
        ready: Messages that may be taken now.
    """

    ready: int

    def push(self, span: Span) -> None:
        """Add newly fetched messages behind all others."""
        ...

    def take(self, count: int, size: int) -> Taken:
        """Take up to `count` messages of about `size` bytes, at least one if any is ready."""
        ...

    def give_back(self, spans: Sequence[Span]) -> None:
        """Put taken messages back in front, in their order; before `release`.

        Args:
            spans: Each of messages of one lane.
        """
        ...

    def hold(self, span: Span) -> Lane | None:
        """Put a message into a lane of its own, and hold that; None if there are no lanes."""
        ...

    def lane_of(self, epoch: Epoch, records: Records, index: int) -> Lane | None:
        """Return the lane of a message; None if it has none."""
        ...

    def release(self, lane: Lane) -> None:
        """Let a held lane go on."""
        ...

    def drop(self, epochs: Iterable[Epoch]) -> None:
        """Forget what waits of these epochs."""
        ...


def _cut(span: Span, count: int, size: int) -> int:
    """Return how many of a span's messages fit, by their mean size; at least one."""
    fits = min(span.stop - span.start, count)
    total = span.records.size
    if total <= size:
        return fits
    return max(1, min(fits, size * len(span.records.values) // total))


def _bytes(span: Span, count: int) -> int:
    return span.records.size * count // len(span.records.values)


def _join(spans: deque[Span], span: Span) -> None:
    """Put a span behind others; as one with the last, where it goes on in the same batch.

    What is let in bit by bit is so taken, sent and finished in as few pieces as it was fetched.
    """
    if spans:
        last = spans[-1]
        goes_on = last.records is span.records and last.stop == span.start
        if goes_on and last.attempt == span.attempt:
            spans[-1] = last._replace(stop=span.stop)
            return
    spans.append(span)


def _move(spans: deque[Span], taken: list[Span], count: int, size: int) -> tuple[int, int]:
    """Move up to `count` messages of about `size` bytes; return how much of both is left."""
    while spans and count > 0 and size > 0:
        span = spans.popleft()
        n = _cut(span, count, size)
        if n < span.stop - span.start:
            epoch, records, start, stop, attempt = span
            spans.appendleft(Span(epoch, records, start + n, stop, attempt))
            span = Span(epoch, records, start, start + n, attempt)
        taken.append(span)
        count -= n
        size -= _bytes(span, n)
    return count, size


class Unordered:
    """Any message may run at any time; of each partition the oldest first."""

    def __init__(self) -> None:
        self._turn: OrderedDict[Epoch, deque[Span]] = OrderedDict()
        self.ready = 0

    def push(self, span: Span) -> None:
        """Add newly fetched messages behind all others of their partition."""
        spans = self._turn.get(span.epoch)
        if spans is None:
            spans = self._turn[span.epoch] = deque()
        _join(spans, span)
        self.ready += span.stop - span.start

    def take(self, count: int, size: int) -> Taken:
        """Take up to `count` messages of about `size` bytes, at least one if any is ready."""
        taken: list[Span] = []
        before = count
        while self._turn and count > 0 and size > 0:
            epoch, spans = next(iter(self._turn.items()))
            count, size = _move(spans, taken, count, size)
            if spans:
                self._turn.move_to_end(epoch)
            else:
                del self._turn[epoch]
        self.ready -= before - count
        return taken, []

    def give_back(self, spans: Sequence[Span]) -> None:
        """Put taken messages back among those of their partitions, the oldest first.

        Nearly always they are the oldest; but tasks come back in any order.
        """
        for span in spans[::-1]:
            waiting = self._turn.setdefault(span.epoch, deque())
            older: list[Span] = []
            while waiting and waiting[0].first < span.first:
                older.append(waiting.popleft())
            waiting.appendleft(span)
            waiting.extendleft(older[::-1])
            self.ready += span.stop - span.start

    def hold(self, span: Span) -> Lane | None:
        """Return None: there are no lanes."""
        return None

    def lane_of(self, epoch: Epoch, records: Records, index: int) -> Lane | None:
        """Return None: there are no lanes."""
        return None

    def release(self, lane: Lane) -> None:
        """Do nothing: there are no lanes."""

    def drop(self, epochs: Iterable[Epoch]) -> None:
        """Forget what waits of these epochs."""
        for epoch in epochs:
            for span in self._turn.pop(epoch, ()):
                self.ready -= span.stop - span.start


class Lanes:
    """One message of a lane at a time, in its order; partitions take turns, and their lanes.

    Args:
        by_key: A lane is a key of a partition, else a partition. A message without a
            key is a lane of its own: nothing was promised for it.
    """

    def __init__(self, by_key: bool) -> None:
        self._by_key = by_key
        self._lanes: dict[tuple[Epoch, object], Lane] = {}
        self._turn: OrderedDict[Epoch, deque[Lane]] = OrderedDict()
        self.ready = 0

    def push(self, span: Span) -> None:
        """Add newly fetched messages behind all others."""
        epoch, records, start, stop, attempt = span
        if not self._by_key:
            self._append((epoch, None), span)
            return
        own = LaneRecords.of(records.slice(start, stop))
        for i in range(len(own)):
            self._append(self._name(epoch, own, i), Span(epoch, own, i, i + 1, attempt))

    def _append(self, name: tuple[Epoch, object], span: Span) -> None:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name[1], name[0])
        n = span.stop - span.start
        if not lane.held:
            if not lane.spans:
                self._wait(lane)
            self.ready += n
        _join(lane.spans, span)
        lane.count += n

    def _wait(self, lane: Lane) -> None:
        """Put a lane behind the others of its partition."""
        lanes = self._turn.get(lane.epoch)
        if lanes is None:
            lanes = self._turn[lane.epoch] = deque()
        lanes.append(lane)

    def take(self, count: int, size: int) -> Taken:
        """Take up to `count` messages of about `size` bytes, at least one if any is ready."""
        taken: list[Span] = []
        lanes: list[Lane] = []
        while self._turn and count > 0 and size > 0:
            epoch, turn = next(iter(self._turn.items()))
            while turn and count > 0 and size > 0:
                lane = turn.popleft()
                self.ready -= lane.count
                lane.held = True
                lanes.append(lane)
                left, size = _move(lane.spans, taken, count, size)
                lane.count -= count - left
                count = left
            if turn:
                self._turn.move_to_end(epoch)
            else:
                del self._turn[epoch]
        return taken, lanes

    def give_back(self, spans: Sequence[Span]) -> None:
        """Put taken messages back in front of their lanes, in their order."""
        for span in reversed(spans):
            lane = self.lane_of(span.epoch, span.records, span.start)
            if lane is not None:
                lane.spans.appendleft(span)
                lane.count += span.stop - span.start

    def hold(self, span: Span) -> Lane | None:
        """Put a message into a lane of its own, and hold that."""
        name = self._name(span.epoch, span.records, span.start)
        lane = self._lanes[name] = Lane(name[1], name[0])
        lane.held = True
        lane.spans.append(span)
        lane.count = 1
        return lane

    def lane_of(self, epoch: Epoch, records: Records, index: int) -> Lane | None:
        """Return the lane of a message; None if its epoch was dropped."""
        return self._lanes.get(self._name(epoch, records, index))

    def _name(self, epoch: Epoch, records: Records, index: int) -> tuple[Epoch, object]:
        if not self._by_key:
            return epoch, None
        # A bytes key never equals an int, so a message without one is alone.
        key = None if records.keys is None else records.keys[index]
        return epoch, records.offsets[index] if key is None else key

    def release(self, lane: Lane) -> None:
        """Let a held lane go on."""
        lane.held = False
        if lane.spans:
            self._wait(lane)
            self.ready += lane.count
        else:
            self._lanes.pop((lane.epoch, lane.key), None)

    def drop(self, epochs: Iterable[Epoch]) -> None:
        """Forget what waits of these epochs; lanes that are held end at their release."""
        gone = set(epochs)
        for name, lane in list(self._lanes.items()):
            if lane.epoch in gone:
                if not lane.held:
                    self.ready -= lane.count
                    del self._lanes[name]
                lane.spans.clear()
                lane.count = 0
        for epoch in gone:
            self._turn.pop(epoch, None)


def queue_for(ordering: Ordering) -> Queue:
    """Return an empty queue that keeps `ordering`."""
    if ordering is Ordering.UNORDERED:
        return Unordered()
    return Lanes(by_key=ordering is Ordering.KEY)


def segments_of(spans: Sequence[Span], ordering: Ordering) -> list[tuple[Epoch, Segment]]:
    """Join spans to segments; by key, neighbours of a batch travel in one.

    Within a partition offsets ascend, so every lane's order is kept.
    """
    if ordering is not Ordering.KEY:
        return [(s.epoch, Segment(s.records.slice(s.start, s.stop), s.attempt)) for s in spans]
    joined: list[tuple[Epoch, Records, int, list[int]]] = []
    for s in sorted(spans, key=lambda s: (s.epoch.number, s.records.offsets[s.start])):
        last = joined[-1] if joined else None
        if last is not None and last[1] is s.records and last[2] == s.attempt:
            last[3].extend(range(s.start, s.stop))
        else:
            joined.append((s.epoch, s.records, s.attempt, list(range(s.start, s.stop))))
    return [(epoch, Segment(_taken(r, indices), attempt)) for epoch, r, attempt, indices in joined]


def _taken(records: Records, indices: list[int]) -> Records:
    if isinstance(records, LaneRecords):
        return records.give_up(indices)
    return records.pick(indices)  # a message that waited for its next attempt, alone
