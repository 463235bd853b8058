"""What a run tells its watchers: the banner, the ticks, the reports, the summary.

Pure: values and one Protocol. Knows nothing of terminals or logs; `kqworker.cli.terminal_watch`
and `watch.plain` show it. Tested by tests/watch/test_interface.py and through
tests/cli/test_terminal_watch.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kqworker.core.commands import Report
from kqworker.core.policy import HandlerPolicy
from kqworker.core.snapshot import Snapshot
from kqworker.exits import Exit
from kqworker.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class HandlerLine:
    """One handler of the banner.

    Attributes:
        name: The name to import it by: `app:on_test`.
        partitions: How many its topic has; None for a pattern, or where it is unknown.
        payload: The type that payloads are decoded to, as a short name.
        policy: Its topic and delivery policies.
    """

    name: str
    partitions: int | None
    payload: str
    policy: HandlerPolicy


@dataclass(frozen=True, slots=True)
class Banner:
    """What is told once, at the start.

    Attributes:
        app: The reference that was given, such as `app:app`.
        version: The version of kqworker.
        pid: The supervisor's pid.
        python: The interpreter's version.
        librdkafka: The library's version.
        brokers: The bootstrap addresses, with commas between them.
        broker_count: How many brokers are up.
        group: The consumer group.
        protocol: How the group shares partitions: `cooperative` or `consumer`.
        workers: How many worker processes.
        method: How they are started: `forkserver` or `spawn`.
        settings: All other settings that were given.
        handlers: In the order of the app.
    """

    app: str
    version: str
    pid: int
    python: str
    librdkafka: str
    brokers: str
    broker_count: int
    group: str
    protocol: str
    workers: int
    method: str
    settings: Settings
    handlers: tuple[HandlerLine, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What is told once, at the end.

    Attributes:
        handled: Messages whose handler returned.
        failed: Messages that were dead-lettered or given up.
        retried: Attempts that failed and were followed by another.
        seconds: From ready to the end.
        cpu_seconds: CPU time of the workers.
        cores_busy: `cpu_seconds / seconds`.
        left: What was abandoned, a line each; empty if nothing.
        exit: How the run ended.
    """

    handled: int
    failed: int
    retried: int
    seconds: float
    cpu_seconds: float
    cores_busy: float
    left: tuple[str, ...]
    exit: Exit


class Watch(Protocol):
    """What watches a run; every method is called on the loop's thread and is quick."""

    def started(self, banner: Banner) -> None:
        """Say what is about to run: the preflight is over, the workers are starting."""
        ...

    def ready(self, seconds: float) -> None:
        """Say that the workers are up and the group is joined, `seconds` after the start."""
        ...

    def tick(self, snapshot: Snapshot) -> None:
        """Take the counters, about every 0.2 s."""
        ...

    def report(self, report: Report) -> None:
        """Take something that happened to a message, a worker or a partition."""
        ...

    def stopping(self, reason: str) -> None:
        """Say that the drain has begun, and why."""
        ...

    def finished(self, summary: Summary) -> None:
        """Say how it ended; the last call."""
        ...


class Several:
    """Passes everything on to several watchers, in their order.

    Args:
        watches: The watchers.
    """

    def __init__(self, *watches: Watch) -> None:
        self._watches = watches

    def started(self, banner: Banner) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.started(banner)

    def ready(self, seconds: float) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.ready(seconds)

    def tick(self, snapshot: Snapshot) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.tick(snapshot)

    def report(self, report: Report) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.report(report)

    def stopping(self, reason: str) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.stopping(reason)

    def finished(self, summary: Summary) -> None:
        """Pass it on."""
        for watch in self._watches:
            watch.finished(summary)
