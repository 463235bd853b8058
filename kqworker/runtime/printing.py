"""What a worker prints: above the supervisor's status line, and as long as anybody reads it.

Decides that the line is removed before each piece of text on a terminal (it is drawn again
a moment later), and when an error means that nobody reads standard output any more. Knows
nothing of the supervisor. Tested by tests/runtime/test_printing.py.
"""

from __future__ import annotations

import io
import os
import select
import sys

from kqworker.logs import clearing
from kqworker.runtime.failures import reasons


class Above(io.TextIOWrapper):
    """A stream to a terminal that writes above the status line."""

    def write(self, text: str) -> int:
        """Write text where the cursor is; nothing that was below it stays."""
        super().write(clearing(self) + text)
        return len(text)


def print_above() -> None:
    """Let the standard streams of this process write above the status line."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # An app may have set up a stream of its own. The one that is left must live on: the
        # last reference to it would close the terminal.
        original = stream is getattr(sys, f"__{name}__")
        if original and isinstance(stream, io.TextIOWrapper) and clearing(stream):
            above = Above(
                stream.buffer,
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, above)


def nobody_reads(error: BaseException) -> bool:
    """Return whether an error comes from a standard output that has lost its reader.

    Args:
        error: What a handler raised.
    """
    try:
        broken = any(isinstance(e, BrokenPipeError) for e in (error, *reasons(error)))
    except BaseException:  # an exception whose class lies is some other failure
        return False
    # A connection breaks with the same error: only the pipe itself can tell.
    return broken and not _is_read()


def print_nowhere() -> None:
    """Send to nowhere what this process still has to print; nothing of that raises."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def print_nowhere_unless_read() -> None:
    """Let the end of a process be quiet: its hooks print, and so does what was not flushed."""
    if not _is_read():
        print_nowhere()


def _is_read() -> bool:
    output = select.poll()
    output.register(1, 0)
    return not any(found & (select.POLLERR | select.POLLHUP) for _, found in output.poll(0))
