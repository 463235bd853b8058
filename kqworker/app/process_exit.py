"""Ends a process's connections when it ends, and leaves alone those from before a fork.

Decides how long the end of a process may take for all of its connections together, what
Ctrl-C does to it, and that a fork neither interrupts the making of a connection nor leaves
locks in the child that nothing releases. Knows nothing of what they carry. Tested by
tests/app/test_process_exit.py and, in processes of multiprocessing, by
tests/kafka_unit/test_push_sink.py and tests/kq/test_pusher.py.
"""

from __future__ import annotations

import atexit

# Before a fork the hooks run in reverse order of registration. logging's hook takes logging's lock,
# which a connecting thread may need: it must be registered before ours, to run after it.
import logging  # noqa: F401
import os
import threading
import time
import weakref
from typing import Protocol

# The most that the interpreter's exit waits.
EXIT_TIMEOUT = 10.0
# A fork waits this long for another thread that connects. To connect takes 0.6 s, mostly imports,
# and more than ten times as long on a busy machine; a child forked before its end hangs for ever.
FORK_TIMEOUT = 60.0


class Owing(Protocol):
    """An object that has something to deliver before the process ends."""

    def begin_end(self, timeout: float) -> None:
        """Begin to end, within `timeout` seconds; neither wait nor raise."""

    def end(self, timeout: float) -> None:
        """End within `timeout` seconds, and log what was not delivered; do not raise it.

        It may be called again after Ctrl-C has interrupted it.
        """


class Renewed(Protocol):
    """An object with locks that another thread may hold when the process forks."""

    def after_fork(self) -> None:
        """Make new locks; called in the child."""


# Kept for ever, because collecting a handle from before a fork hangs.
_inherited: list[object] = []
_owing: dict[Owing, None] = {}
_registered = False
# The process in which `_end` was registered with multiprocessing.
_told_in = 0
_renewed: weakref.WeakSet[Renewed] = weakref.WeakSet()
# If a fork interrupts an import, the import stays locked in the child for ever.
_connecting = threading.RLock()
_held = False


def connecting() -> threading.RLock:
    """Return the lock that is held while a connection is made; a fork waits for it."""
    return _connecting


def at_exit(owing: Owing) -> None:
    """End an object when this process ends, unless `ended` cancels that."""
    # Imported only if something is pushed: workers and apps start sooner without it.
    from multiprocessing import parent_process
    from multiprocessing.util import Finalize

    global _registered, _told_in
    _owing[owing] = None
    if not _registered:
        _registered = True
        atexit.register(_end)
    if parent_process() is not None and _told_in != os.getpid():
        # Before Python 3.13 multiprocessing's processes end without the handlers of atexit.
        _told_in = os.getpid()
        Finalize(None, _end, exitpriority=0)


def ended(owing: Owing) -> None:
    """Note that an object has ended."""
    _owing.pop(owing, None)


def owes() -> bool:
    """Return whether any object must end before this process does."""
    return bool(_owing)


def leave(connection: object) -> None:
    """Neither use nor close a connection from before a fork.

    librdkafka's threads did not survive it.
    """
    _inherited.append(connection)


def renew(held: Renewed) -> None:
    """Have locks made anew in each forked child, as long as their owner lives."""
    _renewed.add(held)


def _end() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT
    owing = list(_owing)
    # All begin at once, so that one whose brokers are away costs the others nothing.
    for one in owing:
        one.begin_end(EXIT_TIMEOUT)
    for one in owing:
        try:
            one.end(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            # After Ctrl-C this waits no more, but still reports what is lost.
            deadline = 0.0
            one.end(0.0)
        ended(one)


def _before() -> None:
    global _held
    _held = _connecting.acquire(timeout=FORK_TIMEOUT)


def _in_parent() -> None:
    global _held
    if _held:
        _held = False
        _connecting.release()


def _in_child() -> None:
    global _connecting
    _connecting = threading.RLock()
    # The parent ends its own connections.
    _owing.clear()
    for held in list(_renewed):
        held.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
