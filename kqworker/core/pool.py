"""The workers: which state each is in, what it has, where it sits, and when one is started again.

A worker has a number of its own, and a seat: 0, 1, 2 …, the lowest that is free when it starts.
Its successor gets the same one. So seats name workers for operators, metrics and devices. (They
are not called slots: a worker's slot is the memory that it shares with its supervisor.)

The states and what may happen in them are the table `TRANSITIONS`; anything else is a
bug. Pure: no process, no clock. Knows nothing of lanes, offsets or retries.
Tested by tests/core/test_pool.py and by every run in tests/sim.
"""

from __future__ import annotations

import enum
import itertools
from collections import deque
from collections.abc import Iterator

from kqworker.core.in_flight import InFlightTask
from kqworker.core.timers import Deadlines
from kqworker.errors import BugError
from kqworker.types import TopicPartition

# A message by its partition and offset.
Place = tuple[TopicPartition, int]

LONGEST_SECONDS = 5.0  # until a replacement, after ever so many deaths in a row
# After a death that a message is charged with, and that leads to its dead letter: those end.
KILLER_SECONDS = 0.2


class State(enum.Enum):
    """Where a worker stands."""

    __hash__ = object.__hash__  # Enum's is a function in Python, and these are looked up often

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RETIRING = "retiring"  # busy, and to be stopped when it is done
    LEAVING = "leaving"  # told to stop
    CONDEMNED = "condemned"  # killed by us, its end not yet seen
    GONE = "gone"


class Signal(enum.Enum):
    """What happens to a worker."""

    __hash__ = object.__hash__

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


class Due(enum.IntEnum):
    """What may be due for a worker, or, a start, for one that is to come."""

    KILL = 0  # its start, or its stop hooks, take too long
    LIMIT = 1  # its slot is to be read for a time limit
    LATE = 2  # what its first task holds up is to be asked back, then taken
    START = 3  # by a number of its own


Timetable = Deadlines[tuple[Due, int]]


class Worker:
    """One incarnation of a worker process; its number is never used again.

    Attributes:
        seat: No other worker that lives has it.
        flights: Its tasks, in the order in which it runs them.
        since: When the first of them became the first.
        recalled: Up to this task it was asked for what it has not begun.
        quiet_at: When it was first seen on no message, while nothing was heard of it since;
            None otherwise.
        ready: It has booted.
        expected: Its end is our wish: it does not count as a crash.
    """

    __slots__ = (
        "expected",
        "flights",
        "id",
        "quiet_at",
        "ready",
        "recalled",
        "seat",
        "since",
        "state",
    )

    def __init__(self, worker: int, seat: int) -> None:
        self.id = worker
        self.seat = seat
        self.state = State.STARTING
        self.flights: deque[InFlightTask] = deque()
        self.quiet_at: float | None = None
        self.since = 0.0
        self.recalled = 0
        self.ready = False
        self.expected = False

    @property
    def open(self) -> int:
        """How many messages it has that are not settled."""
        flights = self.flights
        return flights[0].open if len(flights) == 1 else sum([flight.open for flight in flights])

    @property
    def last(self) -> int:
        """The number of the last task that it has; it has one."""
        return self.flights[-1].task.id

    def booted(self) -> None:
        """Note that it waits for its first task."""
        self.ready = True

    def take_on(self, flight: InFlightTask, now: float) -> None:
        """Note that it is sent a task."""
        if not self.flights:
            self.since = now
        self.flights.append(flight)

    def done_with(self, flight: InFlightTask, now: float) -> None:
        """Note that it has answered for a task to its end."""
        self.flights.remove(flight)
        self.since = now

    def heard(self) -> None:
        """Note that it has told something, or that it is on a message."""
        self.quiet_at = None

    def quiet_since(self, now: float) -> float:
        """Note that it is on no message; return since when, as far as is known."""
        if self.quiet_at is None:
            self.quiet_at = now
        return self.quiet_at

    def asked_back(self) -> None:
        """Note that it is asked for what it has not begun of all its tasks."""
        self.recalled = self.last

    def expect_end(self) -> None:
        """Note that its end is our wish."""
        self.expected = True


class Pool:
    """All workers, and the budget of restarts.

    Args:
        target: Workers wanted, at least 1.
        crashes: So many deaths in a row without one message handled end the run, but for
            those that `killers` is about.
        boots: So many deaths in a row before a worker was ready end it, too, once no other
            is ready. Both are at least four rounds of all workers: what one misfortune ends,
            of the forkserver or of what a start hook connects to, ends them all at once.
        killers: So many different messages that end as dead letters, each of which has
            killed its worker, end it, too, without one message handled between them.

    Attributes:
        target: Workers wanted now: their seats are those below it.
        idle: Workers that are IDLE.
    """

    def __init__(self, target: int, crashes: int = 20, boots: int = 5, killers: int = 200) -> None:
        self.target = target
        self._crashes = crashes
        self._boots = boots
        self._most_killers = killers
        self._killers: set[Place] = set()
        self._kills = 0
        self._workers: dict[int, Worker] = {}
        self._next = 0
        self._deaths = 0
        self._boot_deaths = 0
        self.restarts = 0
        self.idle = 0
        self.visited: set[tuple[State, Signal]] = set()

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def __len__(self) -> int:
        return len(self._workers)

    def get(self, worker: int) -> Worker | None:
        """Return a worker that has not ended; None for any other number."""
        return self._workers.get(worker)

    @property
    def size(self) -> int:
        """How many workers there may be: as many as are wanted, or as are still there."""
        return max(self.target, len(self._workers))

    def aim(self, target: int) -> None:
        """Want another number of workers, at least 1."""
        self.target = target

    def vacant(self) -> int:
        """Return how many seats below the target are free."""
        return self.target - sum(worker.seat < self.target for worker in self)

    def start(self) -> Worker:
        """Enter a new worker, STARTING, in the lowest seat that is free."""
        taken = {worker.seat for worker in self}
        seat = next(number for number in itertools.count() if number not in taken)
        self._next += 1
        worker = self._workers[self._next] = Worker(self._next, seat)
        return worker

    def signal(self, worker: Worker, signal: Signal) -> None:
        """Move a worker along the table."""
        key = (worker.state, signal)
        state = TRANSITIONS.get(key)
        if state is None:
            raise BugError(f"worker {worker.id} is {worker.state.value}: {signal.value}?")
        self.visited.add(key)
        if worker.state is State.IDLE:
            self.idle -= 1
        elif state is State.IDLE:
            self.idle += 1
        worker.state = state
        if state is State.GONE:
            del self._workers[worker.id]

    def may(self, worker: Worker, signal: Signal) -> bool:
        """Return whether `signal` has a row for the worker's state."""
        return (worker.state, signal) in TRANSITIONS

    def progressed(self) -> None:
        """Note that a message was handled: workers do work."""
        self._deaths = self._kills = 0
        if self._killers:
            self._killers.clear()

    def replaced(self) -> None:
        """Count a death that no message caused; its successor starts at once."""
        self.restarts += 1

    def booted(self) -> None:
        """Note that a worker became ready: workers can boot."""
        self._boot_deaths = 0

    def died(self, ready: bool, killer: Place | None = None) -> float | None:
        """Note a death.

        Args:
            ready: The worker had booted.
            killer: The message that it died on, if that ends as a dead letter when it has
                killed often enough.

        Returns:
            The seconds until its replacement; None: give up.
        """
        self.restarts += 1
        rounds = 4 * self.size
        # The first few replacements come at once: a kill is the normal end of a hang.
        if killer is not None:
            self._killers.add(killer)
            self._kills += 1
            give_up = len(self._killers) >= max(self._most_killers, rounds)
            delay = _delay(self._kills - 3, KILLER_SECONDS)
        elif ready:
            self._deaths += 1
            give_up = self._deaths >= max(self._crashes, rounds)
            delay = _delay(max(self._deaths - 3, self._boot_deaths), LONGEST_SECONDS)
        else:
            self._boot_deaths += 1
            alone = not self.count(State.IDLE, State.BUSY, State.RETIRING)
            give_up = self._boot_deaths >= max(self._boots, rounds) and alone
            delay = _delay(self._boot_deaths, LONGEST_SECONDS)
        return None if give_up else delay

    def count(self, *states: State) -> int:
        """Return how many workers are in one of these states."""
        return sum(worker.state in states for worker in self)


def _delay(row: int, longest: float) -> float:
    return 0.0 if row <= 0 else min(longest, 0.1 * 2.0 ** min(row - 1, 16))
