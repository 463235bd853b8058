"""How tests wait: for an event where there is one, and else by looking again, here alone.

A file that another process writes tells nobody that it has grown, a broker has no event for
its metadata, and no collector one for a descriptor that is closed. Between two looks at these
the processor is left to what is looked at. What a process writes is an event, and so is its end.
Tested by tests/test_processes.py.
"""

from __future__ import annotations

import codecs
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import psutil

# How long anything may take that has no bound of its own, on a busy machine.
PATIENCE = 60.0
PAUSE = 0.005
# What is written to a terminal is there a moment later, perhaps after its writer's end.
TERMINAL_SECONDS = 0.2
PIDFDS = hasattr(os, "pidfd_open")  # as on Linux


class Port(Protocol):
    """What has a descriptor that says when there is something to take."""

    def fileno(self) -> int: ...


P = TypeVar("P", bound=Port)


def becomes(true: Callable[[], object], within: float, pause: float = PAUSE) -> bool:
    """Whether something is true, or becomes so within so many seconds.

    Args:
        true: Looks; nobody tells when it is worth it.
        within: Seconds.
        pause: Seconds between two looks.
    """
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True


def until(true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Return when something has become true; fail when it has not in time.

    Args:
        true: Looks.
        what: Is waited for, in the words of the failure.
        timeout: Seconds.
    """
    assert becomes(true, timeout), f"after {timeout:g} s not yet: {what}"


def ended(processes: Iterable[psutil.Process], within: float) -> bool:
    """Whether all of these have ended, or do so within so many seconds.

    One that waits to be reaped has ended; its parent may be nobody of ours.
    """
    if not PIDFDS:
        return not psutil.wait_procs(list(processes), within)[1]
    deadline = time.monotonic() + within
    for process in processes:
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            continue
        try:
            left = max(0.0, deadline - time.monotonic())
            # Its number may be another's by now.
            if process.is_running() and not select.select([pidfd], [], [], left)[0]:
                return False
        finally:
            os.close(pidfd)
    return True


def pump(
    true: Callable[[], object],
    take: Callable[[P], object],
    *ports: P,
    within: float,
    pause: float = PATIENCE,
) -> bool:
    """Take what ports have, each when its descriptor says so, until something is true.

    Args:
        true: Looks, after each taking.
        take: Takes all that a port has.
        within: Seconds.
        pause: Seconds after which it looks in any case.

    Returns:
        Whether it has become true in time.
    """
    deadline = time.monotonic() + within
    while not true():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        for port in select.select(ports, [], [], min(left, pause))[0]:
            take(port)
    return True


def give(data: bytes, fd: int, within: float) -> bool:
    """Write to a pipe as far as anybody reads it.

    Returns:
        Whether all is written, or nobody reads it any more, within so many seconds.
    """
    deadline = time.monotonic() + within
    rest = memoryview(data)
    while rest:
        if not select.select([], [fd], [], max(0.0, deadline - time.monotonic()))[1]:
            return False
        try:
            # So much is taken without waiting.
            rest = rest[os.write(fd, rest[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            break
    return True


class Written:
    """What has been written to a pipe or a terminal; reads it without waiting.

    Args:
        fd: Our end of it, which is closed by whoever waits for it.
        terminal: Whether it is one.
    """

    def __init__(self, fd: int, terminal: bool = False) -> None:
        os.set_blocking(fd, False)
        self.fd, self.terminal, self.at_end = fd, terminal, False
        # A reading may end in the middle of a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """All of it so far."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def read(self) -> bool:
        """Take in what is there; return whether that was anything, be it the end."""
        news = False
        while not self.at_end:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                break
            except OSError:  # a terminal that nobody has open any more
                data = b""
            self._pieces.append(self._decoder.decode(data, final=not data))
            self.at_end, news = not data, True
        return news

    def read_the_rest(self) -> bool:
        """Take in what has been written by a process that has ended."""
        news = self.read()
        deadline = time.monotonic() + TERMINAL_SECONDS
        # It has no end while others have the terminal open.
        while self.terminal and not self.at_end and (left := deadline - time.monotonic()) > 0:
            select.select([self.fd], [], [], left)
            news |= self.read()
        return news


class Reader:
    """A thread that reads what a process writes, and wakes those who wait for that or for its end.

    Args:
        process: Is reaped here.
        streams: What it writes to.

    Attributes:
        over: Whether the process has ended, and what it wrote has been read.
    """

    def __init__(self, process: subprocess.Popen[Any], *streams: Written) -> None:
        self.over = False
        self._process = process
        self._pidfd = os.pidfd_open(process.pid) if PIDFDS else -1
        self._woken, self._wake = os.pipe()
        self._streams = set(streams)
        self._changed, self._changes = threading.Condition(), 0
        self._thread = threading.Thread(
            target=self._follow, name=f"reader of {process.pid}", daemon=True
        )
        self._thread.start()

    def text(self, stream: Written) -> str:
        """Return what has been written by now, whatever the thread has read of it."""
        with self._changed:
            self._note(stream.read())
            return stream.text

    def until(self, true: Callable[[], object], within: float, pause: float = PATIENCE) -> bool:
        """Return when something is true or can become so no more; return whether it is true.

        Args:
            true: Looks, whenever anything has been written.
            within: Seconds.
            pause: Seconds after which it looks in any case.
        """
        deadline = time.monotonic() + within
        while True:
            # Asked before the look: what it did before its end counts.
            with self._changed:
                over, seen = self.over, self._changes
            if true():
                return True
            left = deadline - time.monotonic()
            if over or left <= 0:
                return False
            self._wait(seen, min(pause, left))

    def drop(self, *streams: Written) -> None:
        """Close some of the streams; return when they are."""
        with self._changed:
            for stream in self._streams.intersection(streams):
                stream.at_end = True
            os.write(self._wake, b"1")
            self._changed.wait_for(lambda: not self._streams.intersection(streams), PATIENCE)

    def close(self) -> None:
        """Read no more of a process that has ended; may be called again."""
        if self._wake < 0:
            return
        with self._changed:
            streams = [*self._streams]
        self.drop(*streams)
        self._thread.join(PATIENCE)
        for fd in {self._woken, self._wake, self._pidfd} - {-1}:
            os.close(fd)
        self._wake = -1

    def _wait(self, seen: int, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._changes != seen, seconds)

    def _note(self, news: bool) -> None:
        if news:
            self._changes += 1
            self._changed.notify_all()

    def _follow(self) -> None:
        while self._streams or not self.over:
            watched = [self._woken, *(stream.fd for stream in self._streams)]
            if not self.over and PIDFDS:
                watched.append(self._pidfd)
            if self._woken in select.select(watched, [], [], None if PIDFDS else PAUSE)[0]:
                os.read(self._woken, 1)
            over = self._process.poll() is not None
            with self._changed:
                at_last = over and not self.over
                for stream in self._streams:
                    self._note(stream.read_the_rest() if at_last else stream.read())
                for stream in [stream for stream in self._streams if stream.at_end]:
                    # Here alone: what is closed while it is waited for may by then be another's.
                    os.close(stream.fd)
                    self._streams.remove(stream)
                    self._note(True)
                self.over = over
                self._note(at_last)
