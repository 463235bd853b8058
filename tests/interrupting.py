"""Ctrl-C at a certain place of a program, and not after a time: a busy machine may be late."""

from __future__ import annotations

import signal
from types import FrameType

# How often it is seen whether the main thread is there.
PAUSE = 0.05


def interrupt_within(function: str, after: float = 0.2) -> None:
    """Raise KeyboardInterrupt in the main thread, once, while it is in a call of a function.

    Args:
        function: Its qualified name.
        after: Seconds that pass at least, so that it has come to its wait.
    """

    def interrupt(_: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_qualname == function:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
                signal.signal(signal.SIGALRM, before)
                raise KeyboardInterrupt
            frame = frame.f_back

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, after, PAUSE)
