"""When a run is ready: its workers are up, and it has been given what it is to work on.

Pure: time is an argument. Tested by tests/test_readiness.py.
"""

from __future__ import annotations

from kqworker.core.snapshot import Snapshot


class Readiness:
    """Whether a run is ready, and since when.

    Args:
        began: When it began, in seconds of any clock.
        patience: Seconds after which it counts as joined even if it owns no partition: a
            member of a larger group may well be given nothing.
        expects: Whether there are partitions to be given at all.

    Attributes:
        began: As given.
        since: When it became ready; None before.
    """

    def __init__(self, began: float, patience: float, expects: bool) -> None:
        self.began = began
        self.since: float | None = None
        self._patience = patience
        self._expects = expects

    def look(self, snapshot: Snapshot, now: float) -> float | None:
        """Return how many seconds it took, the first time that it is ready; else None."""
        if self.since is not None or not snapshot.workers_ready:
            return None
        waited = now - self.began > self._patience
        if self._expects and not snapshot.partitions and not waited:
            return None
        self.since = now
        return now - self.began

    def lasted(self, now: float) -> float:
        """Return the seconds since it became ready, or since it began if it never did."""
        return now - (self.began if self.since is None else self.since)
