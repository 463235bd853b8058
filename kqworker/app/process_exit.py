"""What a process owes its connections: an end as it ends, and none to those from before a fork.

Decides how long the end of a process may take for all of its connections together, what
Ctrl-C does to it, and that a fork neither falls into the making of a connection nor leaves
the child locks that nobody releases. Knows nothing of what they carry. Tested by
tests/app/test_process_exit.py and, in processes of multiprocessing, by
tests/kafka_unit/test_sink.py and tests/kq/test_pusher.py.
"""

from __future__ import annotations

import atexit

# A fork asks in reverse order of registration. logging's hook takes logging's lock, which whoever
# connects may need: it must be registered before ours, to be asked after it.
import logging  # noqa: F401
import os
import threading
import time
import weakref
from typing import Protocol

# At the interpreter's exit nobody waits for longer.
EXIT_TIMEOUT = 10.0
# A fork waits this long for another thread that connects. It takes 0.6 s, mostly of imports, and
# more than ten times as long on a busy machine; a child that is forked before hangs for ever.
FORK_TIMEOUT = 60.0


class Owing(Protocol):
    """Whatever has something to deliver as the process ends."""

    def begin_end(self, timeout: float) -> None:
        """Begin to end, within `timeout` seconds; neither wait nor raise."""

    def end(self, timeout: float) -> None:
        """End within `timeout` seconds, and say what was not delivered; raise nothing of it.

        It may be called again where Ctrl-C has interrupted it.
        """


class Renewed(Protocol):
    """Whatever holds locks that another thread may hold when the process forks."""

    def after_fork(self) -> None:
        """Make the locks anew; called in the child."""


# Referenced for ever, because collecting a handle from before a fork hangs.
_inherited: list[object] = []
_owing: dict[Owing, None] = {}
_registered = False
# The process in which multiprocessing has been told.
_told_in = 0
_renewed: weakref.WeakSet[Renewed] = weakref.WeakSet()
# An import that a fork cuts in two stays locked in the child for ever.
_connecting = threading.RLock()
_held = False


def connecting() -> threading.RLock:
    """Return what is held while a connection is made; a fork waits for it."""
    return _connecting


def at_exit(owing: Owing) -> None:
    """End something as this process ends, unless `ended` calls it off."""
    # Only where something is pushed: workers and apps start sooner without.
    from multiprocessing import parent_process
    from multiprocessing.util import Finalize

    global _registered, _told_in
    _owing[owing] = None
    if not _registered:
        _registered = True
        atexit.register(_end)
    if parent_process() is not None and _told_in != os.getpid():
        # Before Python 3.13 its processes end without the handlers of atexit.
        _told_in = os.getpid()
        Finalize(None, _end, exitpriority=0)


def ended(owing: Owing) -> None:
    """Take note that something has ended."""
    _owing.pop(owing, None)


def owes() -> bool:
    """Return whether anything is to end before this process does."""
    return bool(_owing)


def leave(connection: object) -> None:
    """Neither use nor close a connection from before a fork.

    librdkafka's threads did not survive it.
    """
    _inherited.append(connection)


def renew(held: Renewed) -> None:
    """Have locks made anew in each child that is forked, as long as their owner lives."""
    _renewed.add(held)


def _end() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT
    owing = list(_owing)
    # All at once, so that one whose brokers are away costs the others nothing.
    for one in owing:
        one.begin_end(EXIT_TIMEOUT)
    for one in owing:
        try:
            one.end(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            # Whoever does not want to wait is still told what is lost.
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
    # What is the parent's, the parent ends.
    _owing.clear()
    for held in list(_renewed):
        held.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
