"""Who has been on one message for longer than its time limit, or has had messages for so long
and is on none.

By what a worker's slot says (`Observed`). Who is on no message, and tells nothing from one look
to the next, stands still: all that it does with a task ends with an answer, and all answers are
heard before the look. So a worker that was stopped, or hangs, between two messages does not
keep them, and what their order holds back, for longer than their limit allows. (One that has
just done with a task and is about to say so looks the same. To end it is no loss: what it has
done counts, and the rest was not begun.)

Pure. Carries nothing out and accounts for nothing: `crew` does.
Tested by tests/core/test_time_limits.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Sequence

from kqworker.core.commands import KillWorker, OnMessage, OnNone
from kqworker.core.events import Running
from kqworker.core.policy import HandlerPolicy
from kqworker.core.pool import Worker

# So long nothing is heard of a worker on no message before it counts as hung: one that merely
# waits for a processor, or was thawed together with its supervisor, gets on within it.
QUIET_SECONDS = 5.0


def look_later(worker: Worker, policies: Sequence[HandlerPolicy], now: float) -> None:
    """Note when to look at a worker whose present message began now, as far as is known.

    Args:
        worker: Whom; its `check_at` is set.
        policies: The handlers, in the app's order.
        now: The time.
    """
    known = _limits(worker, policies).values()
    worker.check_at = now + min(known) if known else None


def judge(
    worker: Worker, running: Running | None, policies: Sequence[HandlerPolicy], now: float
) -> KillWorker | None:
    """Judge a worker that has tasks; note when to look at it again.

    Args:
        worker: Whom; its `quiet_at` and `check_at` are set.
        running: What it is on.
        policies: The handlers, in the app's order.
        now: The time.

    Returns:
        How to end it, if it is over its time.
    """
    limits = _limits(worker, policies)
    if not limits:
        worker.check_at = None
        return None
    if running is None:
        if worker.quiet_at is None:
            worker.quiet_at = now
        due = max(worker.since + min(limits.values()), worker.quiet_at + QUIET_SECONDS)
        again, kill = QUIET_SECONDS, KillWorker(worker.id, OnNone())
    else:
        worker.quiet_at = None
        limit = limits.get(running.task)
        if limit is None:
            look_later(worker, policies, now)
            return None
        due = running.started + limit
        on = OnMessage(running.task, running.index)
        again, kill = limit, KillWorker(worker.id, on)
    if now < due:
        worker.check_at = due
        return None
    worker.check_at = now + again  # it may have moved on just before
    return kill


def _limits(worker: Worker, policies: Sequence[HandlerPolicy]) -> dict[int, float]:
    """Return the time limits of a worker's tasks, by their ids; of those that have one."""
    limits = {f.task.id: policies[f.task.handler].time_limit for f in worker.flights}
    return {task: limit for task, limit in limits.items() if limit is not None}
