"""Which workers to end: those that are on one message for longer than its time limit allows, and
those that have had messages for so long and are on none.

A worker's slot says what it is on (`Observed`). A worker that is on no message, and tells
nothing from one look to the next, stands still: everything that it does with a task ends with
an answer, and all answers are heard before the look. So a worker that is stopped, or hangs,
between two messages does not keep them, nor the messages that wait for them, for longer than
their limit allows. (A worker that has just finished a task and is about to say so looks the
same. Ending it loses nothing: what it has done counts, and the rest has not begun.)

Pure. Carries nothing out and accounts for nothing: `workforce` does.
Tested by tests/core/test_time_limits.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Sequence

from kqworker.core.commands import KillWorker, OnMessage, OnNone
from kqworker.core.events import Running
from kqworker.core.policy import HandlerPolicy
from kqworker.core.pool import Due, Timetable, Worker

# So long nothing is heard of a worker on no message before it counts as hung: one that merely
# waits for a processor, or was thawed together with its supervisor, gets on within it.
QUIET_SECONDS = 5.0
AGAIN_SECONDS = 1.0  # until the next look, where the answer to one does not come


class TimeLimits:
    """When to look at each worker, and which to end.

    Args:
        policies: The handlers, in the app's order.
        timetable: Has when to look.
    """

    def __init__(self, policies: Sequence[HandlerPolicy], timetable: Timetable) -> None:
        self._limits = [policy.time_limit for policy in policies]
        self._timetable = timetable

    def sent(self, worker: Worker, handler: int, now: float) -> None:
        """Note that a worker gets a task."""
        limit = self._limits[handler]
        if limit is not None:
            before = self._timetable.get((Due.LIMIT, worker.id))
            due = now + limit
            self._timetable.set((Due.LIMIT, worker.id), due if before is None else min(before, due))

    def heard(self, worker: Worker, now: float) -> None:
        """Note that a worker has told something: its message began now, as far as is known."""
        worker.heard()
        if (Due.LIMIT, worker.id) in self._timetable:
            self._look_later(worker, now)

    def looked(self, worker: Worker, now: float) -> None:
        """Note that a worker's slot is read now."""
        self._timetable.set((Due.LIMIT, worker.id), now + AGAIN_SECONDS)  # until the answer sets it

    def judge(self, worker: Worker, running: Running | None, now: float) -> KillWorker | None:
        """Judge a worker that has tasks; note when to look at it again.

        Args:
            worker: Whom.
            running: What it is on.
            now: The time.

        Returns:
            How to end it, if it is over its time.
        """
        limits = self._of(worker)
        if not limits:
            self._timetable.clear((Due.LIMIT, worker.id))
            return None
        if running is None:
            quiet_at = worker.quiet_since(now)
            due = max(worker.since + min(limits.values()), quiet_at + QUIET_SECONDS)
            again, kill = QUIET_SECONDS, KillWorker(worker.id, OnNone())
        else:
            worker.heard()
            limit = limits.get(running.task)
            if limit is None:
                self._look_later(worker, now)
                return None
            due = running.started + limit
            on = OnMessage(running.task, running.index)
            again, kill = limit, KillWorker(worker.id, on)
        if now < due:
            self._timetable.set((Due.LIMIT, worker.id), due)
            return None
        self._timetable.set((Due.LIMIT, worker.id), now + again)  # it may have moved on just before
        return kill

    def _look_later(self, worker: Worker, now: float) -> None:
        limits = self._of(worker)
        if limits:
            self._timetable.set((Due.LIMIT, worker.id), now + min(limits.values()))
        else:
            self._timetable.clear((Due.LIMIT, worker.id))

    def _of(self, worker: Worker) -> dict[int, float]:
        """Return the time limits of a worker's tasks, by their ids; of those that have one."""
        limits = {flight.task.id: self._limits[flight.task.handler] for flight in worker.flights}
        return {task: limit for task, limit in limits.items() if limit is not None}
