"""How a terminal is written to: errors, colours, and one status line below the log.

Decides only the form. Knows nothing of Kafka or runs. Tested by tests/cli/test_terminal.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from typing import TextIO

from kqworker.watch import direct

CODES = {"red": "31", "green": "32", "cyan": "36", "bold": "1"}


def coloured(stream: TextIO) -> bool:
    """Return whether colours go to this stream: a terminal, and NO_COLOR is not set."""
    # https://no-color.org: set and not empty.
    dumb = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not dumb and stream.isatty()


def live(stream: TextIO) -> bool:
    """Return whether a line of this stream can be drawn again: a terminal that can do it."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def columns(stream: TextIO) -> int:
    """Return how wide the terminal is that a stream goes to."""
    # Not by shutil, which looks at standard output first: that may go to a file.
    try:
        known = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        known = 0
    return known or shutil.get_terminal_size().columns


def paint(text: str, colour: str, on: bool) -> str:
    """Return the text in a colour, if `on`."""
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if on else text


def say(text: str) -> None:
    """Write a line to standard error, where everything goes except the command's result."""
    # The work also goes on if the disk is full.
    write(sys.stderr, f"{text}\n")


def write(terminal: TextIO, text: str) -> None:
    """Write to a terminal that may have been closed: the work goes on without it."""
    with contextlib.suppress(OSError):
        direct.write(terminal, text)


def fail(text: str) -> None:
    """Write `error: …` to standard error, with further lines aligned below the text."""
    first, *rest = text.rstrip().splitlines() or ["unknown"]
    say(paint("error:", "red", coloured(sys.stderr)) + " " + first)
    for line in rest:
        say(f"       {line}")


class StatusLine:
    """One line that is drawn again and again, below whatever else is written.

    The cursor waits on an empty line above it, so that a log line of this process or of
    a worker starts on a line of its own; `kqworker.watch.logs.clearing` removes the status
    line first.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = False

    def draw(self, text: str) -> None:
        """Draw the line, cut to the terminal's width."""
        shown = fit(text, columns(self._stream) - 1)
        write(self._stream, f"\r\x1b[J\n{shown}\x1b[1A\r")
        self._drawn = True

    def clear(self) -> None:
        """Remove the line; what is written next stays."""
        if self._drawn:
            write(self._stream, "\r\x1b[J")
            self._drawn = False


def fit(text: str, width: int) -> str:
    """Cut text to a number of visible characters; colour codes do not count.

    >>> fit("abcdef", 4)
    'abc…'
    """
    visible = 0
    parts = re.split(r"(\x1b\[[0-9;]*m)", text)
    if sum(map(len, parts[::2])) <= width:
        return text
    for i in range(0, len(parts), 2):
        room = width - 1 - visible
        parts[i] = parts[i][: max(0, room)]
        visible += len(parts[i])
    return "".join(parts) + "…"


def bar(fraction: float, width: int) -> str:
    """Return a bar that is filled to `fraction`.

    >>> bar(0.5, 4)
    '━━──'
    """
    full = round(max(0.0, min(1.0, fraction)) * width)
    return "━" * full + "─" * (width - full)


def duration(seconds: float) -> str:
    """Return seconds in a readable form.

    >>> duration(4.25), duration(75), duration(3700)
    ('4.2s', '1m15s', '1h01m')
    """
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
