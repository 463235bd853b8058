"""How tests wait: for an event where there is one, and else by looking again, here alone.

A file that another process writes tells nobody that it has grown, a broker has no event for
its metadata, and no collector one for a descriptor that is closed. Between two looks at these
the processor is left to what is looked at. The end of a process is an event.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import psutil

# How long anything may take that has no bound of its own, on a busy machine.
PATIENCE = 60.0
PAUSE = 0.005


class Run(Protocol):
    """A process that is waited for; as text it is what one must know if it does not come."""

    process: subprocess.Popen[Any]


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


def until(
    true: Callable[[], object], what: str, timeout: float = PATIENCE, run: Run | None = None
) -> None:
    """Return when something has become true; fail when it has not in time.

    Args:
        true: Looks.
        what: Is waited for, in the words of the failure.
        timeout: Seconds.
        run: Who is to bring it about; its end before that is a failure, too.
    """

    def over() -> bool:
        # Asked before the last look: what it did before its end counts.
        gone = run is not None and run.process.poll() is not None
        return bool(true()) or (gone and _fail(run, what))

    about = "" if run is None else f"\n{run}"
    assert becomes(over, timeout), f"after {timeout:g} s not yet: {what}{about}"


def _fail(run: Run | None, what: str) -> bool:
    assert run is not None
    raise AssertionError(f"ended by {run.process.returncode} before {what}\n{run}")


def ended(processes: Iterable[psutil.Process], within: float) -> bool:
    """Whether all of these have ended, or do so within so many seconds.

    One that waits to be reaped has ended; its parent may be nobody of ours.
    """
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
