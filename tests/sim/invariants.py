"""Checks each command against what the supervisor was told (oracle) and against the truth.

A check either says nothing or raises `Violation`. The truth is the world's: what handlers
really returned, which records are really in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.completion import decode
from kqworker.core.shutdown import COMMIT_SECONDS, DEATH_SECONDS, DISMISS_SECONDS
from kqworker.types import TopicPartition
from tests.sim.judge import must
from tests.sim.oracle import Oracle, coverage
from tests.sim.shares import ShareChecks
from tests.sim.views import View
from tests.sim.work import SLACK, busy_of

if TYPE_CHECKING:
    from tests.sim.life import Life


# Until all whom a stop kills are dead.
KILL_SECONDS = 0.3


class Invariants(ShareChecks):
    """The checks of one supervisor's life."""

    def __init__(self, life: Life, oracle: Oracle) -> None:
        super().__init__(life, oracle)
        self.stop_by: float | None = None
        self._grace_ends: float | None = None
        self.owned_at_stop: set[TopicPartition] = set()
        self._event: e.Event | None = None
        self._verified = life.world.verified
        self._reports: list[c.Report] = []
        self._paused: set[TopicPartition] = set()
        self._outlived: set[TopicPartition] = set()  # paused when they were lost, by this event
        self._events = 0

    def commands(self, event: e.Event | None, commands: list[c.Command], now: float) -> None:
        """Check what one event led to, before it is carried out."""
        self._event = event
        self.check_recalled(event, commands)
        self._reports = [command for command in commands if isinstance(command, c.Report)]
        for command in commands:
            getattr(self, "_on_" + type(command).__name__.lower())(command, now)
        must(not self._outlived, "a pause outlives its epoch", self._outlived)
        oracle = self.oracle
        must(not any(x.unissued for x in oracle.issuing), "(6) a record was not produced", event)
        oracle.issuing.clear()
        self.check_said(event, commands)
        if isinstance(event, e.StopRequested):
            self._begin_stop(now, event.grace)
        if self._grace_ends is not None and now >= self._grace_ends:
            # It may still be done while the end waits for commits; the end is unclean then, too.
            self.excused = self.excused or bool(busy_of(oracle, tuple(oracle.views.values())))
            working = [
                w for w, flights in oracle.flights.items() if flights and w not in oracle.undead
            ]
            late = now > self._grace_ends + KILL_SECONDS
            must(not (late and working), "(7) work goes on behind the grace", now, working)
        for views, by in oracle.drains.values():
            must(now <= by + SLACK, "a revoke was not answered in time", now, by)
            must(busy_of(oracle, views), "drained, but not given back", views)
        self.check_leaving(now)
        self.check_seats(now)
        self._events += 1
        if self._events % 4 == 0 or isinstance(event, e.Fetched | e.Lost):
            self._check_held()
            self.check_idle(now)
            self.check_held_up(now)
            self.check_quiet(now)
            self._check_timely(now)

    # -- commits

    def _on_commit(self, command: c.Commit, now: float) -> None:
        must(command.marks, "an empty commit", command)
        for partition, mark in command.marks.items():
            view = self.owned(partition)
            must(view.asked is None, "a second commit is under way", partition, mark)
            view.asked = mark
            view.dirty = None
            self._check_mark(view, mark)

    def _on_release(self, command: c.Release, now: float) -> None:
        oracle = self.oracle
        drained = oracle.drains.pop(command.member, None)
        must(drained is not None, "a release without a revoke", command)
        assert drained is not None
        expired = any(report.kind is c.ReportKind.DRAIN_EXPIRED for report in self._reports)
        busy = busy_of(oracle, drained[0])
        self.excused = self.excused or bool(busy)
        must(expired == bool(busy), "drained, or not, and not said so", command, busy)
        must(not busy or now >= drained[1] or self.stop_by, "given back early", command, busy)
        views = [v for v in drained[0] if oracle.views.get(v.partition) is v]
        for partition, mark in command.marks.items():
            must(partition in command.partitions, "(3) released what was not revoked", command)
            self._check_mark(self.owned(partition), mark)
        for view in views:
            mark = command.marks.get(view.partition)
            group = self.life.world.group
            if mark is None and group.owners[view.partition] is self.life.members[view.member]:
                mark = group.committed.get(view.partition)
            self._check_covered(view, mark)
            del oracle.views[view.partition]
        self._forget_pauses(view.partition for view in views)

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
        done, attempts = coverage(mark)
        for offset in done:
            message = log.at.get(offset)
            known = offset < (view.reached or 0) or offset in view.skip
            settled = message is None or message.settled()
            must(known and settled, "(1) a map claims too much", mark, offset, message)
        found = decode(mark.metadata, mark.offset) if mark.metadata else None
        if found is not None and found.begun and found.owner == self.oracle.owner:
            self.check_named(partition)
        handed_on = found is None or found.partitions == view.partitions
        must(handed_on, "(9) how many partitions there were at first is forgotten", mark)
        above = any(offset > mark.offset for offset in view.finished | view.skip)
        tried = any(x.known for x in view.open.values())
        left_out = (above and not done) or (tried and not attempts)
        must(view.full or not left_out, "a map was left out and nobody told", partition, mark)
        # Without runs it may be whole, or gaps that are nobody's have been left out of it.
        view.full = view.full and (left_out or not done)
        view.full_since = view.full_since if left_out else None

    def _check_timely(self, now: float) -> None:
        """What is finished is committed within an interval, one commit after the other."""
        interval = self.life.world.scenario.limits.commit_interval
        for view in self.oracle.views.values():
            if view.dirty is not None and view.asked is None and not view.full:
                since = max(view.dirty, view.answered)
                must(now <= since + interval + 1e-6, "a commit is due", view.partition, now)

    def _check_covered(self, view: View, mark: c.Mark | None) -> None:
        """Check that a successor redelivers nothing that was finished, and charges as before."""
        if mark is None:
            return
        found = decode(mark.metadata, mark.offset)
        ours = found is not None and found.owner and found.owner == self.oracle.owner
        # Without a position nothing can be committed: what a former epoch has said stays.
        told = not ours or found.clean or view.reached is None or mark == view.inherited
        must(told, "(13) an end in order is not told", mark)
        done, attempts = coverage(mark)
        if done or not view.full:
            again = [o for o in view.finished if o >= mark.offset and o not in done]
            must(not again, "(9) a clean end redelivers", view.partition, mark, again)
        for entry in view.open.values():
            if entry.known and entry.state != "sinking" and (attempts or not view.full):
                # A commit of the epoch before may have come in after this one began.
                must(
                    attempts.get(entry.offset, 0) >= entry.known,
                    "(6) attempts are forgotten",
                    mark,
                    entry,
                )

    # -- fetching

    def _on_fetching(self, command: c.Fetching, now: float) -> None:
        if not command.on and self.life.ending():
            asked = isinstance(self._event, e.StopRequested)
            self._begin_stop(now, 1e9 if asked else self.life.world.scenario.limits.grace)

    def _on_pause(self, command: c.Pause, now: float) -> None:
        for partition in command.partitions:
            must(partition not in self._paused, "paused twice", partition)
            self.owned(partition)
            self._paused.add(partition)

    def _on_resume(self, command: c.Resume, now: float) -> None:
        for partition in command.partitions:
            if partition in self._outlived:
                self._outlived.discard(partition)
                continue
            must(partition in self._paused, "resumed what is not paused", partition)
            self._paused.discard(partition)
            self.owned(partition)

    def let_go(self, views: Iterable[View]) -> None:
        """The source ends pauses with the assignment."""
        owned = self.oracle.views
        gone = [view for view in views if owned.get(view.partition) is not view]
        self._outlived = self._paused.intersection(view.partition for view in gone)
        self._forget_pauses(view.partition for view in gone)
        # What was done of them last cannot be committed any more: that is no clean end.
        self.excused = self.excused or (self.oracle.stopping and bool(gone))

    def _forget_pauses(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused.difference_update(partitions)

    def _check_held(self) -> None:
        oracle = self.oracle
        snapshot = self.life.supervisor.snapshot()
        held, size = oracle.held, oracle.held_bytes
        must(snapshot.held == held, "(5) held is miscounted", snapshot.held, held)
        must(snapshot.held_bytes == size, "(5) bytes are miscounted", snapshot.held_bytes, size)
        self.check_shares(self.life.now)
        flying = sum(map(oracle.open_of, oracle.flights))
        must(snapshot.in_flight == flying, "in flight is miscounted", snapshot, flying)
        must(snapshot.handled == oracle.handled, "handled is miscounted", snapshot, oracle.handled)
        must(snapshot.failed == oracle.given_up, "failed is miscounted", snapshot, oracle.given_up)
        must(snapshot.retried == oracle.retried, "retried is miscounted", snapshot)
        unreadable = {p for p, view in oracle.views.items() if view.unreadable}
        known = self.life.supervisor.unreadable().keys()
        must(known == unreadable, "unreadable is miscounted", known, unreadable)
        must(snapshot.stalled >= len(unreadable), "stalled is miscounted", snapshot, unreadable)
        must(snapshot.partitions == len(oracle.views), "partitions are miscounted", snapshot)
        seats = sorted((oracle.seats[w], w, oracle.open_of(w)) for w in oracle.status)
        told = [(at.seat, at.worker, at.in_flight) for at in snapshot.seats]
        must(told == seats, "seats are miscounted", told, seats)

    # -- the end

    def _begin_stop(self, now: float, grace: float) -> None:
        if not self.oracle.stopping:
            self.owned_at_stop = set(self.oracle.views)
        self.oracle.stopping = True
        for view in self.oracle.views.values():
            view.draining = True
        by = now + grace + COMMIT_SECONDS + DISMISS_SECONDS + SLACK
        if self.life.plan.faults.undead:
            by += 2 * DEATH_SECONDS  # behind the grace, and at the end
        self.stop_by = by if self.stop_by is None else min(by, self.stop_by)
        end = now + grace
        self._grace_ends = end if self._grace_ends is None else min(end, self._grace_ends)

    def _on_report(self, command: c.Report, now: float) -> None:
        if command.kind is c.ReportKind.MAP_FULL and command.partition is not None:
            view = self.owned(command.partition)
            view.full, view.full_since = True, now
        self.named_as_left = self.named_as_left or command.kind is c.ReportKind.ABANDONED

    def _on_stopped(self, command: c.Stopped, now: float) -> None:
        oracle, life = self.oracle, self.life
        left = {worker: oracle.killed.get(worker, now) for worker in oracle.status}
        waited = all(now >= killed + DEATH_SECONDS for killed in left.values())
        must(waited and left.keys() <= oracle.undead, "(8) stopped with workers alive", left)
        must(not oracle.drains, "stopped without giving back what was revoked", oracle.drains)
        life.check_end(command)
        if command.end is c.End.ABANDONED:
            left = any(
                view.asked is not None or view.failed or busy_of(oracle, (view,))
                for view in oracle.views.values()
            )
            named = self.named_as_left
            must(left or named or self.excused, "(9) nothing was abandoned", oracle.views)
        if command.end is not c.End.CLEAN:
            return
        must(not self.named_as_left, "a clean stop names what it abandons", oracle.views)
        for view in oracle.views.values():
            must(
                not any(x.state in ("out", "sinking") for x in view.open.values()),
                "a clean stop abandons",
                view.open,
            )
            # One that was taken away unheard is for its new owner to commit.
            if life.world.group.owners[view.partition] is life.members[view.member]:
                self._check_covered(view, life.world.group.committed.get(view.partition))
