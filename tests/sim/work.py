"""Checks what is done with messages: who runs them, which records they lead to, what is said.

Each command is checked against what the supervisor was told; the numbers are those of the
invariants in `oracle`.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.circles import MOST, RESULTS
from kqworker.core.epochs import Epoch
from kqworker.core.pool import LONGEST_SECONDS
from kqworker.core.shutdown import DISMISS_SECONDS
from kqworker.core.time_limits import QUIET_SECONDS
from kqworker.types import Ordering, TopicPartition
from tests.sim.judge import must
from tests.sim.oracle import InFlightTask, Oracle, entries_of, may_be_cut
from tests.sim.scenario import LETTERS
from tests.sim.views import Entry, View

if TYPE_CHECKING:
    from tests.sim.life import Life

# What the simulated world itself may take to carry commands out.
SLACK = 1.5
# So long a slow message may hold up others: until it is found to be slow and looked at.
HELD_UP = 0.5
# What a worker does may be that long ago when a command that comes of it is checked.
UNSEEN = 0.1
ABOUT_MESSAGES = (
    c.ReportKind.RETRYING,
    c.ReportKind.GAVE_UP,
    c.ReportKind.DEAD_LETTERED,
    c.ReportKind.STALLED,
    c.ReportKind.UNREADABLE,
)


class WorkChecks:
    """The checks of what is done with messages.

    Attributes:
        excused: Work was left undone by force, so the end may be unclean.
        named_as_left: A message was named as abandoned, so the end must be unclean.
    """

    def __init__(self, life: Life, oracle: Oracle) -> None:
        self.life = life
        self.oracle = oracle
        self.excused = False
        self.named_as_left = False
        self._choosable: set[Entry] = set()  # when the last suspect was sent

    def owned(self, partition: TopicPartition) -> View:
        """Return the epoch of a partition that must be owned."""
        view = self.oracle.views.get(partition)
        must(view is not None, "(3) a partition is not owned", partition)
        assert view is not None
        return view

    # -- what is said

    def check_said(self, event: e.Event | None, commands: list[c.Command]) -> None:
        """Check that what became of messages is said, and nothing else is."""
        said = sorted(
            (report.kind.value, report.partition, report.offset, report.attempt)
            for report in commands
            if isinstance(report, c.Report) and report.kind in ABOUT_MESSAGES
        )
        due = sorted((note.value, *about) for note, *about in self.oracle.notes)
        self.oracle.notes.clear()
        must(said == due, "what was said is not what happened", event, said, due)

    def check_recalled(self, event: e.Event | None, commands: list[c.Command]) -> None:
        """Check that what is not begun is asked back where it is not to be begun."""
        oracle = self.oracle
        if isinstance(event, e.StopRequested) and not oracle.stopping:
            having = {worker for worker, flights in oracle.flights.items() if any(flights)}
        elif oracle.leaving_views:
            having = {
                worker
                for worker, flights in oracle.flights.items()
                for flight in flights.values()
                if any(entry.view in oracle.leaving_views for entry in flight.entries)
            }
            oracle.leaving_views.clear()
        else:
            return
        asked = {x.worker for x in commands if isinstance(x, c.Recall)}
        must(having <= asked, "what is not begun was not asked back", event, having, asked)

    # -- records

    def _on_produce(self, command: c.Produce, now: float) -> None:
        oracle = self.oracle
        known = oracle.tickets.get(command.ticket)
        if known is not None:
            entry, before, state = known
            must(state == "failed", "produced again before it was answered", command)
            same = before.output == command.output
            if not same and state == "failed" and before.output.topic == LETTERS:
                self._check_letter(command, entry)  # what was added to it may be left out
                same = len(command.output.headers) < len(before.output.headers)
                same = same or may_be_cut(before.output, entry)
            must(same, "another record on a ticket", command)
            oracle.tickets[command.ticket] = (entry, command, "open")
            return
        message = self.life.world.origin(command.output)
        view = self.owned(message.partition)
        found = view.open.get(message.offset)
        must(found is not None and found.state == "sinking", "nobody pushed that", command, found)
        assert found is not None
        letter = command.output.topic == LETTERS
        must(letter or not message.comes_round, "(6) it comes round for ever", command)
        name = b"letter" if letter else command.output.value or b""
        must(name in found.unissued, "nobody asked for that record", command, found)
        found.unissued.remove(name)
        oracle.tickets[command.ticket] = (found, command, "open")
        if letter:
            self._check_letter(command, found)

    def _check_letter(self, command: c.Produce, entry: Entry) -> None:
        message, output = entry.message, command.output
        headers = dict(output.headers)
        must(message.exhausted, "(6) dead-lettered before its time", message)
        must(
            headers["kqworker-attempts"] == str(entry.known).encode(),
            "(6) a dead letter tells wrong attempts",
            headers,
            entry,
        )
        cut = "kqworker-truncated" in headers
        whole = (
            (message.value or b"").startswith(output.value or b"")
            if cut
            else (output.value == message.value)
        )
        must(output.key == message.key and whole, "not as it came", output)
        own = [name for name, _ in output.headers if not name.startswith("kqworker-")]
        must(own == (["trace"] if message.headers else []), "not as it came", output)
        row = b"%d" % MOST if message.headers else None
        must(headers.get(RESULTS) == row, "(6) a dead letter begins a new row", output)

    # -- workers

    def _on_startworker(self, command: c.StartWorker, now: float) -> None:
        oracle = self.oracle
        must(command.worker > oracle._last_worker, "a worker's number is used again", command)
        oracle._last_worker = command.worker
        taken = {oracle.seats[worker] for worker in oracle.status}
        lowest = next(seat for seat in itertools.count() if seat not in taken)
        must(command.seat == lowest, "(15) not the lowest seat that is free", command, taken)
        must(command.seat < oracle.target, "(15) nobody wants so many workers", command)
        oracle.seats[command.worker] = command.seat
        oracle.status[command.worker] = "starting"
        must(len(oracle.status) <= oracle.most, "too many workers", oracle.status)
        must(not self.oracle.stopping, "(8) a worker is started during a stop", command)

    def _on_send(self, command: c.Send, now: float) -> None:
        oracle, worker, task = self.oracle, command.worker, command.task
        must(oracle.status.get(worker) == "ready", "sent to who is not ready", worker)
        must(worker not in oracle.replaced, "sent to who is to be replaced", worker)
        flights = oracle.flights.setdefault(worker, {})
        must(len(flights) < 2, "a third task for a worker", worker)
        must(not self.oracle.stopping, "begun during a stop", task)
        entries: list[Entry] = []
        heads: dict[int, int] = {}
        last: dict[TopicPartition, int] = {}
        for entry, records, i, attempt in entries_of(oracle, task):
            offset = records.offsets[i]
            must(entry is not None, "sent what is not open", task.id, records.partition, offset)
            assert entry is not None
            message = entry.message
            must(entry.state == "waiting", "(4) sent what another has, or none should", entry)
            must(not entry.view.draining, "sent from an epoch that drains", entry)
            must(attempt == entry.known + 1, "(6) a wrong attempt", attempt, entry)
            must(now >= entry.due, "sent before its delay is over", now, entry.due, entry)
            must(records.values[i] == message.value, "another payload", entry)
            must((records.keys[i] if records.keys else None) == message.key, "another key", entry)
            policy = self.life.world.scenario.policies[task.handler]
            must(policy is message.policy and task.ordering is policy.ordering, "another handler")
            if entry.lane is not None:
                place = heads.get(id(entry.lane), 0)
                must(entry.lane[place] is entry, "(4) out of its lane's order", entry)
                heads[id(entry.lane)] = place + 1
                if policy.ordering is Ordering.KEY:
                    must(offset > last.get(records.partition, -1), "(4) not in order", entry)
                    last[records.partition] = offset
            entries.append(entry)
        must(entries and len(task) == len(entries), "an empty task", task)
        self._check_alone(entries)
        for entry in entries:
            entry.state = "out"
            entry.sent = True
        flights[task.id] = InFlightTask(entries)

    def _check_alone(self, entries: list[Entry]) -> None:
        """Who is named in a commit as begun runs alone; suspects are named before they begin."""
        oracle = self.oracle
        named = [x for x in entries if x.offset in x.view.told]
        others = [f for flights in oracle.flights.values() for f in flights.values()]
        must(not named or not others, "(13) a suspect is not alone", named, others)
        must(len(entries) == 1 or not named, "(13) a suspect is not alone", entries)
        must(not self._suspects(), "(13) begun beside a suspect", entries)
        for entry in entries:
            entry.alone = entry in named
        if self.life.world.scenario.strict:
            for entry in entries:
                suspect = entry.offset < entry.view.below and not entry.sent
                must(entry in named or not suspect, "(13) begun without a name", entry)
            scenario = self.life.world.scenario
            if named and scenario.limits.messages >= len(scenario.arrivals):
                self._check_order(named[0])  # nobody is beyond the share of a partition

    def check_named(self, partition: TopicPartition) -> None:
        """Whoever is named pays if the supervisor ends: so nobody else may be at work."""
        flights = (f for flights in self.oracle.flights.values() for f in flights.values())
        others = [x for f in flights for x in f.entries if x.state == "out" and not x.alone]
        must(not others, "(13) named while others run", partition, others)

    def _check_order(self, first: Entry) -> None:
        """Of those not tried yet, who has more suspects of its partition below it comes first.

        Looked at is who could be chosen already when the last one was sent: what has come, or
        was confirmed, since then may be too late.
        """
        views = [v for v in self.oracle.views.values() if v.announced and not v.failed]
        places = {x: place for v in views for place, x in enumerate(v.suspects())}
        judged = first in places and first.known == 0
        for other in self._choosable & set(places) if judged else ():
            may_wait = other.known or other.view.draining
            must(may_wait or places[other] <= places[first], "(13) out of turn", first, other)
        self._choosable = set(places) - {first}

    def _suspects(self) -> list[Entry]:
        """The suspects that run; one whose partition was lost meanwhile may kill all the same."""
        flights = (f for flights in self.oracle.flights.values() for f in flights.values())
        return [x for f in flights for x in f.entries if x.state == "out" and x.alone]

    def _on_recall(self, command: c.Recall, now: float) -> None:
        must(self.oracle.flights.get(command.worker), "recalled from who has nothing", command)

    def _on_observe(self, command: c.Observe, now: float) -> None:
        for worker in command.workers:
            must(self.oracle.flights.get(worker), "observed who does nothing", worker)

    def _on_killworker(self, command: c.KillWorker, now: float) -> None:
        status = self.oracle.status
        if command.only is None:
            must(status.get(command.worker) not in (None, "killed"), "killed twice", command)
            status[command.worker] = "killed"
            self.oracle.killed[command.worker] = now
            if self.oracle.flights.get(command.worker):
                self.excused = True
            return
        worker = self.life.workers[command.worker]
        must(command.worker in status, "killed who is dead", command)
        if isinstance(command.only, c.OnNone):
            # It may have got on since it was looked at.
            quiet = not QUIET_SECONDS > now - worker.told_at > UNSEEN
            must(quiet and self._limits(command.worker), "(11) killed though it gets on", command)
            return
        if worker.running is not None and worker.observed() == e.Running(
            command.only.task, command.only.index, worker.started
        ):
            limit = worker.running.policy.time_limit
            must(limit is not None, "killed without a limit", command)
            must(now >= worker.started + (limit or 0.0), "killed before its time", command)

    def _on_stopworker(self, command: c.StopWorker, now: float) -> None:
        oracle = self.oracle
        must(oracle.status.get(command.worker) == "ready", "stopped who is not ready", command)
        must(not oracle.flights.get(command.worker), "stopped who has work", command)
        oracle.status[command.worker] = "leaving"
        oracle.leaving[command.worker] = now

    def check_seats(self, now: float) -> None:
        """There are as many workers as are wanted, or soon will be."""
        oracle, target = self.oracle, self.oracle.target
        seated = {oracle.seats[worker]: worker for worker in oracle.status}
        must(len(seated) == len(oracle.status), "(15) two workers on one seat", oracle.status)
        if oracle.stopping:
            return
        for seat, worker in seated.items():
            busy = oracle.flights.get(worker) and oracle.status[worker] == "ready"
            going = oracle.status[worker] in ("leaving", "killed")
            must(seat < target or busy or going, "(15) kept beyond the target", worker, seat)
        empty = set(range(target)) - seated.keys()
        # Whoever comes takes the lowest seat, and counts for the one that is empty for longest.
        while len(oracle.empty) > len(empty):
            oracle.empty.popleft()
        while len(oracle.empty) < len(empty):
            oracle.empty.append(now)
        late = oracle.empty and now > oracle.empty[0] + LONGEST_SECONDS + SLACK
        must(not late, "(15) a seat stays empty", empty, oracle.empty)

    def check_leaving(self, now: float) -> None:
        """Nobody hangs in its stop hooks."""
        for worker, since in self.oracle.leaving.items():
            undead = worker in self.oracle.undead
            must(
                undead or now <= since + DISMISS_SECONDS + SLACK,
                "left to hang in its hooks",
                worker,
                now,
            )

    def check_held_up(self, now: float) -> None:
        """Who is on one message for long has no other."""
        for number, worker in self.life.workers.items():
            if worker.running is not None and now > worker.started + HELD_UP:
                left = self.oracle.open_of(number)
                must(
                    left <= 1 or worker.doomed, "(10) a slow message holds up others", number, left
                )

    def check_quiet(self, now: float) -> None:
        """Who is on no message, and tells nothing, keeps none for long where there are limits."""
        for number, worker in self.life.workers.items():
            limits = self._limits(number)
            if limits and worker.tasks and worker.running is None and not worker.doomed:
                by = worker.quiet_since + max(limits) + QUIET_SECONDS + SLACK
                must(now <= by, "(11) a stopped worker keeps its messages", number, now, by)

    def _limits(self, worker: int) -> list[float]:
        """The time limits of the handlers whose messages a worker has."""
        flights = self.oracle.flights.get(worker, {}).values()
        limits = (entry.message.policy.time_limit for f in flights for entry in f.entries)
        return [limit for limit in limits if limit is not None]

    def check_idle(self, now: float) -> None:
        """Nobody idles while something could run."""
        oracle = self.oracle
        if self.oracle.stopping or not any(
            status == "ready" and not oracle.flights.get(worker)
            for worker, status in oracle.status.items()
        ):
            return
        if self._suspects() or any(view.guarded() for view in oracle.views.values()):
            return
        for view in oracle.views.values():
            for entry in view.open.values() if not view.draining else ():
                if entry.state == "waiting" and entry.latest < now and not self.is_ahead(entry):
                    behind = entry.lane is not None and entry.lane[0] is not entry
                    must(behind, "a worker idles while something waits", entry, now)

    def is_ahead(self, entry: Entry) -> bool:
        """Whether a message was fetched ahead of its turn."""
        epoch = self.life.supervisor._epochs.get(entry.view.partition)
        return epoch is not None and entry.offset >= first_ahead(epoch)


def first_ahead(epoch: Epoch) -> float:
    """Return the first offset that was fetched ahead."""
    if not epoch.stock._ahead:
        return math.inf
    records, start, _ = epoch.stock._ahead[0]
    return records.offsets[start]


def busy_of(oracle: Oracle, views: tuple[View, ...]) -> list[Entry]:
    """Return what a drain waits for."""
    owned = [view for view in views if oracle.views.get(view.partition) is view]
    return [x for v in owned for x in v.open.values() if x.state in ("out", "sinking")]
