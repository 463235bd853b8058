"""How many messages share a frame: as many as fill a short time, long ones travel alone.

Pure: learns from how long frames took. Knows nothing of lanes or workers.
Tested by tests/core/test_batch_size.py.
"""

from __future__ import annotations

FRAME_SECONDS = 0.01  # a frame's work: long beside its hand-over, short for a neighbour
FRAME_MESSAGES = 500  # no gain beyond, by measurement
FRAME_BYTES = 1 << 20
GROWTH = 4
SECOND_FRAME_SECONDS = 0.1  # messages up to this long may wait in a worker's own queue


class BatchSize:
    """What one handler's messages take, and what follows for its frames.

    >>> batch_size = BatchSize()
    >>> batch_size.count
    1
    >>> batch_size.observe(1, 0.001)
    >>> batch_size.count
    4
    """

    __slots__ = ("_frame", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._frame = 1

    def observe(self, count: int, seconds: float) -> None:
        """Learn that `count` messages took `seconds`; 0 says that it is not known."""
        if count <= 0 or seconds <= 0:
            return
        each = seconds / count
        # Slower is believed at once, faster by and by: a frame that turns out long makes
        # its neighbours wait, one that turns out short costs a hand-over.
        old = self.seconds
        self.seconds = each if old is None or each > old else old * 0.7 + each * 0.3
        self._frame = max(1, min(FRAME_MESSAGES, max(self._frame, count * GROWTH)))

    @property
    def count(self) -> int:
        """How many messages the next frame may carry."""
        if self.seconds is None:
            return 1
        if self.seconds * self._frame <= FRAME_SECONDS:
            return self._frame
        return max(1, int(FRAME_SECONDS / self.seconds))

    @property
    def short(self) -> bool:
        """Whether another frame may wait behind one of these: that hides the hand-over."""
        return self.seconds is not None and self.seconds <= SECOND_FRAME_SECONDS

    def seconds_of(self, count: int) -> float:
        """How long so many messages take; a frame's time while that is not known."""
        return FRAME_SECONDS if self.seconds is None else self.seconds * count
