"""The events of the fetch threads for the loop, and the one descriptor that announces them.

Decides when a byte is written: only if none is waiting, so a busy source needs no system
call for an event. Knows nothing of Kafka. Tested by tests/kafka_unit/test_mailbox.py.
"""

from __future__ import annotations

import os
import threading
from io import FileIO

from kqworker.core.events import Event
from kqworker.errors import BrokerError


class Mailbox:
    """Events from many threads to one, in the order in which they were put.

    Attributes:
        fatal: The first error after which it is useless to go on; None if there is none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._signalled = False
        self._closed = False
        # A pipe wakes its reader sooner than a socket pair does.
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._reader, self._writer = FileIO(reader), FileIO(writer, "wb")
        self.fatal: BrokerError | None = None

    def fileno(self) -> int:
        """Return the descriptor that is readable while something waits; -1 once it is closed."""
        return -1 if self._closed else self._reader.fileno()

    def put(self, *events: Event) -> None:
        """Add events; from any thread."""
        with self._lock:
            self._events += events
            if events:
                self._signal()

    def fail(self, error: BrokerError) -> None:
        """Report that it is useless to go on; from any thread. The first error stays."""
        with self._lock:
            if self.fatal is None:
                self.fatal = error
                self._signal()

    def take(self) -> list[Event]:
        """Return what has been put since the last call; never block."""
        with self._lock:
            if self._signalled:
                self._reader.read(1)
                self._signalled = False
            events, self._events = self._events, []
            return events

    def close(self) -> None:
        """Close the descriptors; later events are dropped."""
        with self._lock:
            # A thread that hangs with a frozen broker may still return.
            self._closed = True
            self._signalled = False
            self._events = []
            self._reader.close()
            self._writer.close()

    def _signal(self) -> None:
        if self._closed:
            self._events = []
        elif not self._signalled:
            self._signalled = True
            self._writer.write(b"!")
