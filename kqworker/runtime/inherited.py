"""What an app's import has left in a process that a fork does not copy, or that all would share.

Decides what is reported: threads and timers, which no child has; pools of OpenMP, whose
threads a child waits for; connections, pipes, files that are read, event loops and devices,
which all children would use at once. Gives a worker random numbers of its own, too. Knows
nothing of what is done about it. Tested by tests/runtime/test_inherited.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import random
import re
import select
import signal
import socket
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc/self")

# A region of OpenMP takes microseconds; without the threads that it waits for, it never ends.
REGION_SECONDS: Final = 1.0

# By their names: librdkafka's threads, which have their own refusal; one that its owner makes
# anew in each child; and the one that polars starts when it is imported, which only removes
# files that it has spilled.
_OTHERWISE: Final = ("rdk:", "jemalloc_bg_thd", "polars-ooc")
# GPUs and their like, WSL's included; and devices that answer: terminals, serial ports.
_DEVICE: Final = re.compile(
    "/dev/(nvidia|kfd|dri/render|dxg|accel|neuron|davinci|hl[0-9]|vfio/[0-9]|(pts/)?ptmx|tty(USB|ACM))"
)
_LOOPS: Final = {"anon_inode:[eventpoll]": "epoll", "anon_inode:[io_uring]": "io_uring"}


class Before:
    """What the process had before the import."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._threads = set(_tasks(proc))
        self._python = set(sys._current_frames())
        self._open = set(_open(proc).items())
        self._timers = set(_timers())

    def found(self) -> list[str]:
        """Return what the import has added, in words; empty where workers can be forked."""
        new = {fd: to for fd, to in sorted(_open(self._proc).items()) if (fd, to) not in self._open}
        found = [
            *self._python_threads(),
            *self._native_threads(),
            *_connections(new),
            *_pipes(self._proc, new),
            *_files(self._proc, new),
            *(f"the event loop of descriptor {fd} ({_LOOPS[to]})" for fd, to in new.items()
              if to in _LOOPS),
            *(f"the device {to}" for to in new.values() if _DEVICE.match(to)),
            *(f"a timer ({name})" for name in _timers() if name not in self._timers),
            *_pools(self._proc),
        ]  # fmt: skip
        return list(dict.fromkeys(found))

    def _python_threads(self) -> Iterator[str]:
        named = {thread.ident: thread for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident in self._python:
                continue
            thread = named.get(ident)
            if thread is None:
                yield f"a thread of {frame.f_globals.get('__name__')}"
            elif not isinstance(thread, threading._DummyThread):
                target = getattr(thread, "_target", None) or type(thread)
                yield f"thread {thread.name!r} of {getattr(target, '__module__', None)}"

    def _native_threads(self) -> Iterator[str]:
        """Yield the threads with a name of their own.

        numpy's and OpenMP's have the process's name. numpy's are made anew in each child, and
        OpenMP's are tested by a region.
        """
        python = {
            thread.native_id
            for thread in threading.enumerate()
            if not isinstance(thread, threading._DummyThread)
        }
        tasks = _tasks(self._proc)
        own = tasks.get(os.getpid())
        for number, name in tasks.items():
            if number in self._threads or number in python or name == own:
                continue
            if not name.startswith(_OTHERWISE):
                # A pool numbers its threads; one of them shows whose they are.
                yield f"native thread {re.sub('[-_#]?[0-9]+$', '', name)!r}"


def _tasks(proc: Path) -> dict[int, str]:
    tasks = {}
    for task in proc.glob("task/*/comm"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            tasks[int(task.parent.name)] = task.read_text(errors="replace").strip()
    return tasks


def _open(proc: Path) -> dict[int, str]:
    found = {}
    with contextlib.suppress(OSError):  # elsewhere than on Linux
        for entry in (proc / "fd").iterdir():
            with contextlib.suppress(OSError):  # the one that lists them
                found[int(entry.name)] = str(entry.readlink())
    return found


def _connections(opened: dict[int, str]) -> Iterator[str]:
    for fd, to in opened.items():
        if not to.startswith("socket:"):
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as connection:
            peer = connection.getpeername()
            # Datagrams of several processes do not mix: statsd, syslog.
            if connection.type == socket.SOCK_STREAM and peer:
                yield f"a connection to {_shown(peer)}"


def _shown(peer: object) -> str:
    if isinstance(peer, tuple):
        host = str(peer[0])  # a virtual machine's is a number
        return f"[{host}]:{peer[1]}" if ":" in host else f"{host}:{peer[1]}"
    return os.fsdecode(peer) if isinstance(peer, bytes) else str(peer)


def _pipes(proc: Path, opened: dict[int, str]) -> Iterator[str]:
    """Yield the pipes from which other processes are read, such as a subprocess's answers.

    Each process that reads takes its part away from the others. Short writes do not mix. A
    pipe with both ends here wakes somebody up, or is meant to be shared. A sentinel of
    multiprocessing's is never read.
    """
    ends = list(_open(proc).values())
    sentinels = {child.sentinel for child in multiprocessing.active_children()}
    for fd, to in opened.items():
        if not to.startswith("pipe:") or ends.count(to) > 1 or fd in sentinels:
            continue
        with contextlib.suppress(OSError):
            reads = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
            if reads and not _has_ended(fd):
                yield f"a pipe from {_writer(proc, to)}"


def _has_ended(fd: int) -> bool:
    """Return whether nobody writes to a pipe any more, and everything is read."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(event == select.POLLHUP for _, event in poll.poll(0))


def _writer(proc: Path, pipe: str) -> str:
    for children in proc.glob("task/*/children"):
        with contextlib.suppress(OSError):
            for pid in children.read_text().split():
                if pipe in _open(Path("/proc", pid)).values():
                    return f"{Path('/proc', pid, 'comm').read_text().strip()!r}"
    return "another process"


def _files(proc: Path, opened: dict[int, str]) -> Iterator[str]:
    """Yield the files that are open for reading, such as an archive's or a database's.

    A process that reads moves the position at which the others read on. What is only
    written goes to the end of the file all the same; a mapped file is read by its mapping.
    """
    mapped: set[int] | None = None
    for fd, to in opened.items():
        with contextlib.suppress(OSError):
            status = (proc / "fd" / str(fd)).stat()
            if not stat.S_ISREG(status.st_mode):
                continue
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            if flags & os.O_PATH or flags & os.O_ACCMODE == os.O_WRONLY:
                continue
            if mapped is None:
                lines = (proc / "maps").read_text(errors="replace").splitlines()
                mapped = {int(line.split(maxsplit=5)[4]) for line in lines}
            if status.st_ino not in mapped:
                yield f"the open file {to}"


def _timers() -> Iterator[str]:
    """Yield the running timers: a forked child has none."""
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"):
        if signal.getitimer(getattr(signal, name))[0] > 0:
            yield f"signal.{name}"


# -- OpenMP


def _pools(proc: Path) -> Iterator[str]:
    """Yield the libraries of GNU's OpenMP that have started their threads already.

    Other OpenMP libraries make their threads anew after a fork.
    """
    with contextlib.suppress(OSError):
        maps = (proc / "maps").read_text(errors="replace")
        for path in sorted(set(re.findall(r"(/\S*/libgomp[^/\s]*)$", maps, re.M))):
            if not _runs_a_region(path):
                yield f"a pool of OpenMP ({Path(path).name})"


def _runs_a_region(path: str) -> bool:
    """Return whether a child that is forked now can run a library's parallel region."""
    try:
        region = ctypes.CDLL(path).GOMP_parallel
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
    except (OSError, AttributeError):  # it is unloaded, or too old to have it
        return True
    region.restype = None
    arguments = nothing, None, ctypes.c_uint(2), ctypes.c_uint(0)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns of a fork while there are threads, which is what this tries.
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        try:
            region(*arguments)
        finally:
            os._exit(0)
    os.close(writer)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    ended = bool(poll.poll(REGION_SECONDS * 1000))  # the child's end closes with the child
    os.close(reader)
    os.kill(child, signal.SIGKILL)  # its number is still its own: nobody has waited for it
    os.waitpid(child, 0)
    return ended


# -- random numbers


def reseed() -> None:
    """Seed the global generators of Python, and of numpy where it is loaded, anew.

    A seed that the import has set, or that a fork has copied, would give all workers the
    same numbers.
    """
    random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        with contextlib.suppress(AttributeError, TypeError):  # of a kind that takes no seed
            numpy.seed()
