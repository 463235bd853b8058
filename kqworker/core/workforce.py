"""The workers at work: what each of their events changes, and where.

Composes the pool (states, and the budget of restarts), the dispatch (who gets what), the recalls
(what a slow message holds up), the time limits and the staffing (who is started and ended).
Knows nothing of partitions or commits; what ends the run is said by returning why.
Pure. Tested by tests/core/test_workforce.py, test_time_limits.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Sequence

from kqworker.core import commands as c
from kqworker.core import deaths
from kqworker.core import events as e
from kqworker.core.dispatch import Dispatch
from kqworker.core.messages import Messages
from kqworker.core.policy import HandlerPolicy
from kqworker.core.pool import Due, Pool, State, Timetable
from kqworker.core.recall import Recalls
from kqworker.core.staffing import FatalEnd, Staffing
from kqworker.core.time_limits import TimeLimits
from kqworker.core.timers import Deadlines
from kqworker.types import Failure


class Workforce:
    """All workers, and what each is doing.

    Args:
        policies: The handlers, in the app's order.
        messages: Where work comes from and goes back to.
        out: Where commands go.
        target: Workers wanted at first, at least 1.
        boot_seconds: Seconds that a worker may take to start.
        reloads: Whether a worker that cannot boot waits for the next `replace`.

    Attributes:
        cut_off: At the end, a message was ended that is no fault of its own.
    """

    def __init__(
        self,
        policies: Sequence[HandlerPolicy],
        messages: Messages,
        out: list[c.Command],
        *,
        target: int,
        boot_seconds: float,
        reloads: bool,
    ) -> None:
        self._policies = policies
        self._messages = messages
        self._out = out
        self._boot_seconds = boot_seconds
        self._timetable: Timetable = Deadlines()
        self.cut_off = False
        self.pool = Pool(target)
        self._limits = TimeLimits(policies, self._timetable)
        self.recalls = Recalls(self.pool, messages, self._timetable, out)
        self.dispatch = Dispatch(policies, messages, self.pool, self.recalls, self._limits, out)
        self.staffing = Staffing(
            self.pool,
            self.recalls,
            self._timetable,
            out,
            boot_seconds=boot_seconds,
            reloads=reloads,
        )

    # -- time

    def deadline(self) -> float | None:
        """Return when `due` has something to do; None: never."""
        return self._timetable.first

    def due(self, now: float) -> None:
        """Start, look at and kill the workers whose time has come."""
        looks = []
        for what, number in self._timetable.due(now):
            if what is Due.START:
                self.staffing.start_due(number, now)
                continue
            worker = self.pool.get(number)
            if worker is None:
                continue
            match what:
                case Due.KILL:
                    self.staffing.kill(worker)
                case Due.LIMIT:
                    self._limits.looked(worker, now)
                    looks.append(number)
                case Due.LATE:
                    self.recalls.looked(worker, now)
                    looks.append(number)
        if looks:
            self._out.append(c.Observe(tuple(dict.fromkeys(looks))))

    # -- what workers tell, and what is seen of them

    def finished(self, event: e.Finished, now: float) -> None:
        """Take a worker's answer."""
        worker = self.pool.get(event.worker)
        if worker is None:
            return
        flight = next((f for f in worker.flights if f.task.id == event.task), None)
        if flight is None:
            return
        if event.complete:
            worker.done_with(flight, now)
        self._limits.heard(worker, now)
        flight.told(event.outcomes, event.unstarted)
        if not event.complete:
            return
        begun = flight.count - len(flight.unstarted)
        if begun:
            self._messages.batch_sizes[flight.task.handler].observe(begun, event.seconds)
            self.pool.progressed()
        self._messages.settle(flight, now)
        self.recalls.answered(worker, now)
        if not worker.flights:
            self.staffing.done(worker, now)

    def observed(self, event: e.Observed, now: float) -> None:
        """Judge what workers are on, by their slots."""
        for number, running in event.running.items():
            worker = self.pool.get(number)
            if worker is None or not worker.flights:
                continue
            kill = self._limits.judge(worker, running, now)
            if kill is not None:
                self._out.append(kill)
            self.recalls.observed(worker, running, now)

    def ready(self, event: e.WorkerReady) -> None:
        """Note that a worker waits for its first task."""
        worker = self.pool.get(event.worker)
        if worker is not None:
            self.staffing.ready(worker)

    def boot_failed(self, event: e.BootFailed, now: float) -> FatalEnd | None:
        """Replace a worker that could not boot; return what ends the run by it, if anything."""
        worker = self.pool.get(event.worker)
        return None if worker is None else self.staffing.boot_failed(worker, event, now)

    def died(self, event: e.WorkerDied, now: float) -> FatalEnd | None:
        """Settle what a dead worker had, and replace it; return what ends the run, if anything."""
        worker = self.pool.get(event.worker)
        if worker is None:
            return None
        closing = self.staffing.closing
        limited = event.cause is e.Cause.KILLED and worker.state is not State.CONDEMNED
        late = worker.state is State.CONDEMNED and not worker.ready and not worker.expected
        dead = deaths.Death(
            worker,
            event,
            limited=limited,
            closing=closing,
            messages=self._messages,
            out=self._out,
        )
        dead.settle(now)
        self.cut_off = self.cut_off or dead.cut_off
        if dead.progress:
            self.pool.progressed()
        text = event.text
        if late:
            text = f"it was not ready within {self._boot_seconds:g} s (startup_timeout)"
        elif limited and dead.on_none:
            text = "for longer than a time limit it had messages, and was on none"
        self.staffing.gone(worker)
        if late and not self.staffing.ready_once and not closing:
            # Nobody's start may take longer: the next one's would not end earlier either.
            return c.End.BOOT_FAILED, deaths.too_late(self._boot_seconds)
        failure = Failure("WorkerDied", text)
        if dead.on_none and not worker.expected and not closing:
            kind = c.ReportKind.WORKER_DIED
            report = c.Report(kind, worker=worker.id, seat=worker.seat, failure=failure)
            self._out.append(report)
        if limited or worker.expected:
            self.staffing.replace_expected(worker, now)
            return None
        # All die with the forkserver: that is one misfortune and no row of crashes.
        wait = event.cause is not e.Cause.STOPPED
        return self.staffing.replace_dead(worker, failure, now, wait, dead.killer)

    # -- what is under way

    @property
    def flying(self) -> bool:
        """Whether any worker has a task."""
        return any(worker.flights for worker in self.pool)

    @property
    def flying_since(self) -> float | None:
        """Since when a worker has had the task that it is on: the longest of them, if any."""
        return min((worker.since for worker in self.pool if worker.flights), default=None)

    def give_up(self) -> None:
        """Say what is left to workers that were killed and do not end."""
        for worker in self.pool:
            for flight in worker.flights:
                left = next((i for i in range(flight.count) if i not in flight.settled), None)
                if left is not None:
                    text = "its worker was killed and does not end"
                    event = e.WorkerDied(worker.id, e.Cause.KILLED, None, 0, text)
                    name = self._policies[flight.task.handler].name
                    self._out.append(
                        deaths.report(
                            c.ReportKind.ABANDONED, flight, left, event, worker.seat, name
                        )
                    )
