"""What a run looks like as log lines: the banner, the counters now and then, the summary.

Decides words and layout only; the numbers come from `watch.interface`. A run without a
terminal logs by this. Tested by tests/cli/test_terminal_watch.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from kqworker.core.commands import Report
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import ENDLESS
from kqworker.core.signals import numbers
from kqworker.core.snapshot import Snapshot
from kqworker.settings.values import show_size
from kqworker.types import Ordering
from kqworker.watch import logs, report_log
from kqworker.watch.interface import Banner, HandlerLine, Summary

logger = logs.logger("kqworker.run")

Clock = Callable[[], float]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns.

    >>> table([("a", "bb"), ("ccc", "d")])
    ['a    bb', 'ccc  d']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


class Rate:
    """Messages per second, over the last seconds.

    Args:
        clock: Seconds that never go back.
        window: The number of seconds that it covers, above 0.
    """

    def __init__(self, clock: Clock, window: float = 3.0) -> None:
        self._clock = clock
        self._window = window
        self._points = deque([(clock(), 0)])

    def add(self, count: int) -> float:
        """Take the count so far, and return the rate."""
        now = self._clock()
        points = self._points
        points.append((now, count))
        while len(points) > 2 and points[1][0] <= now - self._window:
            points.popleft()
        seconds = now - points[0][0]
        return (count - points[0][1]) / seconds if seconds > 0 else 0.0


class PlainWatch:
    """Log lines, and a summary of the counters every few seconds.

    Args:
        fields: Whether lines carry their numbers as fields too, for machines to read.
        every: Seconds between two summaries.
        clock: Seconds that never go back.
    """

    def __init__(
        self, fields: bool = False, every: float = 10.0, clock: Clock = time.monotonic
    ) -> None:
        self._fields = fields
        self._every = every
        self._clock = clock
        self._rate = Rate(clock, window=every)
        self._due = clock() + every
        self._workers = 0

    def started(self, banner: Banner) -> None:
        """Log the banner, a line for each of its lines."""
        self._workers = banner.workers
        self._due = self._clock() + self._every
        for line in banner_lines(banner):
            logger.info("%s", " ".join(line.split()), extra={"event": "started"})

    def ready(self, seconds: float) -> None:
        """Log that it runs."""
        self._log(f"ready in {seconds:.1f}s", "ready", seconds=round(seconds, 3))

    def tick(self, snapshot: Snapshot) -> None:
        """Log the counters, when it is time."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + self._every
        rate = self._rate.add(snapshot.handled + snapshot.failed)
        line = " · ".join(counts(snapshot, rate, self._workers))
        if snapshot.remaining is not None:
            line += f" · {snapshot.remaining:,} to go"
        if waiting(snapshot):
            line += f" · {waiting(snapshot)}"
        if snapshot.stalled:
            line += f" · {snapshot.stalled:,} stalled"
        self._log(line, "status", **numbers(snapshot))

    def report(self, report: Report) -> None:
        """Log it."""
        report_log.log(report)

    def stopping(self, reason: str) -> None:
        """Log that it drains."""
        logger.info("%s: draining", reason, extra={"event": "stopping"})

    def finished(self, summary: Summary) -> None:
        """Log the summary, and what was abandoned."""
        self._log(
            summary_line(summary),
            "finished",
            handled=summary.handled,
            failed=summary.failed,
            retried=summary.retried,
            seconds=round(summary.seconds, 3),
            cpu_seconds=round(summary.cpu_seconds, 3),
            cores_busy=round(summary.cores_busy, 3),
            exit=int(summary.exit),
        )
        for line in summary.left:
            logger.error("not finished: %s", line, extra={"event": "abandoned"})

    def _log(self, line: str, event: str, **fields: object) -> None:
        extra = fields if self._fields else {}
        logger.info("%s", line, extra={"event": event, **extra})


def counts(snapshot: Snapshot, rate: float, workers: int) -> list[str]:
    """Return the counters as words; the rare ones only when they are above 0."""
    parts = [f"{snapshot.handled:,} handled", f"{rate:,.0f}/s"]
    if snapshot.failed:
        parts.append(f"{snapshot.failed:,} failed")
    if snapshot.retried:
        parts.append(f"{snapshot.retried:,} retried")
    parts.append(f"{snapshot.in_flight:,} in flight")
    ready = "" if snapshot.workers_ready >= workers else f" ({snapshot.workers_ready} up)"
    parts.append(f"{snapshot.workers_busy}/{workers} workers busy{ready}")
    if snapshot.paused:
        s = "s" if snapshot.paused > 1 else ""
        parts.append(f"{snapshot.paused:,} partition{s} paused")
    if snapshot.restarts:
        parts.append(f"{snapshot.restarts:,} restarts")
    return parts


def waiting(snapshot: Snapshot) -> str:
    """Return what keeps a run with nothing to do from ending; empty if nothing does."""
    if snapshot.remaining or not snapshot.elsewhere:
        return ""
    s = "s" if snapshot.elsewhere > 1 else ""
    return f"waiting for {snapshot.elsewhere:,} partition{s}"


def summary_line(summary: Summary) -> str:
    """Return the summary: handled, failed, seconds, messages/s, seconds of CPU, cores busy."""
    done = summary.handled + summary.failed
    rate = done / summary.seconds if summary.seconds > 0 else 0.0
    parts = [f"{summary.handled:,} handled", f"{summary.failed:,} failed"]
    if summary.retried:
        parts.append(f"{summary.retried:,} retried")
    parts.append(f"{summary.seconds:.1f} s")
    parts.append(f"{rate:,.1f} messages/s" if rate < 100 else f"{rate:,.0f} messages/s")
    parts.append(f"{summary.cpu_seconds:.1f} s of CPU")
    parts.append(f"{summary.cores_busy:.2f} cores busy")
    return " · ".join(parts)


def banner_lines(banner: Banner) -> list[str]:
    """Return the banner's lines, without colours."""
    settings = banner.settings
    up = f" ({banner.broker_count} up)"
    prefetch = f"{settings.prefetch:,} messages, {show_size(settings.prefetch_bytes)}"
    policies = [handler.policy for handler in banner.handlers]
    failures = {_failing(policy) for policy in policies}
    same = failures.pop() if len(failures) == 1 else None
    left, right = table(
        [
            (
                f"brokers   {banner.brokers}{up}",
                f"   group     {banner.group} ({banner.protocol}, from {settings.offset})",
            ),
            (
                f"workers   {banner.workers} × process ({banner.method})",
                f"   prefetch  {prefetch}   drain {settings.shutdown_timeout:g}s",
            ),
        ]
    )
    versions = f"python {banner.python} · librdkafka {banner.librdkafka}"
    return [
        f"kqworker {banner.version} · {banner.app} · pid {banner.pid} · {versions}",
        left,
        right,
        f"delivery  at least once · {same or 'failures as the handlers say'}",
        *_handler_lines(banner.handlers, each=same is None),
    ]


def _handler_lines(handlers: Sequence[HandlerLine], each: bool) -> list[str]:
    rows = []
    for i, handler in enumerate(handlers):
        policy = handler.policy
        partitions = handler.partitions
        if partitions is None:
            count = ""
        elif i:
            count = f" ({partitions})"
        else:
            count = f" ({partitions} partition{'s' if partitions != 1 else ''})"
        notes = []
        if policy.ordering is not Ordering.UNORDERED:
            notes.append(f"by {policy.ordering.value}")
        if policy.time_limit is not None:
            notes.append(f"limit {policy.time_limit:g}s")
        if each:
            notes.append(_failing(policy))
        rows.append((f"{policy.topic}{count}", f"→ {handler.name}", handler.payload, *notes))
    width = max(map(len, rows), default=0)
    lines = table([row + ("",) * (width - len(row)) for row in rows]) if rows else []
    return [("handlers  " if i == 0 else " " * 10) + line for i, line in enumerate(lines)]


def _failing(policy: HandlerPolicy) -> str:
    attempts = policy.retry.attempts
    if attempts >= ENDLESS:
        return "retried until it succeeds"
    tried = f"{attempts} attempts" if attempts > 1 and not policy.final else "1 attempt"
    return f"{tried}, then {policy.dead_letter or 'logged and DROPPED (no dead_letter)'}"
