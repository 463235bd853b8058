"""Time that stands still while everything does: a paused container, a frozen cgroup, Ctrl-Z.

Code that measures a time-out by this clock looks at it often, and says how long it waits in
between. If it looks much later than that, it stood still itself. Then nothing could get on, or
nothing was there to see it, and that time does not count. A suspended machine needs
nothing of this: CLOCK_MONOTONIC does not count its sleep.

A machine that is merely busy is late as well. It cannot hide a hang for ever: what was
waited for and `COUNTED_SECONDS` count at each look, however late that is.
Tested by tests/runtime/test_clock.py and, with real freezes, tests/kafka/test_standstills.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# A look that comes so much later than was said follows a standstill.
LATE_SECONDS = 0.5
COUNTED_SECONDS = 0.1
# For whoever asks about the past: a message may have begun so many standstills ago.
REMEMBERED = 1000


class StandstillClock:
    """CLOCK_MONOTONIC, one for all processes of the machine, without standstills.

    >>> seconds = iter([10.1, 70.3, 70.7])
    >>> clock = StandstillClock(read=lambda: next(seconds))
    >>> clock.now()
    10.1
    >>> clock.waits(0.2)
    >>> round(clock.now(), 6), round(clock.at(10.1), 6), round(clock.at(70.3), 6)
    (10.4, 10.1, 10.4)
    >>> round(clock.now(), 6)
    10.8

    Args:
        read: Seconds that never go back.
        stood_still: Called with the seconds of each standstill.
    """

    def __init__(
        self,
        read: Callable[[], float] = time.monotonic,
        stood_still: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._read = read
        self._stood_still = stood_still
        self._last: float | None = None
        self._expected = 0.0
        self._stood = 0.0
        self._gaps: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)  # begin and end

    def now(self) -> float:
        """Return the time in seconds; only differences mean something."""
        last, expected = self._last, self._expected
        self._last = read = self._read()
        self._expected = 0.0
        late = 0.0 if last is None else read - last - expected
        if late > LATE_SECONDS:
            stood = late - COUNTED_SECONDS
            self._stood += stood
            self._gaps.append((read - stood, read))
            self._stood_still(stood)
        return read - self._stood

    def waits(self, seconds: float) -> None:
        """Note that the next look may come so much later than this moment."""
        self._expected = seconds

    def at(self, moment: float) -> float:
        """Return what `now` was, or would have been, at a moment of `time.monotonic()`."""
        stood = self._stood
        for begin, end in reversed(self._gaps):
            if moment >= end:
                break
            stood -= end - begin
            moment = min(moment, begin)
        return moment - stood


class TimeOut:
    """So many seconds, without those in which everything stood still.

    Args:
        seconds: How many.
        step: How long it waits at most between two looks at `left`.
    """

    def __init__(self, seconds: float, step: float) -> None:
        self._clock = StandstillClock()
        self._step = step
        self._due = self._clock.now() + seconds
        self._clock.waits(step)

    @property
    def left(self) -> float:
        """Seconds that are left; 0 or less once it is over."""
        now = self._clock.now()
        self._clock.waits(self._step)
        return self._due - now
