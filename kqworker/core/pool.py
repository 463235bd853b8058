"""The workers: which state each is in, what it has, and when one is started again.

The states and what may happen in them are the table `TRANSITIONS`; anything else is a
bug. Pure: no process, no clock. Knows nothing of lanes, offsets or retries.
Tested by tests/core/test_pool.py and by every run in tests/sim.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator

from kqworker.core.flight import Flight
from kqworker.errors import BugError


class State(enum.Enum):
    """Where a worker stands."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RETIRING = "retiring"  # busy, and to be stopped when it is done
    LEAVING = "leaving"  # told to stop
    CONDEMNED = "condemned"  # killed by us, its end not yet seen
    GONE = "gone"


class Signal(enum.Enum):
    """What happens to a worker."""

    READY = "ready"
    SENT = "sent"
    DONE = "done"  # its last task is complete
    RETIRE = "retire"
    STOP = "stop"
    KILL = "kill"
    DIED = "died"


TRANSITIONS: dict[tuple[State, Signal], State] = {
    (State.STARTING, Signal.READY): State.IDLE,
    (State.STARTING, Signal.KILL): State.CONDEMNED,
    (State.STARTING, Signal.DIED): State.GONE,
    (State.IDLE, Signal.SENT): State.BUSY,
    (State.IDLE, Signal.STOP): State.LEAVING,
    (State.IDLE, Signal.DIED): State.GONE,
    (State.BUSY, Signal.SENT): State.BUSY,
    (State.BUSY, Signal.DONE): State.IDLE,
    (State.BUSY, Signal.RETIRE): State.RETIRING,
    (State.BUSY, Signal.KILL): State.CONDEMNED,
    (State.BUSY, Signal.DIED): State.GONE,
    (State.RETIRING, Signal.DONE): State.IDLE,
    (State.RETIRING, Signal.KILL): State.CONDEMNED,
    (State.RETIRING, Signal.DIED): State.GONE,
    (State.LEAVING, Signal.KILL): State.CONDEMNED,
    (State.LEAVING, Signal.DIED): State.GONE,
    (State.CONDEMNED, Signal.READY): State.CONDEMNED,
    (State.CONDEMNED, Signal.DONE): State.CONDEMNED,
    (State.CONDEMNED, Signal.DIED): State.GONE,
}


class Worker:
    """One incarnation of a worker process; its number is never used again."""

    __slots__ = (
        "check_at",
        "expected",
        "flights",
        "id",
        "kill_at",
        "late_at",
        "quiet_at",
        "ready",
        "recalled",
        "since",
        "state",
    )

    def __init__(self, worker: int) -> None:
        self.id = worker
        self.state = State.STARTING
        self.kill_at: float | None = None  # when its start or its stop hooks take too long
        self.flights: deque[Flight] = deque()
        self.check_at: float | None = None  # when its slot is to be read for a time limit
        self.quiet_at: float | None = None  # on no message then, and nothing heard since
        self.since = 0.0  # when its first task became the first
        self.late_at: float | None = None  # when what that holds up is asked back, then taken
        self.recalled = 0  # up to this task it was asked back
        self.ready = False
        self.expected = False  # its end is our wish: it does not count as a crash

    @property
    def open(self) -> int:
        """How many messages it has that are not settled."""
        return sum(flight.open for flight in self.flights)


class Pool:
    """All workers, and the budget of restarts.

    Args:
        size: Workers wanted, at least 1.
        crashes: So many deaths in a row without one message handled end the run.
        boots: So many deaths in a row before a worker was ready end it, too. Both are at
            least four rounds of all workers: what one misfortune ends, of the forkserver or
            of what a start hook connects to, ends them all at once.
    """

    def __init__(self, size: int, crashes: int = 20, boots: int = 5) -> None:
        self._crashes = max(crashes, 4 * size)
        self._boots = max(boots, 4 * size)
        self._workers: dict[int, Worker] = {}
        self._next = 0
        self._deaths = 0
        self._boot_deaths = 0
        self.restarts = 0
        self.visited: set[tuple[State, Signal]] = set()

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def __len__(self) -> int:
        return len(self._workers)

    def get(self, worker: int) -> Worker | None:
        """Return a worker that has not ended; None for any other number."""
        return self._workers.get(worker)

    def start(self) -> Worker:
        """Enter a new worker, STARTING."""
        self._next += 1
        worker = self._workers[self._next] = Worker(self._next)
        return worker

    def signal(self, worker: Worker, signal: Signal) -> None:
        """Move a worker along the table."""
        key = (worker.state, signal)
        state = TRANSITIONS.get(key)
        if state is None:
            raise BugError(f"worker {worker.id} is {worker.state.value}: {signal.value}?")
        self.visited.add(key)
        worker.state = state
        if state is State.GONE:
            del self._workers[worker.id]

    def may(self, worker: Worker, signal: Signal) -> bool:
        """Return whether `signal` has a row for the worker's state."""
        return (worker.state, signal) in TRANSITIONS

    def progressed(self) -> None:
        """Note that a message was handled: workers do work."""
        self._deaths = 0

    def booted(self) -> None:
        """Note that a worker became ready: workers can boot."""
        self._boot_deaths = 0

    def died(self, ready: bool) -> float | None:
        """Note a death; return the seconds until its replacement, or None: give up."""
        self.restarts += 1
        if ready:
            self._deaths += 1
        else:
            self._boot_deaths += 1
        if self._deaths >= self._crashes or self._boot_deaths >= self._boots:
            return None
        # The first few replacements come at once: a kill is the normal end of a hang.
        row = max(self._deaths - 3, self._boot_deaths)
        return 0.0 if row <= 0 else min(5.0, 0.1 * 2.0 ** (row - 1))

    def count(self, *states: State) -> int:
        """Return how many workers are in one of these states."""
        return sum(1 for worker in self._workers.values() if worker.state in states)
