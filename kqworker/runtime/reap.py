"""Ending a worker with all that it started, and finding out how it ended.

A worker leads a session of its own, so what it starts can be found by the session after it
has died. What went into another session is found only as the worker's descendant, while the
worker lives. Before every signal, the process is checked to be the one that is meant.
Knows nothing of tasks. Tested by tests/runtime/test_kill.py and test_adopted.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import Final

import psutil

from kqworker.watch import logs

logger = logs.logger("kqworker.run")

STOP_SECONDS: Final = 0.05
ROUNDS: Final = 10

# Stopped, in a system call that nothing interrupts, or dead: it runs no code now.
_STILL: Final = {
    psutil.STATUS_STOPPED,
    psutil.STATUS_TRACING_STOP,
    psutil.STATUS_DISK_SLEEP,
    psutil.STATUS_ZOMBIE,
    psutil.STATUS_DEAD,
}


class Handle:
    """A process that can be sent signals, without hitting a later one with the same number.

    Args:
        pid: The pid of a process that multiprocessing has just started.
    """

    __slots__ = ("_pidfd", "_process", "_refused", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = -1
        self._process: psutil.Process | None = None
        self._refused = False
        with contextlib.suppress(psutil.Error):  # it has died already
            self._process = psutil.Process(pid)
        # Kernels before 5.3 and builds of Python for them have no pidfds, and a container's
        # filter of system calls may refuse them: then psutil compares the time of creation.
        if sys.platform == "linux" and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(pid)

    @property
    def pidfd(self) -> int:
        """A descriptor that turns readable at the end of the process; -1 if there is none."""
        return self._pidfd

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        if self._pidfd >= 0:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            return bool(poll.poll(0))
        return self._process is None or not self._process.is_running()

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return whether the process was there and got it."""
        try:
            if sys.platform == "linux" and self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)
            elif self._process is not None:
                self._process.send_signal(number)
            else:
                return False
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False
        except (PermissionError, psutil.AccessDenied):
            self._tell_of_refusal(number)
            return False
        return True

    def _tell_of_refusal(self, number: signal.Signals) -> None:
        """Log, once, that the process is out of reach; all other work goes on."""
        if self._refused:
            return
        self._refused = True
        text = (
            "worker process %s may not be sent %s: it has changed its user, and can neither be "
            "stopped nor killed; end it as root, and run kqworker as that user instead"
        )
        told = {"event": "signal_refused", "pid": self.pid}
        logger.error(text, self.pid, number.name, extra=told)

    def stop(self) -> bool:
        """Stop the process where it is; return whether it is alive."""
        if not self.send(signal.SIGSTOP) or self._process is None:
            return False
        deadline = time.monotonic() + STOP_SECONDS
        with contextlib.suppress(psutil.Error):
            # Another core may run it for some microseconds more.
            while self._process.status() not in _STILL and time.monotonic() < deadline:
                time.sleep(0.0002)
        return True

    def go_on(self) -> None:
        """Let a stopped process run again."""
        self.send(signal.SIGCONT)

    def kill_tree(self) -> None:
        """Kill the process and all its descendants."""
        descendants: list[psutil.Process] = []
        if self._process is not None:
            # Stopped, it cannot start others meanwhile.
            self.stop()
            with contextlib.suppress(psutil.Error):
                descendants = self._process.children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not self.gone:
                os.killpg(self.pid, signal.SIGKILL)
        self.send(signal.SIGKILL)
        for process in descendants:
            # psutil compares the time of creation first.
            with contextlib.suppress(psutil.Error):
                process.kill()

    def close(self) -> None:
        """Close the descriptor."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def kill_session(leader: int) -> None:
    """Kill what is left of the session of a process that has died."""
    # A number stays taken as long as a session or group has it, so this hits no other.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for _ in range(ROUNDS):
        members = [pid for pid in psutil.pids() if _session(pid) == leader]
        members = [pid for pid in members if not _dying(pid)]
        if not members:
            return
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def reap_adopted() -> None:
    """Reap dead processes that others have started, and that became our children.

    The first process of a container gets the processes that its workers leave behind. A dead
    process stays in the table of processes until its parent has asked how it ended. The
    processes that we have started are in our session, and their starter asks.
    """
    ours = os.getsid(0)
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, OSError):
            if child.status() == psutil.STATUS_ZOMBIE and os.getsid(child.pid) != ours:
                os.waitpid(child.pid, os.WNOHANG)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _dying(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return True


def describe_exit(code: int | None) -> str:
    """Return how a process ended, for people.

    >>> describe_exit(-9), describe_exit(3)
    ('signal 9 (SIGKILL)', 'exit code 3')
    """
    if code is None:
        return "it ended, nobody knows how"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
