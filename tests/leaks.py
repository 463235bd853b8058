"""What a test may leave behind: nothing.

Decides what counts as left: child processes, threads that are not daemons, and file
descriptors beyond those that were there before. Things that end on their own get a moment.
What multiprocessing keeps for the whole process (its resource tracker and its forkserver)
is nobody's leak. Used by tests/conftest.py around every test; tested by tests/test_leaks.py.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.waiting import becomes

# For a child on its way out, or a librdkafka client that is closing its sockets.
GRACE = 5.0
PAUSE = 0.02
FDS = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")

# Each tells the processes of something that a fixture of the whole session keeps, and
# that may be replaced within a test, as a killed broker is.
spared: list[Callable[[], set[int]]] = []


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the process had at one moment."""

    children: frozenset[int]
    threads: frozenset[int]
    fds: dict[int, str]

    @classmethod
    def take(cls) -> Snapshot:
        return cls(frozenset(_children()), frozenset(_threads()), _fds())

    def left_behind(self, grace: float = GRACE) -> list[str]:
        """One line for each thing that is there now and was not then; empty if there is none.

        Args:
            grace: Seconds that processes, threads and descriptors get to end on their own.
        """
        lines: list[str] = []
        if not _settled(lambda: not _children() - self.children, grace):
            lines += [f"process {_about(pid)}" for pid in sorted(_children() - self.children)]
        if not _settled(lambda: not _threads().keys() - self.threads, grace):
            new = _threads().keys() - self.threads
            lines += [f"thread {_threads().get(ident, ident)}" for ident in sorted(new)]
        if not _settled(lambda: len(_fds()) <= len(self.fds), grace):
            now = _fds()
            new_fds = [fd for fd, target in now.items() if self.fds.get(fd) != target]
            lines += [f"file descriptor {fd} ({now[fd]})" for fd in new_fds]
        return lines


def _settled(ready: Callable[[], bool], grace: float) -> bool:
    """Whether it became true in time; garbage is collected only when it is not at once."""

    def collected() -> bool:
        # A descriptor may hang on an object in a cycle.
        gc.collect()
        return ready()

    return ready() or becomes(collected, grace, PAUSE)


def _children() -> set[int]:
    if sys.platform == "linux":
        # psutil reads every process of the machine to find ours; this runs twice a test.
        found: set[int] = set()
        for task in Path("/proc/self/task").iterdir():
            try:
                found.update(int(pid) for pid in (task / "children").read_text().split())
            except (FileNotFoundError, ProcessLookupError):  # the thread has just ended
                continue
    else:
        found = {child.pid for child in psutil.Process().children()}
    return found.difference(
        _multiprocessing("_pid", "_forkserver_pid"), *(tell() for tell in spared)
    )


def _threads() -> dict[int, str]:
    return {
        thread.ident: thread.name
        for thread in threading.enumerate()
        if thread.ident is not None and not thread.daemon
    }


def _fds() -> dict[int, str]:
    targets: dict[int, str] = {}
    for entry in os.listdir(FDS):  # noqa: PTH208 - iterdir would hold one more open
        try:
            targets[int(entry)] = os.readlink(FDS / entry)  # noqa: PTH115 - a pipe is no path
        except OSError:  # the one that listed them
            continue
    for fd in _multiprocessing("_fd", "_forkserver_alive_fd"):
        targets.pop(fd, None)
    return targets


def _multiprocessing(tracker: str, server: str) -> set[int]:
    """Numbers that belong to multiprocessing's own two helpers, where they run."""
    helpers = (
        ("multiprocessing.resource_tracker", "_resource_tracker", tracker),
        ("multiprocessing.forkserver", "_forkserver", server),
    )
    numbers = {
        getattr(getattr(sys.modules[module], name), attribute)
        for module, name, attribute in helpers
        if module in sys.modules
    }
    return {number for number in numbers if number is not None}


def _about(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return f"{pid} ({process.status()}): {' '.join(process.cmdline())[:200]}"
    except psutil.NoSuchProcess:
        return f"{pid} (gone by now)"
