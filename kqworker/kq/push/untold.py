"""The failures of pushes that nobody has been told of yet.

Decides when a failure counts as told: somebody waited for it, or a push or the close raised
it. Knows nothing of producers. Tested by tests/kq/test_pushing.py.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from kqworker.errors import BrokerError, HandlerError


class Waited(Protocol):
    """A delivery, as far as it matters here."""

    claimed: bool
    failure: BaseException | None


class Untold:
    """The failures of one topic's pushes; every method is safe to call from several threads."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._failures: dict[Waited, BaseException] = {}
        self._raised: BaseException | None = None
        self._deadline: float | None = None
        self._late = 0

    def __bool__(self) -> bool:
        return bool(self._failures) or self._raised is not None

    def after_fork(self) -> None:
        """Make the lock anew, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def bound(self, timeout: float) -> None:
        """Begin a close that may take so many seconds; of several ends the earliest holds."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    def late(self, timeout: float) -> str:
        """Return, for an error's text, how many a close of so many seconds has cut off."""
        return f", {self._late} of them still under way after {timeout:g} s" if self._late else ""

    def claim(self, delivery: Waited) -> None:
        """Leave a failure to the caller that waits for it."""
        with self._lock:
            delivery.claimed = True
            self._failures.pop(delivery, None)

    def unclaim(self, delivery: Waited) -> None:
        """Take a claim back: nobody waits any more."""
        with self._lock:
            delivery.claimed = False
            if delivery.failure is not None:
                self._failures[delivery] = delivery.failure

    def failed(self, delivery: Waited, error: BaseException) -> None:
        """Keep a failure until somebody is told."""
        with self._lock:
            delivery.failure = error
            late = self._deadline is not None and time.monotonic() >= self._deadline
            self._late += late
            # A close reports what it has cut off, even if someone waits for it.
            if late or not delivery.claimed:
                self._failures[delivery] = error

    def raised(self, error: BaseException) -> None:
        """Keep the first of what the application's callback has raised."""
        with self._lock:
            self._raised = self._raised or error

    def tell(self, before: str = "", late: str = "") -> None:
        """Raise what nobody has been told of, once.

        Args:
            before: What the error's text begins with.
            late: What `late` returns.

        Raises:
            BrokerError: Messages were not delivered, and nobody waited for them.
            HandlerError: The delivery callback raised.
        """
        with self._lock:
            failures, self._failures = self._failures, {}
            raised, self._raised = self._raised, None
        if failures:
            what, first = messages(len(failures)), next(iter(failures.values()))
            retriable = all(isinstance(e, BrokerError) and e.retriable for e in failures.values())
            raise BrokerError(
                f"{before}{what} to topic {self._topic!r} could not be delivered{late}; "
                f"the first: {first}",
                retriable,
            ) from (raised or first)
        if raised is not None:
            raise HandlerError(
                f"{before}the delivery callback of the pusher to {self._topic!r} raised "
                f"{type(raised).__name__}: {raised}"
            ) from raised


def messages(count: int) -> str:
    """Return a count of messages in words."""
    return "1 message" if count == 1 else f"{count} messages"
