"""The workers at work: who gets what next, who must be killed, who must be replaced.

Composes the pool (states, and the budget of restarts) with the messages. Knows nothing of
partitions or commits; what ends the run is said by returning why.
Pure. Tested by tests/core/test_crew.py, test_time_limits.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kqworker.core import commands as c
from kqworker.core import deaths, overtime
from kqworker.core import events as e
from kqworker.core.epochs import Epoch
from kqworker.core.flight import Flight
from kqworker.core.messages import Messages
from kqworker.core.policy import HandlerPolicy
from kqworker.core.pool import Place, Pool, Signal, State, Worker
from kqworker.types import Failure

Doom = tuple[c.End, Failure]

HOOK_SECONDS = 5.0  # stop hooks may take so long, then the worker is killed
# So long after its beginning a task holds up what it should not: frames are made for a
# hundredth of a second, and only messages up to a tenth wait in a worker's own queue.
LATE_SECONDS = 0.25
LOOK_SECONDS = 0.05  # after a recall, until the slot proves what will not be begun


class Crew:
    """All workers, and what each is doing.

    Args:
        policies: The handlers, in the app's order.
        messages: Where work comes from and goes back to.
        out: Where commands go.
        size: Workers wanted, at least 1.
        boot_seconds: Seconds that a worker may take to start.
        reloads: Whether a worker that cannot boot waits for the next `replace`.
    """

    def __init__(
        self,
        policies: Sequence[HandlerPolicy],
        messages: Messages,
        out: list[c.Command],
        *,
        size: int,
        boot_seconds: float,
        reloads: bool,
    ) -> None:
        self._policies = policies
        self._boot_seconds = boot_seconds
        self._reloads = reloads
        self._broken = 0  # workers that wait for the next change
        self._messages = messages
        self._out = out
        self._starts: list[float] = []
        # Each handler's part of the workers' time so far, and the part of whom it is turn.
        self._spent = [0.0] * len(policies)
        self._served = 0.0
        self._ready_once = False
        self._closing = False
        self.cut_off = False  # at the end, a message was ended that is no fault of its own
        self.pool = Pool(size)

    # -- time

    def deadlines(self) -> list[float]:
        """Return when `due` has something to do."""
        times = list(self._starts)
        for worker in self.pool:
            if worker.kill_at is not None:
                times.append(worker.kill_at)
            if worker.check_at is not None:
                times.append(worker.check_at)
            if worker.late_at is not None:
                times.append(worker.late_at)
        return times

    def due(self, now: float) -> None:
        """Start, check and kill whoever's time has come."""
        for due in [due for due in self._starts if due <= now]:
            self._starts.remove(due)
            self.start(now)
        checks = []
        for worker in self.pool:
            if worker.kill_at is not None and now >= worker.kill_at:
                self.kill(worker)
            if worker.check_at is not None and now >= worker.check_at:
                worker.check_at = now + 1.0  # until the answer sets it
                checks.append(worker.id)
            if worker.late_at is not None and now >= worker.late_at:
                worker.late_at = now + LATE_SECONDS  # until the answer says more
                checks.append(worker.id)
        if checks:
            self._out.append(c.Observe(tuple(dict.fromkeys(checks))))

    # -- work

    def dispatch(self, now: float) -> None:
        """Send what is ready to who is free; the workers' time is shared between handlers."""
        messages, spent = self._messages, self._spent
        if messages.suspects.active:
            self._dispatch_suspect(now)
            return
        while waiting := [h for h in range(len(spent)) if messages.ready(h)]:
            worker = self._free(now)
            if worker is None:
                return
            # A handler that had nothing to do has saved nothing up meanwhile.
            handler = min(waiting, key=lambda h: max(spent[h], self._served))
            ready, pace = messages.ready(handler), messages.paces[handler]
            # An even share, so that no worker idles while another has a full frame.
            share = -(-ready // max(1, self.pool.count(State.IDLE)))
            flight = messages.take(handler, min(pace.count, share))
            self._served = max(spent[handler], self._served)
            spent[handler] = self._served + pace.seconds_of(len(flight.task))
            self._send(worker, flight, now)

    def _dispatch_suspect(self, now: float) -> None:
        """Send the suspect whose turn it is, once nobody else has anything."""
        worker = next((w for w in self.pool if w.state is State.IDLE), None)
        span = self._messages.suspects.next(worker is not None)
        if span is not None and worker is not None:
            self._send(worker, self._messages.take_suspect(span), now)

    def _send(self, worker: Worker, flight: Flight, now: float) -> None:
        self.pool.signal(worker, Signal.SENT)
        if not worker.flights:
            worker.since = now
        worker.flights.append(flight)
        if worker.late_at is None and worker.open > 1:
            worker.late_at = worker.since + LATE_SECONDS
        self._out.append(c.Send(worker.id, flight.task))
        limit = self._policies[flight.task.handler].time_limit
        if limit is not None:
            due = now + limit
            worker.check_at = due if worker.check_at is None else min(worker.check_at, due)

    def _free(self, now: float) -> Worker | None:
        """Return who can take a task: an idle worker, or one whose only task is short.

        Also what is slow itself may wait behind that: else it would get no worker at all
        while another handler's backlog keeps each of them with a second task.
        """
        second = None
        for worker in self.pool:
            if worker.state is State.IDLE:
                return worker
            if second is None and worker.state is State.BUSY and len(worker.flights) == 1:
                first = worker.flights[0].task
                prompt = now < worker.since + LATE_SECONDS and first.id > worker.recalled
                second = worker if prompt and self._messages.paces[first.handler].short else None
        return second

    def finished(self, event: e.Finished, now: float) -> None:
        """Take a worker's answer."""
        worker = self.pool.get(event.worker)
        if worker is None:
            return
        flight = next((f for f in worker.flights if f.task.id == event.task), None)
        if flight is None:
            return
        if event.complete:
            worker.flights.remove(flight)
        worker.quiet_at = None
        if worker.check_at is not None:
            overtime.look_later(worker, self._policies, now)
        flight.told(event.outcomes, event.unbegun)
        if not event.complete:
            return
        begun = len(flight.task) - len(flight.unbegun)
        if begun:
            self._messages.paces[flight.task.handler].observe(begun, event.seconds)
            self.pool.progressed()
        self._messages.settle(flight, now)
        worker.since = now
        worker.late_at = now + LATE_SECONDS if worker.open > 1 else None
        if not worker.flights:
            retiring = worker.state is State.RETIRING
            self.pool.signal(worker, Signal.DONE)
            if retiring:
                self.dismiss(worker, now)

    def recall(self, now: float, epochs: Iterable[Epoch] | None = None) -> None:
        """Ask back what is not begun: of tasks with these epochs, or of all."""
        asked = None if epochs is None else set(epochs)
        for worker in self.pool:
            having = {epoch for flight in worker.flights for epoch, _ in flight.parts}
            if having if asked is None else having & asked:
                self._ask_back(worker, now)

    def _ask_back(self, worker: Worker, now: float) -> None:
        """Have a worker hand back what it has not begun; if it is too busy to, look soon."""
        self._out.append(c.Recall(worker.id))
        worker.recalled = worker.flights[-1].task.id
        worker.late_at = now + LOOK_SECONDS if worker.open > 1 else None

    def observed(self, event: e.Observed, now: float) -> None:
        """Judge what workers are on, by their slots."""
        for number, running in event.running.items():
            worker = self.pool.get(number)
            if worker is None or not worker.flights:
                continue
            kill = overtime.judge(worker, running, self._policies, now)
            if kill is not None:
                self._out.append(kill)
            # Of who has begun nothing, nothing is asked back: where workers get no processor
            # for long, all would only go to and fro.
            if running is not None and worker.late_at is not None:
                if worker.recalled >= worker.flights[-1].task.id:
                    self._take_back(worker, running, now)
                elif now >= worker.since + LATE_SECONDS:
                    self._ask_back(worker, now)

    def _take_back(self, worker: Worker, running: e.Running, now: float) -> None:
        """Settle what a worker has done, and will not begin, beside the message it is on."""
        for flight in worker.flights:
            number = flight.task.id
            if not running.task <= number <= running.recalled:
                continue
            on = running.index if number == running.task else None
            behind = range(0 if on is None else on + 1, len(flight.task))
            flight.begin_none_of(behind)
            self._messages.settle_but(flight, on, now)
        if worker.open <= 1:
            worker.late_at = None

    # -- lives

    def start(self, now: float) -> None:
        """Start one more worker."""
        worker = self.pool.start()
        worker.kill_at = now + self._boot_seconds
        self._out.append(c.StartWorker(worker.id))

    def ready(self, event: e.WorkerReady) -> None:
        """Note that a worker waits for its first task."""
        worker = self.pool.get(event.worker)
        if worker is not None:
            self._ready_once = worker.ready = True
            worker.kill_at = None
            self.pool.booted()
            self.pool.signal(worker, Signal.READY)

    def boot_failed(self, event: e.BootFailed, now: float) -> Doom | None:
        """Replace a worker that could not boot; the first of all ends the run."""
        worker = self.pool.get(event.worker)
        if worker is None:
            return None
        self.pool.signal(worker, Signal.DIED)
        if worker.expected and not self._closing:
            # It was to be replaced anyway, by one that has the app as it is now.
            self._starts.append(now)
            return None
        if not self._ready_once:
            return c.End.BOOT_FAILED, event.failure
        if self._reloads and not self._closing:
            # Somebody is editing: it may well be mended by the next change.
            if not self._broken:
                self._out.append(c.Report(c.Note.BROKEN, failure=event.failure))
            self._broken += 1
            return None
        if not self._closing:
            self._out.append(c.Report(c.Note.WORKER_DIED, worker=worker.id, failure=event.failure))
        return self._replace_dead(worker, event.failure, now)

    def died(self, event: e.WorkerDied, now: float) -> Doom | None:
        """Settle what a dead worker had, and replace it."""
        worker = self.pool.get(event.worker)
        if worker is None:
            return None
        limited = event.cause is e.Cause.KILLED and worker.state is not State.CONDEMNED
        late = worker.state is State.CONDEMNED and not worker.ready and not worker.expected
        dead = deaths.Death(
            worker,
            event,
            limited=limited,
            closing=self._closing,
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
        self.pool.signal(worker, Signal.DIED)
        if late and not self._ready_once and not self._closing:
            # Nobody's start may take longer: the next one's would not end earlier either.
            return c.End.BOOT_FAILED, deaths.too_late(self._boot_seconds)
        failure = Failure("WorkerDied", text)
        if dead.on_none and not worker.expected and not self._closing:
            self._out.append(c.Report(c.Note.WORKER_DIED, worker=worker.id, failure=failure))
        if limited or worker.expected:
            if not self._closing:
                self.pool.restarts += 1
                self._starts.append(now)
            return None
        # All die with the forkserver: that is one misfortune and no row of crashes.
        wait = event.cause is not e.Cause.STOPPED
        return self._replace_dead(worker, failure, now, wait, dead.killer)

    def _replace_dead(
        self,
        worker: Worker,
        failure: Failure,
        now: float,
        wait: bool = True,
        killer: Place | None = None,
    ) -> Doom | None:
        if self._closing:
            return None
        delay = self.pool.died(worker.ready, killer)
        if delay is None:
            return c.End.CRASH_LOOP, failure
        self._starts.append(now + delay if wait else now)
        return None

    def replace(self, now: float) -> None:
        """Put a fresh worker in the place of each, when its tasks are done."""
        for worker in list(self.pool):
            if worker.state is State.IDLE:
                self.dismiss(worker, now)
            elif worker.state is State.BUSY:
                self.pool.signal(worker, Signal.RETIRE)
                self._ask_back(worker, now)
            elif worker.state is State.STARTING:
                worker.expected = True
                self.kill(worker)
        self._starts += [now] * self._broken
        self._broken = 0

    def dismiss(self, worker: Worker, now: float) -> None:
        """Let an idle worker go."""
        worker.expected = True
        worker.kill_at = now + HOOK_SECONDS
        self.pool.signal(worker, Signal.STOP)
        self._out.append(c.StopWorker(worker.id))

    def kill(self, worker: Worker) -> None:
        """End a worker whatever it does, once."""
        worker.kill_at = None
        if self.pool.may(worker, Signal.KILL):
            self.pool.signal(worker, Signal.KILL)
            self._out.append(c.KillWorker(worker.id))

    # -- the end

    @property
    def flying(self) -> bool:
        """Whether any worker has a task."""
        return any(worker.flights for worker in self.pool)

    @property
    def flying_since(self) -> float | None:
        """Since when a worker has had the task that it is on: the longest of them, if any."""
        return min((worker.since for worker in self.pool if worker.flights), default=None)

    def close(self, now: float) -> None:
        """Start nobody any more; ask back what is not begun."""
        self._closing = True
        self._starts.clear()
        self._broken = 0
        self.recall(now)
        for worker in list(self.pool):
            if worker.state is State.STARTING:
                self.kill(worker)

    def dismiss_all(self, now: float) -> None:
        """Let everybody go who is idle."""
        for worker in list(self.pool):
            if worker.state is State.IDLE:
                self.dismiss(worker, now)

    def kill_all(self) -> None:
        """End everybody."""
        for worker in list(self.pool):
            self.kill(worker)

    def give_up(self) -> None:
        """Say what is left to workers that were killed and do not end."""
        for worker in self.pool:
            for flight in worker.flights:
                left = next((i for i in range(len(flight.task)) if i not in flight.settled), None)
                if left is not None:
                    text = "its worker was killed and does not end"
                    event = e.WorkerDied(worker.id, e.Cause.KILLED, None, 0, text)
                    name = self._policies[flight.task.handler].name
                    self._out.append(deaths.report(c.Note.ABANDONED, flight, left, event, name))
