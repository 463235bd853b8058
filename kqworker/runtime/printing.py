"""What a worker prints, on a terminal that has the supervisor's status line at its end.

Decides nothing but to remove that line before each piece of text; it is drawn again a
moment later. Knows nothing of the supervisor. Tested by tests/runtime/test_printing.py.
"""

from __future__ import annotations

import io
import sys

from kqworker.logs import clearing


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
