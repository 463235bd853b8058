"""How often a message is tried, and when again.

Pure: randomness is a generator that is passed in.
Tested by tests/core/test_retry.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Final, Protocol

# Attempts that nothing uses up.
ENDLESS: Final = 2**62


class Random(Protocol):
    """The part of `random.Random` that the core needs; the caller seeds it."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy: exponential delays up to a cap.

    Args:
        attempts: How often a message is handed to a handler in all, at least 1; 1 means
            no retry.
        first: Seconds before the second attempt, at least 0.
        factor: By what each further delay grows, at least 1.
        cap: No delay is longer, in seconds.
        jitter: Draw each delay evenly from its upper half, so that messages that failed
            together do not come back together.

    Raises:
        ValueError: A value is no number or outside its bounds; the text names it.

    >>> [Retry(attempts=5, cap=3.0, jitter=False).delay(n, None) for n in (1, 2, 3, 4)]
    [1.0, 2.0, 3.0, 3.0]
    """

    attempts: int = 3
    first: float = 1.0
    factor: float = 2.0
    cap: float = 600.0
    jitter: bool = True

    def __post_init__(self) -> None:
        for name, low in (("attempts", 1), ("first", 0), ("factor", 1), ("cap", 0)):
            value = getattr(self, name)
            whole = name == "attempts"
            # A number of numpy is taken, too.
            number = isinstance(value, Integral if whole else Real)
            if isinstance(value, bool) or not number:
                kind = "whole number" if whole else "number"
                raise ValueError(f"Retry({name}={value!r}): must be a {kind}")
            if not value >= low:
                raise ValueError(f"Retry({name}={value!r}): must be at least {low}")
        if not isinstance(self.jitter, bool):
            raise ValueError(f"Retry(jitter={self.jitter!r}): must be True or False")

    def delay(self, attempt: int, random: Random | None) -> float:
        """Return the seconds to wait after failed attempt number `attempt` (from 1)."""
        try:
            delay = min(self.cap, self.first * self.factor ** (attempt - 1))
        except OverflowError:
            delay = self.cap
        if self.jitter and random is not None:
            delay *= 0.5 + random.random() / 2
        return delay
