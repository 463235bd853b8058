"""How many workers there are: starting, retiring, ending and replacing them.

The target may change at any time. Until the end, each seat below the target has a worker, or a
worker is to be started for it. A worker with a higher seat leaves when its tasks are done, and
has no successor. A function that finds that the run must end returns why. Pure. Knows nothing
of messages.
Tested by tests/core/test_workforce.py, test_staffing.py, test_reloading.py and every run in
tests/sim.
"""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core.events import BootFailed
from kqworker.core.pool import Due, Place, Pool, Signal, State, Timetable, Worker
from kqworker.core.recall import Recalls
from kqworker.types import Failure

FatalEnd = tuple[c.End, Failure]

HOOK_SECONDS = 5.0  # stop hooks may take so long, then the worker is killed


class Staffing:
    """Sees to it that there are as many workers as are wanted.

    Args:
        pool: The workers.
        recalls: Asks those that retire for what they have not begun.
        timetable: Has when a worker is to be killed.
        out: Where commands go.
        boot_seconds: Seconds that a worker may take to start.
        reloads: Whether a worker that cannot boot waits for the next `replace`.

    Attributes:
        ready_once: A worker was ready.
        closing: No worker is started any more.
    """

    def __init__(
        self,
        pool: Pool,
        recalls: Recalls,
        timetable: Timetable,
        out: list[c.Command],
        *,
        boot_seconds: float,
        reloads: bool,
    ) -> None:
        self._pool = pool
        self._recalls = recalls
        self._timetable = timetable
        self._out = out
        self._boot_seconds = boot_seconds
        self._reloads = reloads
        self._broken = 0  # workers that wait for the next change
        self._starts: set[int] = set()  # that are due at a time, by their numbers
        self._number = 0
        self.ready_once = False
        self.closing = False

    def _start_at(self, due: float) -> None:
        self._number += 1
        self._starts.add(self._number)
        self._timetable.set((Due.START, self._number), due)

    def aim(self, target: int, now: float) -> None:
        """Have another number of workers; who is too many ends when its tasks are done.

        Args:
            target: How many, at least 1.
            now: The time.
        """
        if self.closing:
            return
        self._pool.aim(target)
        for worker in list(self._pool):
            if worker.seat >= target:
                self._let_go(worker, now)
        self.fill(now)

    def fill(self, now: float) -> None:
        """Start the workers that are missing, and none for a seat that is gone."""
        missing = self._pool.vacant() - self._broken - len(self._starts)
        for _ in range(missing):
            self.start(now)
        for _ in range(-missing):
            if self._broken:
                self._broken -= 1
            else:
                self._call_off(max(self._starts, key=self._due_of))

    def _due_of(self, number: int) -> float:
        return self._timetable.get((Due.START, number)) or 0.0

    def _call_off(self, number: int) -> None:
        self._starts.remove(number)
        self._timetable.clear((Due.START, number))

    def start_due(self, number: int, now: float) -> None:
        """Start one whose time has come."""
        self._starts.remove(number)
        self.start(now)

    def start(self, now: float) -> None:
        """Start one more worker."""
        worker = self._pool.start()
        self._timetable.set((Due.KILL, worker.id), now + self._boot_seconds)
        self._out.append(c.StartWorker(worker.id, worker.seat))

    def ready(self, worker: Worker) -> None:
        """Note that a worker waits for its first task."""
        self.ready_once = True
        worker.booted()
        self._timetable.clear((Due.KILL, worker.id))
        self._pool.booted()
        self._pool.signal(worker, Signal.READY)

    def gone(self, worker: Worker) -> None:
        """Note a worker's end."""
        self._pool.signal(worker, Signal.DIED)
        for what in (Due.KILL, Due.LIMIT, Due.LATE):
            self._timetable.clear((what, worker.id))

    def boot_failed(self, worker: Worker, event: BootFailed, now: float) -> FatalEnd | None:
        """Replace a worker that could not boot; the first of all ends the run."""
        self.gone(worker)
        wanted = self._has_successor(worker)
        if not self.closing and (worker.expected or not wanted):
            # It was to go anyway; who comes in its place has the app as it is now.
            if wanted:
                self._start_at(now)
            return None
        if not self.ready_once:
            return c.End.BOOT_FAILED, event.failure
        if self._reloads and not self.closing:
            # Somebody is editing: it may well be mended by the next change.
            if not self._broken:
                self._out.append(c.Report(c.ReportKind.BROKEN, failure=event.failure))
            self._broken += 1
            return None
        if not self.closing:
            kind = c.ReportKind.WORKER_DIED
            report = c.Report(kind, worker=worker.id, seat=worker.seat, failure=event.failure)
            self._out.append(report)
        return self.replace_dead(worker, event.failure, now)

    def _has_successor(self, worker: Worker) -> bool:
        return not self.closing and worker.seat < self._pool.target

    def replace_expected(self, worker: Worker, now: float) -> None:
        """Replace a worker whose end counts as no crash."""
        if self._has_successor(worker):
            self._pool.replaced()
            self._start_at(now)

    def replace_dead(
        self,
        worker: Worker,
        failure: Failure,
        now: float,
        wait: bool = True,
        killer: Place | None = None,
    ) -> FatalEnd | None:
        """Replace a worker that has crashed; return why not, where that makes no sense any more.

        Args:
            worker: The worker that has crashed.
            failure: Why.
            now: The time.
            wait: After many deaths in a row the next worker comes later.
            killer: The message that it died on, if that is charged and kept as a dead letter.
        """
        if not self._has_successor(worker):
            return None
        delay = self._pool.died(worker.ready, killer)
        if delay is None:
            return c.End.CRASH_LOOP, failure
        self._start_at(now + delay if wait else now)
        return None

    def replace(self, now: float) -> None:
        """Put a fresh worker in the place of each, when its tasks are done."""
        for worker in list(self._pool):
            self._let_go(worker, now)
        for _ in range(self._broken):
            self._start_at(now)
        self._broken = 0

    def _let_go(self, worker: Worker, now: float) -> None:
        """Have a worker end as soon as its tasks are done."""
        if worker.state is State.IDLE:
            self.dismiss(worker, now)
        elif worker.state is State.BUSY:
            self._pool.signal(worker, Signal.RETIRE)
            self._recalls.ask_back(worker, now)
        elif worker.state is State.STARTING:
            worker.expect_end()
            self.kill(worker)

    def done(self, worker: Worker, now: float) -> None:
        """Note that a worker has no task any more."""
        retiring = worker.state is State.RETIRING
        self._pool.signal(worker, Signal.DONE)
        if retiring:
            self.dismiss(worker, now)

    def dismiss(self, worker: Worker, now: float) -> None:
        """Let an idle worker go."""
        worker.expect_end()
        self._timetable.set((Due.KILL, worker.id), now + HOOK_SECONDS)
        self._pool.signal(worker, Signal.STOP)
        self._out.append(c.StopWorker(worker.id))

    def kill(self, worker: Worker) -> None:
        """End a worker whatever it does, once."""
        self._timetable.clear((Due.KILL, worker.id))
        if self._pool.may(worker, Signal.KILL):
            self._pool.signal(worker, Signal.KILL)
            self._out.append(c.KillWorker(worker.id))

    # -- the end

    def close(self, now: float) -> None:
        """Start no worker any more; ask back what is not begun."""
        self.closing = True
        for number in self._starts:
            self._timetable.clear((Due.START, number))
        self._starts.clear()
        self._broken = 0
        self._recalls.recall(now)
        for worker in list(self._pool):
            if worker.state is State.STARTING:
                self.kill(worker)

    def dismiss_all(self, now: float) -> None:
        """Let everybody go who is idle."""
        for worker in list(self._pool):
            if worker.state is State.IDLE:
                self.dismiss(worker, now)

    def kill_all(self) -> None:
        """End everybody."""
        for worker in list(self._pool):
            self.kill(worker)
