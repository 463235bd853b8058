"""A forkserver of one's own, for a test that depends on what it has imported."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from multiprocessing import forkserver

import psutil


def server_pid() -> int | None:
    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


def end_server() -> None:
    """End the forkserver of this process, if there is one; the next start brings another."""
    pid = server_pid()
    if pid is not None:
        # What its workers hold open would keep it from ending by itself.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


@contextlib.contextmanager
def fresh_server() -> Iterator[None]:
    """Start with no forkserver, and leave none that has imported what others do not want."""
    end_server()
    try:
        yield
    finally:
        end_server()


def parent_of(pid: int) -> int:
    return psutil.Process(pid).ppid()
