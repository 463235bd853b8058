"""The supervisor's mind: every event comes in here, every command goes out from here.

The core is one machine. `handle` takes an event and the time, and returns commands; it reads no
clock, draws no chance of its own, and touches no process and no broker. The same events at the
same times give the same commands, which is how the simulator replays a fault.

The way of a message. A member is given partitions (`Assigned`): each begins an epoch, with the
committed offset and what its map says is done above it (`epochs`). What is fetched is counted in
(`Fetched`, `offsets`), waits ahead until its partition has room (`backpressure`), and then in a
lane until it may run (`lanes`). A worker that is free gets some of it as a task (`dispatch`,
`Send`) and answers for each message (`Finished`). What became of it is one value (`disposition`):
it is accepted, tried again at a time (`timers`), or waits until the records that it led to are in
the log (`settling`, `Produce`, `Delivered`). Accepted, or given up, it is finished in its epoch,
and the lowest open offset is the watermark, which the next commit tells (`committing`, `Commit`).

Workers sit in seats 0 … n-1 (`pool`): whoever starts takes the lowest that is free, so that the
successor of a worker is known by the same number. n may change (`Scale`); `staffing` starts and
retires workers until there are so many, the highest seats first, and ends nobody at work.

What can go wrong, and who deals with it.
- A worker dies (`WorkerDied`): `deaths` settles what it had, and charges at most the message that
  it died on; `staffing` replaces it, or says that this makes no sense any more.
- A message takes longer than its handler may (`time_limits`), or than its frame was made for
  (`recall`): the worker's slot is read (`Observe`, `Observed`), and it is killed, or loses what it
  has not begun.
- A partition is to be given back (`Revoked`): nothing of it begins any more, what runs may end
  for some seconds, and then it is committed and let go (`partitions`, `Release`). A partition
  that is lost (`Lost`) is somebody else's already: nothing of it is committed. What workers still
  answer for an epoch that is over changes nothing.
- The supervisor itself dies: the next owner finds its commit without a clean mark, and what may
  have ended it runs alone, each named in a commit before it begins (`suspects`, `wards`).

The end is a table of phases (`shutdown`): running, draining, committing, dismissing, over. Each has
its time. The last command is `Stopped`, and says whether anything was left undone.

Order counts. Commands are carried out in the order in which they are returned, and events come in
the order in which they happened to one worker, one member or one record; nothing else is assumed.
After each event, `_go_on` does what can be done, in this order: what has waited is let go on,
workers are looked at, partitions are given back, messages are let in and handed out, commits are
made, and the end takes its next steps. What is due by the clock is left out after the events that
come for each frame (`FRAMES`), for these are the hot path: a `Tick` follows, if anything is due.

Tested by tests/core/test_supervisor.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.backpressure import Backpressure
from kqworker.core.committing import Committing
from kqworker.core.epochs import Epoch, Epochs
from kqworker.core.limits import Limits
from kqworker.core.messages import Messages
from kqworker.core.partitions import Partitions
from kqworker.core.policy import HandlerPolicy
from kqworker.core.pool import State
from kqworker.core.retry import Random
from kqworker.core.shutdown import Phase, Shutdown
from kqworker.core.snapshot import Seated, Snapshot
from kqworker.core.staffing import FatalEnd
from kqworker.core.workforce import Workforce
from kqworker.types import Failure, TopicPartition

# They come for each batch and each frame.
FRAMES = (e.Fetched, e.Finished)


class Supervisor:
    """Events in, commands out.

    Args:
        policies: The handlers, in the app's order.
        limits: What to keep to.
        random: For the jitter of retries, and what is to be counted; seeded by the caller.
    """

    def __init__(self, policies: Sequence[HandlerPolicy], limits: Limits, random: Random) -> None:
        self._limits = limits
        self._backpressure = Backpressure(limits.messages, limits.size, limits.ahead)
        owner = 1 + int(random.random() * 2.0**53) if limits.suspects else 0
        self._epochs = Epochs()
        self._out: list[c.Command] = []  # those that are given it here append to it
        self._messages = Messages(
            policies, self._epochs, self._backpressure, random, self._out, owner
        )
        self._workforce = Workforce(
            policies,
            self._messages,
            self._out,
            target=limits.workers,
            boot_seconds=limits.boot_seconds,
            reloads=limits.reloads,
        )
        self._shutdown = Shutdown()
        self._steps = {
            Phase.DRAINING: self._drain_all,
            Phase.COMMITTING: self._commit_all,
            Phase.DISMISSING: self._dismiss_all,
        }
        self._commits = Committing(self._epochs, self._messages, self._workforce, limits, self._out)
        self._partitions = Partitions(
            policies,
            self._epochs,
            self._messages,
            self._backpressure,
            self._workforce,
            self._commits,
            self._out,
        )

    # -- the interface

    def start(self, now: float) -> list[c.Command]:
        """Return the first commands: start the workers."""
        self._commits.start(now)
        self._workforce.staffing.fill(now)
        return self._take_out()

    def handle(self, event: e.Event, now: float) -> list[c.Command]:
        """Take one event in; return what is to be done, in that order.

        Args:
            event: What happened.
            now: Seconds; never less than at the call before.
        """
        match event:
            case e.Finished():
                self._workforce.finished(event, now)
            case e.Fetched():
                self._messages.fetched(event)
            case e.Tick():
                pass
            case e.Positions():
                self._partitions.positions(event)
            case e.Gone():
                self._partitions.deleted(event)
            case e.Unreadable():
                self._partitions.unreadable(event)
            case e.Committed():
                self._commits.answered(event, now, self._shutdown.phase is Phase.COMMITTING)
            case e.Delivered():
                self._messages.settling.delivered(event, now)
            case e.Assigned():
                running = self._shutdown.phase is Phase.RUNNING
                self._lost(self._partitions.assigned(event, now, running))
            case e.Revoked():
                self._partitions.revoked(event, now)
            case e.Lost():
                # Another member may have been given some of them before this one was heard.
                own = [p for p in event.partitions if self._epochs.of(event.member, p)]
                self._lost(self._partitions.lost(own, now))
            case e.WorkerReady():
                if not self._workforce.pool.count(State.IDLE, State.BUSY, State.RETIRING):
                    self._commits.hurry(now)  # only now anything begins
                self._workforce.ready(event)
            case e.BootFailed():
                self._end_fatally(self._workforce.boot_failed(event, now), now)
            case e.WorkerDied():
                self._end_fatally(self._workforce.died(event, now), now)
                self._commits.at_once(now)  # attempts survive a restart by the commit
                if self._workforce.cut_off:
                    self._shutdown.abandoned("what ran when all workers were ended")
            case e.Observed():
                self._workforce.observed(event, now)
            case e.Replace():
                self._workforce.staffing.replace(now)
            case e.Scale():
                self._workforce.staffing.aim(event.workers, now)
            case e.CatchUp():
                self._shutdown.catch_up(event.targets)
            case e.StopRequested():
                self._stop(c.End.CLEAN, None, event.grace, now)
            case _:
                assert_never(event)
        self._go_on(now, timed=type(event) not in FRAMES)
        return self._take_out()

    def deadline(self) -> float | None:
        """Return when `handle` wants a `Tick` if nothing else happens; None when it is over."""
        if self._shutdown.phase is Phase.OVER:
            return None
        first = self._commits.deadline
        for due in (
            self._workforce.deadline(),
            self._messages.deadline(),
            self._backpressure.deadline() if self._shutdown.phase is Phase.RUNNING else None,
            self._messages.suspects.deadline(),
            self._partitions.deadline,
            self._shutdown.deadline,
        ):
            if due is not None and due < first:
                first = due
        return first

    def snapshot(self) -> Snapshot:
        """Return the counters and gauges of this moment."""
        messages, pool = self._messages, self._workforce.pool
        return Snapshot(
            handled=messages.settling.handled,
            failed=messages.settling.failed,
            retried=messages.settling.retried,
            in_flight=sum(worker.open for worker in pool),
            held=self._backpressure.held,
            held_bytes=self._backpressure.held_bytes,
            paused=self._backpressure.paused,
            workers_ready=pool.count(State.IDLE, State.BUSY, State.RETIRING),
            workers_busy=pool.count(State.BUSY, State.RETIRING),
            restarts=pool.restarts,
            partitions=len(self._epochs),
            stalled=messages.settling.stalled + sum(epoch.unreadable for epoch in self._epochs),
            gone=self._partitions.gone,
            remaining=self._shutdown.remaining(self._epochs),
            elsewhere=self._shutdown.elsewhere(self._epochs),
            seats=tuple(
                Seated(worker.seat, worker.id, worker.state, worker.open)
                for worker in sorted(pool, key=lambda worker: worker.seat)
            ),
        )

    def unreadable(self) -> dict[TopicPartition, int]:
        """Return where each partition stands that cannot be read on; 0 if it has not begun."""
        return {
            epoch.partition: epoch.offsets.position or 0
            for epoch in self._epochs
            if epoch.unreadable
        }

    def visited(self) -> Mapping[str, frozenset[object]]:
        """Return the rows of each state table that were reached, for the simulator."""
        return {
            "pool": frozenset(self._workforce.pool.visited),
            "ending": frozenset(self._shutdown.visited),
        }

    def _take_out(self) -> list[c.Command]:
        out = self._out[:]
        self._out.clear()
        return out

    def _go_on(self, now: float, timed: bool) -> None:
        """Do what can be done, whatever happened; with `timed` also what is due by now."""
        phase = self._shutdown.phase
        if timed:
            self._messages.due(now)
            self._workforce.due(now)
        if self._partitions.draining:
            self._partitions.give_back(now, wait=phase in (Phase.RUNNING, Phase.DRAINING))
        if phase is Phase.RUNNING:
            backpressure = self._backpressure
            if timed:
                self._out += backpressure.look(self._epochs, now)
            if backpressure.wanting:
                self._messages.let_in()
            if self._messages.suspects.any:
                self._commits.confirm(now)
            self._workforce.dispatch.send_ready(now)
            self._out += backpressure.decide()
        if timed:
            self._commits.due(now)
        if self._shutdown.caught_up(self._epochs):
            self._stop(c.End.CLEAN, None, self._limits.grace, now)
        while self._advance_end(now):
            pass

    # -- the end

    def _lost(self, ended: Iterable[Epoch]) -> None:
        """Say at the end that work was lost; while it runs that is the matter of the group."""
        if self._shutdown.phase in (Phase.DRAINING, Phase.COMMITTING) and any(
            epoch.busy or epoch.unsettled() for epoch in ended
        ):
            self._shutdown.abandoned("what was done last: its partitions were lost uncommitted")

    def _end_fatally(self, doom: FatalEnd | None, now: float) -> None:
        if doom is not None:
            self._stop(doom[0], doom[1], self._limits.grace, now)

    def _stop(self, end: c.End, failure: Failure | None, grace: float, now: float) -> None:
        if self._shutdown.begin(end, failure, grace, now):
            self._out.append(c.Fetching(False))
            if self._messages.drain(self._epochs):
                self._commits.at_once(now)
            self._workforce.staffing.close(now)

    def _advance_end(self, now: float) -> bool:
        """Take one step towards the end, if it can be taken; return whether it was."""
        step = self._steps.get(self._shutdown.phase)
        if step is None or not step(self._shutdown.late(now), now):
            return False
        self._shutdown.advance(now)
        return True

    # Each is called until it returns that its phase is over, whose time may be used up.

    def _drain_all(self, late: bool, now: float) -> bool:
        shutdown, workforce = self._shutdown, self._workforce
        if workforce.flying or self._messages.settling.delivering:
            if not late:
                return False
            shutdown.abandoned("what workers were handed and had not begun")
            workforce.staffing.kill_all()
            if workforce.flying:
                if not shutdown.hopeless:
                    return False
                workforce.give_up()
            self._messages.settling.abandon()
        self._partitions.give_back(now, wait=False)
        self._messages.suspects.in_order(self._epochs)
        self._commits.commit()
        return True

    def _commit_all(self, late: bool, now: float) -> bool:
        if not self._epochs.settled():
            if not late:
                return False
            if self._epochs.owing():
                text = "what was finished last: Kafka did not confirm its commit"
                self._shutdown.abandoned(text)
        self._workforce.staffing.dismiss_all(now)
        return True

    def _dismiss_all(self, late: bool, now: float) -> bool:
        shutdown, workforce = self._shutdown, self._workforce
        if len(workforce.pool):
            if late:
                workforce.staffing.kill_all()
            if not shutdown.hopeless:
                return False
        self._out.append(c.Stopped(shutdown.end, shutdown.failure))
        return True
