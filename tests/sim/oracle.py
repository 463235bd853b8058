"""What a supervisor has been told, kept without its code, and what may follow from that.

Every event passes through here before the supervisor sees it, every command before it is
carried out. The numbers in the failures are those of the invariants:
(1) nothing below a commit is unfinished, (2) commits never go back within an epoch, (3) and
only for owned partitions, (4) one runner per lane, its order kept, (5) what is held is
bounded, (6) everything ends handled, dead-lettered or given up, after its attempts, (7) a
stop ends within its time, (8) and leaves no process, (9) a clean stop redelivers nothing,
(10) a slow message holds up no other that needs not wait for it, (11) with a time limit, a
worker that is stopped between messages keeps none of them for long, (12) a run that gets on is
not given up, (13) only a message that ran alone, named in a commit, pays for its supervisor,
(14) while a worker idles, what is within its partition's share goes to work, and what has
nothing in memory is fetched, (15) there are as many workers as are wanted: each has a seat of its
own, the lowest that was free, and who sits beyond the target goes when its work is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.completion import decode
from kqworker.core.deliveries import TELL_SECONDS
from kqworker.core.suspects import TRIES
from kqworker.types import Ordering, Outcome, Output, Records, Task, TopicPartition, Verdict
from tests.sim.judge import must
from tests.sim.scenario import LETTERS, Message
from tests.sim.views import Entry, View

if TYPE_CHECKING:
    from tests.sim.life import Life


class Oracle:
    """The knowledge of one supervisor."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.views: dict[TopicPartition, View] = {}
        self.flights: dict[int, dict[int, InFlightTask]] = {}  # by worker and task
        self.status: dict[int, str] = {}  # of workers: starting, ready, leaving, killed
        self.leaving: dict[int, float] = {}  # since when
        self.killed: dict[int, float] = {}  # when, whatever they did
        self.undead: set[int] = set()  # who does not die of it, for long
        self.replaced: set[int] = set()  # who is to go when its tasks are done
        self.seats: dict[int, int] = {}  # of all workers that were started
        self.target = self.most = life.world.scenario.limits.workers  # `most` of them so far
        self.empty: deque[float] = deque()  # since when seats that are wanted have nobody
        self.tickets: dict[int, tuple[Entry, c.Produce, str]] = {}
        self.drains: dict[int, tuple[tuple[View, ...], float]] = {}  # by member: until when
        self.issuing: set[Entry] = set()
        self.leaving_views: set[View] = set()  # by this event
        self._stalls: dict[tuple[str, str], float] = {}  # when each was told last
        self.notes: list[tuple[c.ReportKind, TopicPartition, int, int]] = []  # due after this event
        self.handled = self.given_up = self.retried = 0
        self.stopping = False
        self.clean = True  # no drain has expired since the last release
        self._last_worker = 0
        self.owner = 0  # by which the supervisor's commits name it
        if life.world.scenario.limits.suspects:
            self.owner = 1 + int(Random(life.world.number).random() * 2.0**53)

    # -- events, before the supervisor sees them

    def before(self, event: e.Event, now: float) -> None:
        """Take an event in."""
        handle = getattr(self, "_on_" + type(event).__name__.lower(), None)
        if handle is not None:
            handle(event, now)

    def _of(self, member: int, partition: TopicPartition) -> View | None:
        """The epoch of a partition, if it is this member's."""
        view = self.views.get(partition)
        return view if view is not None and view.member == member else None

    def _on_assigned(self, event: e.Assigned, now: float) -> None:
        for partition, start in event.partitions.items():
            if partition in self.views:
                self.leaving_views.add(self.views[partition])
            view = self.views[partition] = View(event.member, partition, start, now, self.owner)
            view.draining = self.stopping
            if self.stopping and start.offset is not None:
                view.inherited = c.Mark(start.offset, start.metadata)

    def _on_lost(self, event: e.Lost, now: float) -> None:
        for partition in event.partitions:
            if self._of(event.member, partition) is not None:
                self.leaving_views.add(self.views.pop(partition))

    def _on_revoked(self, event: e.Revoked, now: float) -> None:
        found = (self._of(event.member, partition) for partition in event.partitions)
        views = tuple(view for view in found if view is not None)
        for view in views:
            view.draining = True
        self.drains[event.member] = views, now + event.seconds
        self.leaving_views.update(views)

    def _on_fetched(self, event: e.Fetched, now: float) -> None:
        for records in event.records:
            view = self._of(event.member, records.partition)
            if view is None or view.draining:
                continue
            view.unreadable = False
            log = self.life.world.logs[records.partition]
            for offset in records.offsets:
                if view.reached is not None and offset < view.reached:
                    continue
                view.reached = offset + 1
                if offset not in view.skip:
                    self._admit(view, log.at[offset], now)

    def _admit(self, view: View, message: Message, now: float) -> None:
        entry = Entry(view, message, view.attempts.get(message.offset, 0))
        if not view.open and view.full_since is not None:
            # What holds nothing is not paused, full as its map may be, and what it is to be
            # paused for may come long after: the time for that runs from now.
            view.full_since = now
        view.open[message.offset] = entry
        if view.committed < 0:
            view.committed = message.offset
        if entry.known >= message.policy.retry.attempts:
            self._dispose(entry, now)
            return
        ordering = message.policy.ordering
        if ordering is Ordering.PARTITION or (ordering is Ordering.KEY and message.key is not None):
            name = message.key if ordering is Ordering.KEY else None
            entry.lane = view.lanes.setdefault(name, deque())
            entry.lane.append(entry)

    def _on_positions(self, event: e.Positions, now: float) -> None:
        for partition, position in event.offsets.items():
            view = self._of(event.member, partition)
            if view is not None and not view.draining:
                view.reached = max(view.reached or 0, position)
                view.unreadable = False

    def _on_unreadable(self, event: e.Unreadable, now: float) -> None:
        view = self._of(event.member, event.partition)
        if view is not None and not view.draining:
            view.unreadable = True
            self.notes.append((c.ReportKind.UNREADABLE, event.partition, event.offset, 0))

    def _on_committed(self, event: e.Committed, now: float) -> None:
        for partition, mark in event.marks.items():
            view = self.views.get(partition)
            # An answer may be for a former epoch's commit.
            if view is not None and view.asked == mark:
                view.asked = None
                view.answered = now
                view.failed = event.error is not None
                view.failures = view.failures + 1 if view.failed else 0
                if not view.failed:
                    found = decode(mark.metadata, mark.offset)
                    view.told = () if found is None else found.begun
                view.announced = view.announced or not view.failed or view.failures >= TRIES
                if not view.failed:
                    view.confirmed = mark
                elif view.dirty is None and not self._as_before(view.confirmed, mark):
                    view.dirty = now

    @staticmethod
    def _as_before(confirmed: c.Mark | None, mark: c.Mark) -> bool:
        """Whether a mark differs from another at most in who has begun, and how far."""
        if confirmed is None or confirmed.offset != mark.offset:
            return False
        before, after = decode(*reversed(confirmed)), decode(*reversed(mark))
        if before is None or after is None:
            return False
        return (before.done, before.attempts) == (after.done, after.attempts)

    def _on_workerready(self, event: e.WorkerReady, now: float) -> None:
        if self.status.get(event.worker) == "starting":
            self.status[event.worker] = "ready"

    def _on_replace(self, event: e.Replace, now: float) -> None:
        self.replaced = set(self.status)

    def _on_scale(self, event: e.Scale, now: float) -> None:
        if not self.stopping:
            self.target, self.most = event.workers, max(self.most, event.workers)
            self.replaced |= {w for w in self.status if self.seats[w] >= self.target}

    def _on_bootfailed(self, event: e.BootFailed, now: float) -> None:
        self.status.pop(event.worker, None)

    def _on_finished(self, event: e.Finished, now: float) -> None:
        flight = self.flights.get(event.worker, {}).get(event.task)
        if flight is None:
            return
        flight.outcomes.update((o.index, o) for o in event.outcomes)
        flight.unstarted.update(event.unstarted)
        if event.complete:
            del self.flights[event.worker][event.task]
            flight.settle(self, now)

    def _on_workerdied(self, event: e.WorkerDied, now: float) -> None:
        status = self.status.pop(event.worker, None)
        self.leaving.pop(event.worker, None)
        charged = event.cause is not e.Cause.STOPPED and status != "killed"
        for number, flight in self.flights.pop(event.worker, {}).items():
            index = event.index if number == event.task else 0
            on = number == event.task and index < len(flight.entries)
            if on and index not in flight.outcomes and index not in flight.settled:
                if charged:
                    flight.outcomes[index] = Outcome(index, Verdict.RELEASE)
                else:
                    flight.unstarted.add(index)
            flight.unstarted.update(
                i for i in range(index, len(flight.entries)) if i not in flight.outcomes
            )
            flight.settle(self, now)

    def _on_observed(self, event: e.Observed, now: float) -> None:
        for worker, running in event.running.items():
            for number, flight in self.flights.get(worker, {}).items():
                if running is None or not running.task <= number <= running.recalled:
                    continue
                on = running.index if number == running.task else -1
                flight.unstarted.update(
                    i for i in range(on + 1, len(flight.entries)) if i not in flight.outcomes
                )
                flight.settle(self, now, on)

    def _on_delivered(self, event: e.Delivered, now: float) -> None:
        entry, command, state = self.tickets.pop(event.ticket)
        must(state == "open", "a ticket was answered twice", command)
        if self.views.get(entry.view.partition) is not entry.view or entry.state != "sinking":
            return
        if entry.letter != (command.output.topic == LETTERS):
            return  # another record of it was refused for good, so this one matters no more
        if event.failure is None:
            entry.waits -= 1
            if not entry.waits:
                if entry.letter:
                    self._note(c.ReportKind.DEAD_LETTERED, entry)
                self.finish(entry, now, failed=entry.letter)
        elif event.retriable or entry.letter:
            self.tickets[event.ticket] = (entry, command, "failed")
            if event.too_large and entry.letter and may_be_cut(command.output, entry):
                return
            kind = command.output.topic, event.failure.type
            # It is told at once, and then once a minute.
            if kind not in self._stalls or now >= self._stalls[kind] + TELL_SECONDS:
                self._stalls[kind] = now
                self._note(c.ReportKind.STALLED, entry, entry.known + (not entry.letter))
        else:
            entry.known += 1
            self._dispose(entry, now)

    # -- what follows for messages

    def _note(self, note: c.ReportKind, entry: Entry, attempt: int | None = None) -> None:
        """Something must be said of a message."""
        attempt = entry.known if attempt is None else attempt
        self.notes.append((note, entry.view.partition, entry.offset, attempt))

    def finish(self, entry: Entry, now: float, failed: bool = False) -> None:
        """Take a message for finished."""
        if failed:
            self.given_up += 1
        else:
            self.handled += 1
        if entry.view.dirty is None:
            entry.view.dirty = now
        self.leave_lane(entry)
        del entry.view.open[entry.offset]
        entry.view.finished.add(entry.offset)
        entry.state = "finished"

    def leave_lane(self, entry: Entry) -> None:
        if entry.lane is not None:
            entry.lane.remove(entry)
            entry.lane = None

    def _dispose(self, entry: Entry, now: float) -> None:
        """A message is out of attempts."""
        if entry.message.policy.dead_letter is None:
            self._note(c.ReportKind.GAVE_UP, entry)
            self.finish(entry, now, failed=True)
        else:
            entry.letter = True
            self.sink(entry, [b"letter"])

    def sink(self, entry: Entry, records: list[bytes]) -> None:
        """Let a message wait for its records."""
        self.leave_lane(entry)
        entry.state = "sinking"
        entry.waits = len(records)
        entry.unissued = records
        self.issuing.add(entry)

    def failed(self, entry: Entry, outcome: Outcome, now: float) -> None:
        """A message has used one more attempt."""
        entry.known += 1
        policy = entry.message.policy
        if outcome.verdict is Verdict.REJECT or entry.known >= policy.retry.attempts:
            self._dispose(entry, now)
        elif entry.view.draining:
            entry.state = "parked"
        else:
            self.retried += 1
            self._note(c.ReportKind.RETRYING, entry)
            entry.state = "waiting"
            least = delay = outcome.delay or 0.0
            if outcome.delay is None:
                delay = policy.retry.first * policy.retry.factor ** (entry.known - 1)
                delay = min(delay, policy.retry.cap)
                least = delay * (0.5 if policy.retry.jitter else 1.0)
            entry.due, entry.latest = now + least - 1e-9, now + delay

    def open_of(self, worker: int) -> int:
        """How many messages a worker has that are not settled."""
        flights = self.flights.get(worker, {}).values()
        return sum(len(flight.entries) - len(flight.settled) for flight in flights)

    @property
    def held(self) -> int:
        return sum(len(view.open) for view in self.views.values())

    @property
    def held_bytes(self) -> int:
        return sum(entry.size for view in self.views.values() for entry in view.open.values())


class InFlightTask:
    """A task that a worker has."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.outcomes: dict[int, Outcome] = {}
        self.unstarted: set[int] = set()
        self.settled: set[int] = set()

    def settle(self, oracle: Oracle, now: float, running: int = -1) -> None:
        """Every message of it, but one, was accepted, failed, or was not begun."""
        for index, entry in enumerate(self.entries):
            if index == running or index in self.settled:
                continue
            self.settled.add(index)
            if oracle.views.get(entry.view.partition) is not entry.view:
                continue
            outcome = self.outcomes.get(index)
            accepted = outcome is not None and outcome.verdict is Verdict.ACCEPT
            if accepted and entry.message.comes_round:
                entry.known += 1
                oracle._dispose(entry, now)
            elif outcome is not None and outcome.verdict is Verdict.ACCEPT:
                oracle.sink(entry, [o.value or b"" for o in outcome.outputs])
            elif outcome is not None:
                oracle.failed(entry, outcome, now)
            elif index in self.unstarted:
                entry.state = "parked" if entry.view.draining else "waiting"
            else:
                oracle.finish(entry, now)


def entries_of(oracle: Oracle, task: Task) -> Iterable[tuple[Entry | None, Records, int, int]]:
    """Yield each message of a task: its entry, its segment, its place there, its attempt."""
    for segment in task.segments:
        view = oracle.views.get(segment.records.partition)
        for i, offset in enumerate(segment.records.offsets):
            entry = None if view is None else view.open.get(offset)
            yield entry, segment.records, i, segment.attempt


def coverage(mark: c.Mark) -> tuple[set[int], Mapping[int, int]]:
    """Return what a mark's map says is finished, and the attempts in it."""
    found = decode(mark.metadata, mark.offset)
    must(found is not None, "(1) a mark has a map that cannot be read", mark)
    assert found is not None
    return {offset for run in found.done for offset in range(*run)}, found.attempts


def may_be_cut(letter: Output, entry: Entry) -> bool:
    """Whether a dead letter that is too large is made smaller at once."""
    if any(name == "kqworker-error-text" for name, _ in letter.headers):
        return True  # it goes without that first
    return bool(letter.value) and entry.message.policy.dead_letter_overflow == "truncate"
