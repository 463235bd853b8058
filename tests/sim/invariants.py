"""Checks each command against what the supervisor was told (oracle) and against the truth.

A check either says nothing or raises `Violation`. The truth is the world's: what handlers
really returned, which records are really in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.ending import COMMIT_SECONDS, DISMISS_SECONDS
from kqworker.types import Ordering, TopicPartition
from tests.sim.oracle import Entry, Flight, Oracle, View, coverage, entries_of, must
from tests.sim.scenario import LETTERS

if TYPE_CHECKING:
    from tests.sim.life import Life

# What the simulated world itself may take to carry commands out.
SLACK = 1.5


class Invariants:
    """The checks of one supervisor's life."""

    def __init__(self, life: Life, oracle: Oracle) -> None:
        self.life = life
        self.oracle = oracle
        self.stop_by: float | None = None
        self._grace_ends: float | None = None
        self._excused = False  # somebody was killed at work, so the end may be unclean
        self.owned_at_stop: set[TopicPartition] = set()
        self._event: e.Event | None = None
        self._verified = life.world.verified
        self._reports: list[c.Report] = []
        self._paused: set[TopicPartition] = set()
        self._paused_once = False
        self._fetching = True
        self._events = 0

    def commands(self, event: e.Event | None, commands: list[c.Command], now: float) -> None:
        """Check what one event led to, before it is carried out."""
        self._event = event
        self._reports = [command for command in commands if isinstance(command, c.Report)]
        for command in commands:
            getattr(self, "_on_" + type(command).__name__.lower())(command, now)
        oracle = self.oracle
        must(not any(x.unissued for x in oracle.issuing), "a record was not produced", event)
        oracle.issuing.clear()
        if isinstance(event, e.StopRequested):
            self._begin_stop(now, event.grace)
        if self._grace_ends is not None and now >= self._grace_ends:
            # It may still be done while the end waits for commits; the end is unclean then, too.
            self._excused = self._excused or bool(_busy(oracle, tuple(oracle.views.values())))
        for views, by in oracle.drains.values():
            must(now <= by + SLACK, "a revoke was not answered in time", now, by)
            must(_busy(oracle, views), "drained, but not given back", views)
        for worker, since in oracle.leaving.items():
            must(now <= since + DISMISS_SECONDS + SLACK, "left to hang in its hooks", worker, now)
        self._events += 1
        if self._events % 4 == 0 or isinstance(event, e.Fetched | e.Lost):
            self._check_held()
            self._check_idle(now)

    # -- commits

    def _on_commit(self, command: c.Commit, now: float) -> None:
        must(command.marks, "an empty commit", command)
        for partition, mark in command.marks.items():
            view = self._owned(partition)
            must(not view.asked, "a second commit is under way", partition, mark)
            view.asked = True
            self._check_mark(view, mark)

    def _on_release(self, command: c.Release, now: float) -> None:
        oracle = self.oracle
        drained = oracle.drains.pop(command.member, None)
        must(drained is not None, "a release without a revoke", command)
        assert drained is not None
        expired = any(report.note is c.Note.DRAIN_EXPIRED for report in self._reports)
        busy = _busy(oracle, drained[0])
        self._excused = self._excused or bool(busy)
        must(expired == bool(busy), "drained, or not, and not said so", command, busy)
        must(not busy or now >= drained[1] or self.stop_by, "given back early", command, busy)
        views = [v for v in drained[0] if oracle.views.get(v.partition) is v]
        for partition, mark in command.marks.items():
            must(partition in command.partitions, "(3) released what was not revoked", command)
            self._check_mark(self._owned(partition), mark)
        for view in views:
            mark = command.marks.get(view.partition)
            if mark is None:
                mark = self.life.world.group.committed.get(view.partition)
            self._check_covered(view, mark)
            del oracle.views[view.partition]
            self._paused.discard(view.partition)

    def _owned(self, partition: TopicPartition) -> View:
        view = self.oracle.views.get(partition)
        must(view is not None, "(3) committed what is not owned", partition)
        assert view is not None
        return view

    def _check_mark(self, view: View, mark: c.Mark) -> None:
        partition = view.partition
        must(mark.offset >= view.committed, "(2) a commit goes back", partition, mark)
        must(mark.offset <= (view.reached or 0), "(1) a commit is ahead of all", partition, mark)
        view.committed = mark.offset
        log = self.life.world.logs[partition]
        at = self._verified[partition]
        while at < len(log.messages) and log.messages[at].offset < mark.offset:
            message = log.messages[at]
            must(message.settled(), "(1) a commit passes what is unfinished", mark, message)
            at += 1
        self._verified[partition] = at
        done, _ = coverage(mark)
        for offset in done:
            message = log.at.get(offset)
            must(not message or message.settled(), "(1) a map claims too much", mark, message)
        above = any(offset > mark.offset for offset in view.finished)
        view.full = view.full and not mark.metadata
        if not mark.metadata and (above or any(x.known for x in view.open.values())):
            must(view.full, "a map was left out and nobody told", partition, mark)

    def _check_covered(self, view: View, mark: c.Mark | None) -> None:
        """Check that a successor redelivers nothing that was finished, and charges as before."""
        if mark is None or (not mark.metadata and view.full):
            return
        done, attempts = coverage(mark)
        again = [o for o in view.finished if o >= mark.offset and o not in done]
        must(not again, "(9) a clean end redelivers", view.partition, mark, again)
        for entry in view.open.values():
            if entry.known and entry.state != "sinking":
                must(
                    attempts.get(entry.offset) == entry.known,
                    "(6) attempts are forgotten",
                    mark,
                    entry,
                )

    # -- fetching

    def _on_fetching(self, command: c.Fetching, now: float) -> None:
        self._fetching = command.on
        if not command.on and self.life.ending():
            asked = isinstance(self._event, e.StopRequested)
            self._begin_stop(now, 1e9 if asked else self.life.world.scenario.limits.grace)

    def _on_pause(self, command: c.Pause, now: float) -> None:
        for partition in command.partitions:
            must(partition not in self._paused, "paused twice", partition)
            self._owned(partition)
            self._paused.add(partition)
        self._paused_once = True

    def _on_resume(self, command: c.Resume, now: float) -> None:
        for partition in command.partitions:
            must(partition in self._paused, "resumed what is not paused", partition)
            self._paused.discard(partition)

    def assigned(self, partitions: Mapping[TopicPartition, e.Start]) -> None:
        """The source ends pauses with the assignment."""
        self._paused.difference_update(partitions)

    def _check_held(self) -> None:
        oracle, limits = self.oracle, self.life.world.scenario.limits
        snapshot = self.life.supervisor.snapshot()
        held, size = oracle.held, oracle.held_bytes
        must(snapshot.held == held, "(5) held is miscounted", snapshot.held, held)
        must(snapshot.held_bytes == size, "(5) bytes are miscounted", snapshot.held_bytes, size)
        partitions = len(self.life.world.logs)
        # A batch is on its way while `Fetching` is, one a member; and more by latency.
        batches = 3 * self.life.world.scenario.batch * partitions
        times = 2 if self._paused_once else 1
        must(held <= times * limits.messages + batches, "(5) too much is held", held)
        must(size <= times * limits.size + 12 * batches, "(5) too many bytes are held", size)
        flying = sum(len(f.entries) for fs in oracle.flights.values() for f in fs.values())
        must(snapshot.in_flight == flying, "in flight is miscounted", snapshot, flying)
        must(snapshot.partitions == len(oracle.views), "partitions are miscounted", snapshot)

    # -- records

    def _on_produce(self, command: c.Produce, now: float) -> None:
        oracle = self.oracle
        known = oracle.tickets.get(command.ticket)
        if known is not None:
            entry, before, state = known
            must(state == "failed", "produced again before it was answered", command)
            must(before.output == command.output, "another record on a ticket", command)
            oracle.tickets[command.ticket] = (entry, command, "open")
            return
        message = self.life.world.origin(command.output)
        view = self._owned(message.partition)
        found = view.open.get(message.offset)
        must(found is not None and found.state == "sinking", "nobody pushed that", command, found)
        assert found is not None
        letter = command.output.topic == LETTERS
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
        must((output.key, output.value) == (message.key, message.value), "not as it came", output)
        own = [name for name, _ in output.headers if not name.startswith("kqworker-")]
        must(own == (["trace"] if message.headers else []), "not as it came", output)

    # -- workers

    def _on_startworker(self, command: c.StartWorker, now: float) -> None:
        oracle = self.oracle
        must(command.worker > oracle._last_worker, "a worker's number is used again", command)
        oracle._last_worker = command.worker
        oracle.status[command.worker] = "starting"
        size = self.life.world.scenario.limits.workers
        must(len(oracle.status) <= size, "too many workers", oracle.status)
        must(not self.oracle.stopping, "(8) a worker is started during a stop", command)

    def _on_send(self, command: c.Send, now: float) -> None:
        oracle, worker, task = self.oracle, command.worker, command.task
        must(oracle.status.get(worker) == "ready", "sent to who is not ready", worker)
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
        for entry in entries:
            entry.state = "out"
        flights[task.id] = Flight(entries)

    def _on_recall(self, command: c.Recall, now: float) -> None:
        must(self.oracle.flights.get(command.worker), "recalled from who has nothing", command)

    def _on_observe(self, command: c.Observe, now: float) -> None:
        for worker in command.workers:
            must(self.oracle.flights.get(worker), "observed who does nothing", worker)

    def _on_killworker(self, command: c.KillWorker, now: float) -> None:
        status = self.oracle.status
        if command.task is None:
            must(status.get(command.worker) not in (None, "killed"), "killed twice", command)
            status[command.worker] = "killed"
            if self.oracle.flights.get(command.worker):
                self._excused = True
            return
        worker = self.life.workers[command.worker]
        must(command.worker in status, "killed who is dead", command)
        if worker.running is not None and worker.observed() == e.Running(
            command.task, command.index, worker.started
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

    def _check_idle(self, now: float) -> None:
        """Nobody idles while something could run."""
        oracle = self.oracle
        if self.oracle.stopping or not any(
            status == "ready" and not oracle.flights.get(worker)
            for worker, status in oracle.status.items()
        ):
            return
        for view in oracle.views.values():
            for entry in view.open.values() if not view.draining else ():
                if entry.state == "waiting" and entry.latest < now:
                    behind = entry.lane is not None and entry.lane[0] is not entry
                    must(behind, "a worker idles while something waits", entry, now)

    # -- the end

    def _begin_stop(self, now: float, grace: float) -> None:
        if not self.oracle.stopping:
            self.owned_at_stop = set(self.oracle.views)
        self.oracle.stopping = True
        for view in self.oracle.views.values():
            view.draining = True
        by = now + grace + COMMIT_SECONDS + DISMISS_SECONDS + SLACK
        self.stop_by = by if self.stop_by is None else min(by, self.stop_by)
        end = now + grace
        self._grace_ends = end if self._grace_ends is None else min(end, self._grace_ends)

    def _on_report(self, command: c.Report, now: float) -> None:
        if command.note is c.Note.MAP_FULL and command.partition is not None:
            self._owned(command.partition).full = True

    def _on_stopped(self, command: c.Stopped, now: float) -> None:
        oracle, life = self.oracle, self.life
        must(not oracle.status, "(8) stopped with workers alive", oracle.status)
        must(not oracle.drains, "stopped without giving back what was revoked", oracle.drains)
        life.check_end(command)
        if command.end is c.End.ABANDONED:
            left = any(
                view.asked or view.failed or _busy(oracle, (view,))
                for view in oracle.views.values()
            )
            must(left or self._excused, "nothing was abandoned", oracle.views)
        if command.end is not c.End.CLEAN:
            return
        for view in oracle.views.values():
            must(
                not any(x.state in ("out", "sinking") for x in view.open.values()),
                "a clean stop abandons",
                view.open,
            )
            member = life.members[view.member]
            if view.partition in member.assigned:
                self._check_covered(view, life.world.group.committed.get(view.partition))


def _busy(oracle: Oracle, views: tuple[View, ...]) -> list[Entry]:
    """Return what a drain waits for."""
    owned = [view for view in views if oracle.views.get(view.partition) is view]
    return [x for v in owned for x in v.open.values() if x.state in ("out", "sinking")]
