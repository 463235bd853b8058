"""A process that is stopped for certain: a signal takes its time on a busy machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.waiting import until

# Stopped, or ended.
STILL = "TtZX"


def freeze(pid: int) -> None:
    """Stop a process, and return once none of its threads runs; on Linux.

    Raises:
        ProcessLookupError: It has ended, and somebody has asked how.
    """
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    until(lambda: all(state(stat) in STILL for stat in threads.glob("*/stat")), f"{pid} is stopped")


def state(stat: Path) -> str:
    """Return what a thread does, in Linux's letters."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return "X"
