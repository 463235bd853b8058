"""No process outlives the one that started it, however that ended.

On Linux the kernel kills a process when the thread that started it has ended
(PR_SET_PDEATHSIG), even one that spins in C with the GIL held. Elsewhere, and where the
forkserver did not take part, a thread waits for the supervisor's end.
Tested by tests/runtime/test_orphans.py.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> bool:
    """Ask the kernel to kill this process when its parent ends; return whether it will.

    The caller must check afterwards that its parent is still the one it was started by:
    the request does nothing about a parent that has ended before.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    # Without c_ulong the arguments are 32 bits wide, and the call does nothing.
    arguments = [ctypes.c_ulong(n) for n in (signal.SIGKILL, 0, 0, 0)]
    result = ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, *arguments)
    return bool(result == 0)


def supervisor_lives() -> bool:
    """Return whether the process that asked multiprocessing for this one still runs."""
    supervisor = multiprocessing.parent_process()
    return supervisor is None or supervisor.is_alive()


def watch_supervisor() -> None:
    """End this process group from a thread when the supervisor ends."""
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return
    sentinel = supervisor.sentinel

    def watch() -> None:
        wait([sentinel])
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="kqworker-supervisor-watch", daemon=True).start()
