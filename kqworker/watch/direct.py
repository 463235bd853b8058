"""Writing to standard error so that nothing stays behind of what could not be written.

Python keeps in a stream's buffer what its disk or its reader did not take, and fails with it
whoever flushes the stream next: a program would end with 120 for a line of its log. Decides
nothing of what is written. Tested by tests/watch/test_direct.py.
"""

from __future__ import annotations

import errno
import io
import os
from typing import TextIO


def write(stream: TextIO, text: str) -> None:
    """Write text at once, behind what the stream has buffered.

    Args:
        stream: A standard stream, or what an app or a test has put in its place.
        text: Of any length; on a full disk its beginning may be written.

    Raises:
        OSError: It cannot be written.
        ValueError: The stream is closed.
    """
    buffer = getattr(stream, "buffer", None)
    # What is read as well counts on knowing where in its file it stands.
    if not isinstance(stream, io.TextIOWrapper) or type(buffer) is not io.BufferedWriter:
        stream.write(text)
        stream.flush()
        return
    stream.flush()
    rest = memoryview(text.encode(stream.encoding, stream.errors or "strict"))
    while rest:
        size = buffer.raw.write(rest)
        if size is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        rest = rest[size:]
