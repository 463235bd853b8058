"""What a worker prints: above the supervisor's status line, and as long as it can be written.

Decides that the line is removed before each piece of text on a terminal (it is drawn again
a moment later), and which errors mean that standard output or standard error takes nothing
any more: its reader has gone, its disk is full. Knows nothing of the supervisor.
Tested by tests/runtime/test_printing.py.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import select
import sys
from dataclasses import dataclass
from typing import Final, TextIO

from kqworker.runtime.failures import reasons
from kqworker.watch.logs import clearing

_STREAMS: Final = {"stdout": 1, "stderr": 2}
_NAMES: Final = {1: "standard output", 2: "standard error"}
# Keeps the replaced streams: the end of one would close the descriptor of its successor.
_kept: list[TextIO] = []
# The attribute of an error raised by one of the streams; holds its descriptor.
_MARK: Final = "_kqworker_stream"
# Errors that a next write raises again; a connection or file of a handler may raise them, too.
_UNWRITABLE: Final = frozenset(
    {
        errno.EPIPE,
        errno.EIO,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EBADF,
        errno.EROFS,
        errno.ENXIO,
        errno.ENODEV,
        errno.ESTALE,
    }
)


@dataclass(frozen=True, slots=True)
class Lost:
    """A standard stream that can be written to no more.

    Attributes:
        fd: Its descriptor, 1 or 2.
        reason: Why, for people.
    """

    fd: int
    reason: str


class Standard(io.TextIOWrapper):
    """A standard stream that marks its errors: a handler's own files raise the same ones.

    Args:
        stream: The stream that it replaces.
        fd: The descriptor that this writes to.
    """

    def __init__(self, stream: io.TextIOWrapper, fd: int) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._fd = fd

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return super().write(text)
        except OSError as error:
            setattr(error, _MARK, self._fd)
            raise

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except OSError as error:
            setattr(error, _MARK, self._fd)
            raise


class Above(Standard):
    """A stream to a terminal that writes above the status line."""

    def write(self, text: str) -> int:
        """Write text at the cursor, and erase everything below it."""
        super().write(clearing(self) + text)
        return len(text)


def take_streams(status_line: bool) -> None:
    """Replace the standard streams of this process by ours.

    Args:
        status_line: There may be a status line below what is written to a terminal.
    """
    for name, fd in _STREAMS.items():
        stream = getattr(sys, name)
        # An app may have set up a stream of its own.
        original = stream is getattr(sys, f"__{name}__")
        if original and isinstance(stream, io.TextIOWrapper) and not stream.closed:
            ours = Above if status_line and clearing(stream) else Standard
            with contextlib.suppress(OSError):
                stream.flush()
            setattr(sys, name, ours(stream, fd))
            _kept.extend((stream, getattr(sys, name)))


def lost_by(error: BaseException) -> Lost | None:
    """Return the standard stream that an error comes from; None if it is another failure.

    Args:
        error: What a handler raised.
    """
    try:
        found = [e for e in (error, *reasons(error)) if isinstance(e, OSError)]
    except BaseException:  # an exception whose class lies is some other failure
        return None
    for one in found:
        fd = getattr(one, _MARK, None)
        if fd is not None:
            return Lost(fd, _why(fd, one))
    for one in found:
        # Not raised by our streams: only standard output itself can tell whether it is lost.
        if one.errno in _UNWRITABLE and _fault(one.errno) is not None:
            return Lost(1, _why(1, one))
    return None


def print_nowhere(fd: int = 1) -> None:
    """Send to nowhere what this process still has to print; no print raises any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)


def flush_or_drop() -> None:
    """Write what is buffered; what cannot be written is lost, and the streams lead where they did.

    Where other threads write or start programs it could take their output, too.
    """
    for name, fd in _STREAMS.items():
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            continue
        try:
            stream.flush()
        except ValueError:
            continue  # the app has closed it
        except OSError:
            with contextlib.suppress(OSError):  # it leads nowhere, or is a stream of the app's own
                kept = os.dup(fd)
                try:
                    print_nowhere(fd)
                    stream.flush()
                finally:
                    os.dup2(kept, fd)
                    os.close(kept)


def finish_streams(logger: logging.Logger) -> None:
    """Write what is buffered, and let the process end quietly where that is not possible.

    Args:
        logger: Gets a line about lost output, unless its reader has left.
    """
    for name, fd in _STREAMS.items():
        stream: TextIO | None = getattr(sys, name)
        fault = _fault(errno.ENOSPC) if fd == 1 else None
        try:
            if stream is not None and fault is None:
                stream.flush()
        except ValueError:
            continue  # the app has closed it
        except OSError as error:
            fault = error
        if fault is not None:
            print_nowhere(fd)
            if fd == 1 and fault.errno != errno.EPIPE:
                text = "%s; what is printed last is lost"
                logger.error(text, _why(fd, fault), extra={"event": "output_lost"})


def _why(fd: int, error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return f"nobody reads {_NAMES.get(fd, 'an output')} any more"
    return f"{_NAMES.get(fd, 'an output')} cannot be written: {error.strerror}"


def _fault(number: int) -> OSError | None:
    """Return why standard output takes nothing any more; None if it does.

    Args:
        number: The number of the error that may come from it.
    """
    if not _is_read():
        return BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    try:
        os.write(1, b"")  # a device and a closed descriptor raise here
        if sys.stdout is not None:
            sys.stdout.flush()  # what could not be written is still in there
        disk = os.fstatvfs(1)  # without blocks if it is no file
    except ValueError:
        return None
    except OSError as error:
        return error
    if number == errno.ENOSPC and disk.f_blocks > 0 and disk.f_bavail == 0:
        return OSError(number, os.strerror(number))
    return None


def _is_read() -> bool:
    output = select.poll()
    output.register(1, 0)
    return not any(found & (select.POLLERR | select.POLLHUP) for _, found in output.poll(0))
