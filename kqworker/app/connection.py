"""A connection for pushes: one in each process, opened at its first use.

Decides which process a client belongs to, that a fork does not touch the parent's client, and
that an open client ends with the process. Knows nothing of what it carries, and opens nothing
itself. Tested by tests/app/test_connection.py and tests/app/test_app.py.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from kqworker.app import process_exit
from kqworker.app.delivery import Delivery
from kqworker.types import Output

C = TypeVar("C", bound=object)


class PushSink(Protocol):
    """What `plugs.open_push_sink` returns; safe to use from several threads."""

    def send(self, output: Output) -> Delivery:
        """Produce a record; never wait for its delivery."""
        ...

    def begin_close(self, timeout: float) -> None:
        """Start the time of a close, in seconds; do not wait."""
        ...

    def close(self, timeout: float) -> bool:
        """Wait for pushes under way, in seconds; return whether all were delivered."""
        ...


class Connection(Generic[C]):
    """The client of this process, if there is one; safe to use from several threads.

    Args:
        owner: It ends the client when the process ends.
    """

    def __init__(self, owner: process_exit.Owing) -> None:
        self._owner = owner
        self._lock = threading.Lock()
        self._client: C | None = None
        self._pid = 0
        process_exit.renew(self)

    def opened(self) -> C | None:
        """Return the client, if this process has one already."""
        client = self._client
        return client if self._pid == os.getpid() else None

    def awaited(self) -> C | None:
        """Return the client, if this process has one; wait while another thread opens it."""
        with self._lock:
            return self.opened()

    def open(self, make: Callable[[], C]) -> C:
        """Return the client; make it if this process has none.

        What `make` raises goes to the caller.
        """
        client = self.opened()
        if client is not None:
            return client
        # In this order: a fork waits for the first of them.
        with process_exit.connecting(), self._lock:
            client = self.opened()
            if client is None:
                self._leave()
                client = make()
                self._client, self._pid = client, os.getpid()
                process_exit.at_exit(self._owner)
            return client

    def forget(self, client: C) -> None:
        """Note that a client has ended; the next use opens another."""
        with self._lock:
            if self._client is client:
                self._client = None
                process_exit.ended(self._owner)

    def after_fork(self) -> None:
        """Leave the parent's client alone, and replace the lock that its thread may have held."""
        self._lock = threading.Lock()
        self._leave()

    def _leave(self) -> None:
        if self._client is not None:
            process_exit.leave(self._client)
            self._client = None
