"""What handlers really did: two records an attempt, written as they happen.

Decides the format. A worker appends to a file of its own, one write an event, so that what
a killed worker had written stays, and a kill between start and end shows. Imported by the
apps under test: must be light and know nothing of Kafka. Read by checker.py.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kqworker import Context

# The environment variable with what the app under test is to be, as JSON.
APP = "APP_UNDER_TEST"
# Names the file that has the bytes that each consumer has received (fetched.py), a line each.
FETCHED = "APP_FETCHED"
# Outcome, pid, partition, attempt, frame, offset, start, end, topic.
RECORD = struct.Struct("<B3xIIIIqdd48s")
BEGUN, OK, FAILED = range(3)


class Key(NamedTuple):
    """One record of Kafka."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Attempt:
    """One run of a handler.

    Attributes:
        key: The message.
        attempt: Its number, as the handler was told.
        pid: The worker's.
        frame: Messages that travelled together with it, at least, itself included.
        start: In seconds of `time.monotonic()`, which is the same in all processes.
        end: When the handler was done; None if its worker was killed in the middle.
        failed: The handler raised.
    """

    key: Key
    attempt: int
    pid: int
    frame: int
    start: float
    end: float | None = None
    failed: bool = False

    @property
    def ok(self) -> bool:
        """The handler returned."""
        return self.end is not None and not self.failed


class Journal:
    """The writing end.

    Args:
        folder: Where every process has its file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fd = -1
        self._pid = 0

    @contextmanager
    def attempt(self, context: Context) -> Iterator[None]:
        """Write that a handler has begun, and what came of it."""
        pid = os.getpid()
        if pid != self._pid:
            self._pid = pid
            path = self.folder / f"{pid}.journal"
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # Nothing public tells a handler of its frame, and it should not care.
        frame = len(context._segment.records)
        told = (pid, context.partition, context.attempt, frame, context.offset)
        topic = context.topic.encode()
        assert len(topic) <= 48
        start = time.monotonic()
        os.write(self._fd, RECORD.pack(BEGUN, *told, start, 0.0, topic))
        outcome = FAILED
        try:
            yield
            outcome = OK
        finally:
            os.write(self._fd, RECORD.pack(outcome, *told, start, time.monotonic(), topic))


class Reader:
    """The reading end, which may follow a journal that is still being written.

    Args:
        folder: As the writers'; files of folders in it count, too.

    Attributes:
        attempts: All that was read, in the order of their file.
        begun: How many.
        ended: How many of them have an end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, int] = {}
        self._open: dict[tuple[int, Key, int], Attempt] = {}
        self.attempts: list[Attempt] = []
        self.ended = 0

    @property
    def begun(self) -> int:
        return len(self.attempts)

    def follow(self) -> Reader:
        """Read what was written since the last time."""
        for path in sorted(self.folder.rglob("*.journal")):
            done = self._read.get(path, 0)
            if path.stat().st_size - done >= RECORD.size:
                with path.open("rb") as file:
                    file.seek(done)
                    written = file.read()
                whole = len(written) // RECORD.size * RECORD.size
                self._read[path] = done + whole
                for record in RECORD.iter_unpack(written[:whole]):
                    self._take(*record)
        return self

    def _take(
        self,
        outcome: int,
        pid: int,
        partition: int,
        number: int,
        frame: int,
        offset: int,
        start: float,
        end: float,
        topic: bytes,
    ) -> None:
        key = Key(topic.rstrip(b"\0").decode(), partition, offset)
        if outcome == BEGUN:
            attempt = Attempt(key, number, pid, frame, start)
            self.attempts.append(attempt)
            self._open[pid, key, number] = attempt
        else:
            attempt = self._open.pop((pid, key, number))
            attempt.end = end
            attempt.failed = outcome == FAILED
            self.ended += 1


def ended(folder: Path) -> int:
    """Return about how many attempts have come to an end; quick, by the size of the files."""
    return sum(path.stat().st_size for path in folder.rglob("*.journal")) // (2 * RECORD.size)


def read(folder: Path) -> list[Attempt]:
    """Return all attempts, by the time of their start."""
    return sorted(Reader(folder).follow().attempts, key=lambda attempt: attempt.start)
