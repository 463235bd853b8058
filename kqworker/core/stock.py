"""What one partition has in memory, and how much of it may be at work.

Pure. Knows nothing of other partitions: `backpressure` shares out and moves messages on.
Tested by tests/core/test_stock.py, test_backpressure.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections import deque

from kqworker.types import Records, payload_size

# What a message costs beside its payload.
OVERHEAD_BYTES = 100
# So many messages that wait fit into the map of what is finished above them.
MOST_WAITING = 1000
# A batch that is no more than this part of the share is not weighed message by message.
SMALL = 16

Piece = tuple[Records, int, int]  # with where it starts and stops


class Stock:
    """The messages of one partition's assignment that are in memory.

    Some are fetched ahead: their turn has not come. Some wait: for their next attempt, or
    for a record of theirs that cannot be delivered at present. The rest is at work.

    Attributes:
        ahead: Those fetched ahead; `ahead_bytes` with what they cost beside their payload.
        waiting: Those that wait; `waiting_bytes` their keys and values.
        working: Those at work: waiting for a worker, with one, or being delivered;
            `working_bytes` their keys and values.
        messages: Its share of what may be at work, and as many again may wait; `size` the
            same in bytes.
        most_ahead: Bytes that may be fetched ahead of it until it is paused; `least_ahead`
            where all partitions together have too much ahead.
        full: Its map of what is finished has no room.
        paused: Nothing more of it is to be fetched.
        cause: Why it was held up at the last look; `told` when each may be said again.
    """

    __slots__ = (
        "_ahead",
        "_ahead_size",
        "ahead",
        "cause",
        "full",
        "least_ahead",
        "messages",
        "most_ahead",
        "paused",
        "size",
        "told",
        "undelivered",
        "waiting",
        "waiting_bytes",
        "working",
        "working_bytes",
    )

    def __init__(self) -> None:
        # With where each goes on, and the bytes from there on.
        self._ahead: deque[tuple[Records, int, int]] = deque()
        self._ahead_size = 0
        self.ahead = 0
        self.working = self.working_bytes = 0
        self.waiting = self.waiting_bytes = 0
        self.undelivered = 0  # of those that wait, by what they wait for
        self.messages = self.size = self.most_ahead = self.least_ahead = 1
        self.full = self.paused = False
        self.cause = ""
        self.told: dict[str, float] = {}

    @property
    def ahead_bytes(self) -> int:
        """Bytes that are fetched ahead."""
        return self._ahead_size + OVERHEAD_BYTES * self.ahead

    @property
    def first_ahead(self) -> int | None:
        """The lowest offset that is fetched ahead; None if nothing is."""
        if not self._ahead:
            return None
        records, start, _ = self._ahead[0]
        return records.offsets[start]

    @property
    def held(self) -> int:
        """All messages of it that are in memory."""
        return self.working + self.ahead + self.waiting

    @property
    def shut(self) -> bool:
        """Whether nothing more of it may go to work, whatever room there is."""
        return self.full or self.choked

    @property
    def choked(self) -> bool:
        """Whether as many messages of it wait as may."""
        if not self.waiting:
            return False
        most = min(self.messages, MOST_WAITING)
        return self.waiting >= most or self.waiting_bytes >= self.size

    def put(self, records: Records) -> None:
        """Add messages that were fetched."""
        count = len(records.values)
        self._ahead.append((records, 0, records.size))
        self._ahead_size += records.size
        self.ahead += count

    def take(self, count: int, size: int, least: int = 0) -> tuple[list[Piece], int, int]:
        """Let messages go to work, oldest first.

        Args:
            count: How many at most.
            size: Their bytes at most.
            least: So many of them whatever their bytes.

        Returns:
            The pieces, and how many messages and bytes they are; of a part of a small batch
            as many bytes as its messages have on average.
        """
        pieces: list[Piece] = []
        taken = weight = 0
        while self._ahead and taken < count:
            records, start, left = self._ahead[0]
            stop = min(len(records.values), start + count - taken)
            fitting = _fitting_evenly if records.size * SMALL <= self.size else _fitting
            stop, bytes_ = fitting(records, start, stop, left, size - weight, least - taken)
            if stop == start:
                break
            pieces.append((records, start, stop))
            taken += stop - start
            weight += bytes_
            if stop < len(records.values):
                self._ahead[0] = records, stop, left - bytes_
                break
            self._ahead.popleft()
        self.ahead -= taken
        self._ahead_size -= weight
        self.working += taken
        self.working_bytes += weight
        return pieces, taken, weight

    def forget_ahead(self) -> None:
        """Let go of what was fetched ahead; it still counts until all of it is forgotten."""
        self._ahead.clear()


def _fitting(
    records: Records, start: int, stop: int, left: int, size: int, least: int
) -> tuple[int, int]:
    """Return up to where messages fit into `size` bytes, and their bytes.

    Args:
        records: The batch.
        start: Where it goes on.
        stop: How far at most.
        left: The bytes from there to its end.
        size: So many bytes at most.
        least: So many messages whatever their bytes.
    """
    keys, values = records.keys, records.values
    if stop == len(values):
        weight = left
    else:
        weight = payload_size(keys and keys[start:stop], values[start:stop])
    if weight <= size:
        return stop, weight
    weight = 0
    for i in range(start, stop):
        more = len(values[i] or b"") + len((keys and keys[i]) or b"")
        if weight + more > size and i - start >= least:
            return i, weight
        weight += more
    return stop, weight


def _fitting_evenly(
    records: Records, start: int, stop: int, left: int, size: int, least: int
) -> tuple[int, int]:
    """Return the same as if all messages from `start` on had the same size."""
    count = len(records.values) - start
    weight = left * (stop - start) // count
    if weight > size:
        fit = size * count // left if size > 0 else 0
        stop = min(stop, start + max(least, fit))
        weight = left * (stop - start) // count
    return stop, weight
