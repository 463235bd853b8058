"""The supervisor's mind: every event comes in here, every command goes out from here.

Composes the messages (what is promised for each), the crew (who runs them) and the
ending, and decides what none can alone: when a partition is given back, when to commit.

Pure and deterministic: time is an argument, randomness a generator that is passed in.
Tested by tests/core/test_supervisor.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.committing import Committing
from kqworker.core.crew import Crew
from kqworker.core.ending import Ending, Phase
from kqworker.core.epochs import Epoch, Epochs
from kqworker.core.flow import Flow
from kqworker.core.limits import Limits
from kqworker.core.messages import Messages
from kqworker.core.policy import HandlerPolicy
from kqworker.core.pool import State
from kqworker.core.retry import Random
from kqworker.core.routing import Routes
from kqworker.core.snapshot import Snapshot
from kqworker.core.staffing import Doom
from kqworker.types import Failure, TopicPartition


@dataclass(slots=True)
class Drain:
    """Partitions that are being given back."""

    member: int
    partitions: tuple[TopicPartition, ...]
    epochs: list[Epoch]
    deadline: float


class Supervisor:
    """Events in, commands out.

    Args:
        policies: The handlers, in the app's order.
        limits: What to keep to.
        random: For the jitter of retries, and what is to be counted; seeded by the caller.
    """

    def __init__(self, policies: Sequence[HandlerPolicy], limits: Limits, random: Random) -> None:
        self._limits = limits
        self._routes = Routes(policies)
        self._flow = Flow(limits.messages, limits.size, limits.ahead)
        owner = 1 + int(random.random() * 2.0**53) if limits.suspects else 0
        self._epochs = Epochs()
        self._out: list[c.Command] = []  # appended to by whoever is given it here
        self._messages = Messages(policies, self._epochs, self._flow, random, self._out, owner)
        self._crew = Crew(
            policies,
            self._messages,
            self._out,
            size=limits.workers,
            boot_seconds=limits.boot_seconds,
            reloads=limits.reloads,
        )
        self._ending = Ending()
        self._steps = {
            Phase.DRAINING: self._drain_all,
            Phase.COMMITTING: self._commit_all,
            Phase.DISMISSING: self._dismiss_all,
        }
        self._drains: list[Drain] = []
        self._commits = Committing(self._epochs, self._messages, self._crew, limits, self._out)
        self._gone = 0

    # -- the interface

    def start(self, now: float) -> list[c.Command]:
        """Return the first commands: start the workers."""
        self._commits.start(now)
        for _ in range(self._limits.workers):
            self._crew.staffing.start(now)
        return self._take_out()

    def handle(self, event: e.Event, now: float) -> list[c.Command]:
        """Take one event in; return what is to be done, in that order.

        Args:
            event: What happened.
            now: Seconds; never less than at the call before.
        """
        match event:
            case e.Finished():
                self._crew.finished(event, now)
            case e.Fetched():
                self._messages.fetched(event)
            case e.Tick():
                pass
            case e.Positions():
                self._positions(event)
            case e.Gone():
                self._gone_from_kafka(event)
            case e.Unreadable():
                self._unreadable(event)
            case e.Committed():
                self._commits.answered(event, now, self._ending.phase is Phase.COMMITTING)
            case e.Delivered():
                self._messages.settling.delivered(event, now)
            case e.Assigned():
                self._assigned(event, now)
            case e.Revoked():
                self._revoked(event, now)
            case e.Lost():
                # Another member may have been given some of them before this one was heard.
                self._lost((p for p in event.partitions if self._epochs.of(event.member, p)), now)
            case e.WorkerReady():
                if not self._crew.pool.count(State.IDLE, State.BUSY, State.RETIRING):
                    self._commits.hurry(now)  # only now anything begins
                self._crew.ready(event)
            case e.BootFailed():
                self._doomed(self._crew.boot_failed(event, now), now)
            case e.WorkerDied():
                self._doomed(self._crew.died(event, now), now)
                self._commits.at_once(now)  # attempts survive a restart by the commit
                if self._crew.cut_off:
                    self._ending.abandoned("what ran when all workers were ended")
            case e.Observed():
                self._crew.observed(event, now)
            case e.Replace():
                self._crew.staffing.replace(now)
            case e.CatchUp():
                self._ending.catch_up(event.targets)
            case e.StopRequested():
                self._stop(c.End.CLEAN, None, event.grace, now)
            case _:
                assert_never(event)
        self._go_on(now)
        return self._take_out()

    def deadline(self) -> float | None:
        """Return when `handle` wants a `Tick` if nothing else happens; None when it is over."""
        if self._ending.phase is Phase.OVER:
            return None
        times = [self._commits.deadline]
        times += [drain.deadline for drain in self._drains]
        look = None
        if self._ending.phase is Phase.RUNNING:
            look = self._flow.deadline()
        for due in (self._crew.deadline(), self._messages.deadline(), self._ending.deadline, look):
            if due is not None:
                times.append(due)
        suspects = self._messages.suspects.deadline()
        return min(times if suspects is None else [*times, suspects])

    def snapshot(self) -> Snapshot:
        """Return the counters and gauges of this moment."""
        messages, pool = self._messages, self._crew.pool
        return Snapshot(
            handled=messages.settling.handled,
            failed=messages.settling.failed,
            retried=messages.settling.retried,
            in_flight=sum(worker.open for worker in pool),
            held=self._flow.held,
            held_bytes=self._flow.held_bytes,
            paused=self._flow.paused,
            workers_ready=pool.count(State.IDLE, State.BUSY, State.RETIRING),
            workers_busy=pool.count(State.BUSY, State.RETIRING),
            restarts=pool.restarts,
            partitions=len(self._epochs),
            stalled=messages.settling.stalled + sum(epoch.unreadable for epoch in self._epochs),
            gone=self._gone,
            remaining=self._ending.remaining(self._epochs),
            elsewhere=self._ending.elsewhere(self._epochs),
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
            "pool": frozenset(self._crew.pool.visited),
            "ending": frozenset(self._ending.visited),
        }

    def _take_out(self) -> list[c.Command]:
        out = self._out[:]
        self._out.clear()
        return out

    def _go_on(self, now: float) -> None:
        """Do what is due, whatever happened."""
        running = self._ending.phase is Phase.RUNNING
        self._messages.due(now)
        self._crew.due(now)
        if self._drains:
            self._give_back(now, wait=running or self._ending.phase is Phase.DRAINING)
        if running:
            flow = self._flow
            self._out += flow.look(self._epochs, now)
            if flow.wanting:
                self._messages.let_in()
            if self._messages.suspects.any:
                self._commits.confirm(now)
            self._crew.dispatch.dispatch(now)
            self._out += flow.decide()
        self._commits.due(now)
        if self._ending.caught_up(self._epochs):
            self._stop(c.End.CLEAN, None, self._limits.grace, now)
        while self._advance_end(now):
            pass

    # -- partitions

    def _assigned(self, event: e.Assigned, now: float) -> None:
        # What is assigned again without a revoke in between was lost unheard.
        self._lost(event.partitions, now)
        begun = []
        running = self._ending.phase is Phase.RUNNING
        for partition, start in event.partitions.items():
            handler = self._routes.handler(partition.topic)
            epoch, report = self._epochs.begin(event.member, partition, handler, start)
            begun.append(epoch)
            if running:
                self._messages.suspects.begin(epoch, now)
            else:
                epoch.inherit()
            if report is not None:
                self._out.append(report)
        self._flow.share_out(self._epochs)
        if not running:
            self._messages.drain(begun)
        else:
            self._commits.hurry(now)

    def _lost(self, partitions: Iterable[TopicPartition], now: float) -> None:
        ended = self._epochs.end(partitions)
        self._messages.ended(ended)
        paused = tuple(epoch.partition for epoch in ended if epoch.stock.paused)
        if paused:
            # The pause may have come to its member behind the assignment that follows.
            self._out.append(c.Resume(paused))
        # What runs for nothing may end; what is not begun is not begun for nothing.
        self._crew.recalls.recall(now, ended)
        if self._ending.phase in (Phase.DRAINING, Phase.COMMITTING) and any(
            epoch.busy or epoch.unsettled() for epoch in ended
        ):
            # While it runs that is the group's matter; at the end somebody is told.
            self._ending.abandoned("what was done last: its partitions were lost uncommitted")

    def _revoked(self, event: e.Revoked, now: float) -> None:
        member = event.member
        epochs = [ep for p in event.partitions if (ep := self._epochs.of(member, p)) is not None]
        if self._messages.drain(epochs):
            self._commits.at_once(now)
        self._crew.recalls.recall(now, epochs)
        deadline = now + max(0.0, event.seconds)
        self._drains.append(Drain(event.member, event.partitions, epochs, deadline))

    def _give_back(self, now: float, wait: bool) -> None:
        """Release what is drained, or has waited long enough; all of it without `wait`."""
        for drain in list(self._drains):
            epochs = [epoch for epoch in drain.epochs if epoch.live]
            left = sum(epoch.busy for epoch in epochs)
            if wait and left and now < drain.deadline:
                continue
            if left:
                text = f"{left} messages were unfinished when partitions had to be given back"
                self._out.append(c.Report(c.Note.DRAIN_EXPIRED, failure=Failure("Drain", text)))
            self._messages.suspects.in_order(epochs)
            marks, reports = self._epochs.due(epochs)
            self._out += reports
            self._messages.ended(self._epochs.end([epoch.partition for epoch in epochs]))
            self._drains.remove(drain)
            self._out.append(c.Release(drain.member, drain.partitions, marks))

    def _positions(self, event: e.Positions) -> None:
        for partition, position in event.offsets.items():
            epoch = self._epochs.of(event.member, partition)
            # What an epoch that drains has passed over is below this position, and open.
            if epoch is not None and not epoch.draining:
                epoch.read_on()
                epoch.offsets.advance(position)

    def _gone_from_kafka(self, event: e.Gone) -> None:
        for partition, position in event.offsets.items():
            epoch = self._epochs.of(event.member, partition)
            if epoch is None or epoch.draining:
                continue  # its next owner begins below, and is told again
            first, count = epoch.offsets.position, epoch.offsets.unknown_below(position)
            epoch.read_on()
            epoch.offsets.advance(position)
            if count and first is not None:
                self._gone += count
                failure = Failure("Deleted", f"{count:,} below offset {position}")
                report = c.Report(c.Note.GONE, partition=partition, offset=first, failure=failure)
                self._out.append(report)

    def _unreadable(self, event: e.Unreadable) -> None:
        epoch = self._epochs.of(event.member, event.partition)
        if epoch is None or epoch.draining:
            return
        epoch.halt()
        note, failure = c.Note.UNREADABLE, Failure("Unreadable", event.text)
        report = c.Report(note, partition=event.partition, offset=event.offset, failure=failure)
        self._out.append(report)

    # -- the end

    def _doomed(self, doom: Doom | None, now: float) -> None:
        if doom is not None:
            self._stop(doom[0], doom[1], self._limits.grace, now)

    def _stop(self, end: c.End, failure: Failure | None, grace: float, now: float) -> None:
        if self._ending.begin(end, failure, grace, now):
            self._out.append(c.Fetching(False))
            if self._messages.drain(self._epochs):
                self._commits.at_once(now)
            self._crew.staffing.close(now)

    def _advance_end(self, now: float) -> bool:
        """Take one step towards the end, if it can be taken; return whether it was."""
        step = self._steps.get(self._ending.phase)
        if step is None or not step(self._ending.late(now), now):
            return False
        self._ending.advance(now)
        return True

    # Each is called until it returns that its phase is over, whose time may be used up.

    def _drain_all(self, late: bool, now: float) -> bool:
        ending, crew = self._ending, self._crew
        if crew.flying or self._messages.settling.delivering:
            if not late:
                return False
            ending.abandoned("what workers were handed and had not begun")
            crew.staffing.kill_all()
            if crew.flying:
                if not ending.hopeless:
                    return False
                crew.give_up()
            self._messages.settling.abandon()
        self._give_back(now, wait=False)
        self._messages.suspects.in_order(self._epochs)
        self._commits.commit()
        return True

    def _commit_all(self, late: bool, now: float) -> bool:
        if not self._epochs.settled():
            if not late:
                return False
            if self._epochs.owing():
                text = "what was finished last: Kafka did not confirm its commit"
                self._ending.abandoned(text)
        self._crew.staffing.dismiss_all(now)
        return True

    def _dismiss_all(self, late: bool, now: float) -> bool:
        ending, crew = self._ending, self._crew
        if len(crew.pool):
            if late:
                crew.staffing.kill_all()
            if not ending.hopeless:
                return False
        self._out.append(c.Stopped(ending.end, ending.failure))
        return True
