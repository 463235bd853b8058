"""What a run looks like on a terminal: a banner and a live status line below the log.

Decides words and layout only. The numbers come from `watch.interface`, and the words that log
lines share from `watch.plain`. Everything goes to standard error: standard output belongs to
the handlers. Tested by tests/cli/test_terminal_watch.py.
"""

from __future__ import annotations

import time
from typing import TextIO

from kqworker.cli.terminal import StatusLine, bar, duration, paint, write
from kqworker.core.commands import Report
from kqworker.core.snapshot import Snapshot
from kqworker.watch import report_log
from kqworker.watch.interface import Banner, Summary
from kqworker.watch.plain import Clock, Rate, banner_lines, counts, summary_line, waiting


class Progress:
    """How much of the backlog at the start is done.

    Partitions arrive one after the other, so the whole may still grow.
    """

    def __init__(self) -> None:
        self._whole = 0
        self._first: tuple[float, int] | None = None

    def update(self, remaining: int, now: float) -> tuple[float, float | None]:
        """Return the fraction done, and the seconds left if they are known."""
        if remaining > self._whole or self._first is None:
            self._whole = max(self._whole, remaining)
            self._first = (now, remaining)
        started, at_first = self._first
        done, seconds = at_first - remaining, now - started
        fraction = 1 - remaining / self._whole if self._whole else 1.0
        left = seconds / done * remaining if done > 0 and seconds > 0 else None
        return fraction, left


class TerminalWatch:
    """A banner, one live status line below the log, and a summary.

    Args:
        stream: The terminal.
        colours: Whether to use them.
        until_caught_up: Show a progress bar and the time left.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        stream: TextIO,
        colours: bool,
        until_caught_up: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._stream = stream
        self._colours = colours
        self._until_caught_up = until_caught_up
        self._clock = clock
        self._status = StatusLine(stream)
        self._rate = Rate(clock)
        self._progress = Progress()
        self._workers = 0
        self._stopping = ""

    def started(self, banner: Banner) -> None:
        """Write the banner."""
        self._workers = banner.workers
        first, *rest = banner_lines(banner)
        self._write(self._paint(f" {first}", "bold"))
        for line in rest:
            # The first word of a line is its label.
            self._write(" " + self._paint(line[:10], "cyan") + line[10:])

    def ready(self, seconds: float) -> None:
        """Say that it runs."""
        self._write(f" ready in {seconds:.1f}s — Ctrl-C drains")

    def tick(self, snapshot: Snapshot) -> None:
        """Draw the status line."""
        parts = [self._stopping] if self._stopping else []
        if self._until_caught_up and snapshot.remaining is not None:
            fraction, left = self._progress.update(snapshot.remaining, self._clock())
            parts.append(f"{bar(fraction, 20)} {fraction:.0%}")
            parts.append(f"{duration(left)} left" if left is not None else "")
        parts.append(waiting(snapshot))
        if snapshot.stalled:
            # First, so that a narrow terminal does not cut it off.
            parts.append(self._paint(f"{snapshot.stalled:,} stalled", "red"))
        rate = self._rate.add(snapshot.handled + snapshot.failed)
        parts += counts(snapshot, rate, self._workers)
        self._status.draw(" " + " · ".join(filter(None, parts)))

    def report(self, report: Report) -> None:
        """Log it, above the status line."""
        report_log.log(report)

    def stopping(self, reason: str) -> None:
        """Say that it drains, and go on drawing."""
        self._status.clear()
        self._write(f" {reason} — draining; Ctrl-C again stops now")
        self._stopping = "draining"

    def finished(self, summary: Summary) -> None:
        """Replace the status line by the summary."""
        self._status.clear()
        self._write(f" {summary_line(summary)}")
        if summary.left:
            self._write(self._paint(" not finished:", "red"))
            for line in summary.left:
                self._write(f"   {line}")

    def _write(self, line: str) -> None:
        self._status.clear()
        write(self._stream, line + "\n")

    def _paint(self, text: str, colour: str) -> str:
        return paint(text, colour, self._colours)
