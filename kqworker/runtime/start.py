"""How worker processes are started: by a forkserver where there is one, else by spawn.

Never by fork: librdkafka's threads do not survive it. A process is killed when the thread
that started it ends. So the loop's thread starts workers, and a thread that ends with the
process starts the forkserver: that may mean importing a large app, and the loop does not
wait for it. Refuses a run inside any of these processes. Knows nothing of what
workers do.
Tested by tests/runtime/test_boot.py, test_main_module.py, test_forkserver.py,
test_starters.py.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.process
import operator
import os
import queue
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import forkserver, reduction, util
from multiprocessing.process import BaseProcess
from typing import Any

import psutil

from kqworker.core.commands import WORKER
from kqworker.errors import ConfigError
from kqworker.loading.import_string import importing
from kqworker.runtime import preload
from kqworker.runtime.reap import Handle
from kqworker.runtime.spec import WorkerSpec
from kqworker.watch import logs

_logger = logs.logger("kqworker.run")

PRELOADED = "kqworker.runtime.preload"

# So many things that an import has left are named.
NAMED = 5

# At the exit, a start that is under way gets so many seconds.
EXIT_SECONDS = 1.0

# One start at a time: what is swapped belongs to the whole process.
_swapping = threading.RLock()
# Held to the end: a start that is cut off in the middle would print a traceback.
# Registered before any run's, it comes after theirs, which still start and end processes.
atexit.register(_swapping.acquire, timeout=EXIT_SECONDS)


def in_worker() -> bool:
    """Return whether this process is a worker, or one that workers are forked from."""
    named = multiprocessing.current_process().name.startswith(WORKER)
    return named or preload.server is not None


def refuse_on_import() -> None:
    """Refuse to run while a module with a handler is imported.

    Raises:
        ConfigError: This is a worker, or the process that imports the handler beforehand.
    """
    if in_worker() or importing():
        raise ConfigError(
            "a module with a handler starts a run when it is imported, and workers import it: "
            'put the start under `if __name__ == "__main__":`'
        )


def forget(process: BaseProcess) -> None:
    """Remove a process from multiprocessing's own list.

    The next start of a process, by another run in another thread too, would ask the
    processes in that list how they ended, and an end can be read only once. At the exit it
    would wait for ever for one that hangs in the kernel, or whose frozen forkserver says nothing.
    """
    multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]


def _end_forkserver() -> None:
    """End the forkserver of this process; the next start brings another."""
    server: Any = forkserver._forkserver  # Any: it has no public way to end
    pid = server._forkserver_pid
    if pid is not None:
        # Threads that the app has left would keep it from ending by itself.
        _kill_tree(pid)
        with contextlib.suppress(ChildProcessError):
            server._stop()


def _end_what_an_import_started() -> None:
    """End the processes that an app's import has started in the forkserver.

    Nothing else would: they hold the terminal, or a pipe that somebody reads to its end.
    """
    server: Any = forkserver._forkserver  # Any: as above
    if server._forkserver_pid is None:
        return
    others = {child.pid for child in multiprocessing.active_children()}
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(server._forkserver_pid)
        if process.ppid() != os.getpid():
            return  # this process was forked, and the forkserver is its parent's
        for child in process.children():
            if child.pid not in others:
                _kill_tree(child.pid)


def _kill_tree(pid: int) -> None:
    handle = Handle(pid)
    handle.kill_tree()
    handle.close()


# Registered before any run's, it comes after theirs, in which workers end.
atexit.register(_end_what_an_import_started)


class Descriptor:
    """A file descriptor that a starting process gets a copy of, as a plain number."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[object, ...]:
        # reduction.DupFd can be made only while a process is being started: now.
        duplicate = reduction.DupFd
        return operator.methodcaller("detach"), (duplicate(self._fd),)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide `__main__`: multiprocessing would run it again in the new process.

    `__main__` is the console script, with all that the command line imports, or a user's script
    without a guard, which would start a run of its own.
    """
    with _swapping:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _flush_what_can_be() -> None:
    for stream in (sys.stdout, sys.stderr):
        # There may be none, or the app has closed it.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()


@contextlib.contextmanager
def _whatever_is_lost() -> Iterator[None]:
    """Start a process although standard output or standard error takes nothing any more.

    multiprocessing flushes both first, for the sake of a fork, and would start none where
    what is in a buffer, a line of a log perhaps, cannot be written.
    """
    with _swapping:
        flush = util._flush_std_streams  # type: ignore[attr-defined]
        util._flush_std_streams = _flush_what_can_be  # type: ignore[attr-defined]
        try:
            yield
        finally:
            util._flush_std_streams = flush  # type: ignore[attr-defined]


class _Forkservers:
    """The thread whose end is the end of a forkserver."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, request: Callable[[], None]) -> None:
        """Have a function called on the thread, in turn."""
        self._requests.put(request)
        # Several runs may begin at once, each in a thread of its own.
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kqworker-fork", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._requests.get()()


_forkservers = _Forkservers()


class Starter:
    """Starts processes, once they can be started without waiting.

    Args:
        spec: What a forkserver should do beforehand.
        method: "forkserver" or "spawn"; None for the best that the platform has.
        wake: Called from another thread when `outcome` has something to learn.

    Attributes:
        warm: Whether processes can be started.
        generation: Counts forkservers.
    """

    def __init__(self, spec: WorkerSpec, method: str | None, wake: Callable[[], None]) -> None:
        known = multiprocessing.get_all_start_methods()
        self.method = method or ("forkserver" if "forkserver" in known else "spawn")
        if self.method not in ("forkserver", "spawn"):
            raise ValueError(f"workers cannot be started by {self.method!r}")
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
        ):
            # The app wants no zombies: then nobody would learn how a process has ended, and a
            # question for that raises an error.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._spec = spec
        self._wake = wake
        context: Any = multiprocessing.get_context(self.method)  # Any: typed as the base of all
        self._new: Callable[..., BaseProcess] = context.Process
        self._warming = False
        self._brought: deque[str | None] = deque()  # from the thread: the fault, or None
        self.warm = self.method == "spawn"
        self.generation = 0

    def warm_up(self) -> None:
        """Bring a forkserver up, unless one is up or under way."""
        if not self.warm and not self._warming:
            self._warming = True
            _forkservers.put(self._bring_up)

    def _bring_up(self) -> None:
        try:
            found = self._first_process()
            if found:
                self._warn(found)
                if self._spec.preload == "auto":
                    # Each worker imports the app from here on.
                    self._spec = replace(self._spec, preload=False)
                    _end_forkserver()
                    self._first_process()
        except (OSError, EOFError) as error:
            # A forkserver that was killed a moment ago still looks alive: wait before the next try.
            time.sleep(0.05)
            died = isinstance(error, EOFError | ConnectionError)
            self._brought.append(
                "the forkserver died while it imported the app"
                if died
                else f"no forkserver can be started: {error}"
            )
        else:
            self._brought.append(None)
        self._wake()

    def _first_process(self) -> list[str]:
        """Start a forkserver, unless one runs; return what the app's import has left in it.

        The first of its processes answers when it has imported what it should.
        """
        reader, writer = os.pipe()
        try:
            os.set_blocking(reader, False)
            probe = self._process(preload.tell, (Descriptor(writer),))
            with self._as_ours():
                forkserver.set_forkserver_preload([PRELOADED])
                forkserver.ensure_running()
                probe.start()
                forget(probe)
            probe.join()
            probe.close()
            module, found = preload.told(reader)
        finally:
            os.close(reader)
            os.close(writer)
        # Another run of this program may have had its own app imported.
        return found if module == self._spec.module else []

    def _warn(self, found: list[str]) -> None:
        what = ", ".join(found[:NAMED])
        if len(found) > NAMED:
            what += f" and {len(found) - NAMED} more"
        automatic = self._spec.preload == "auto"
        then = (
            "so each worker imports the app itself; open them under @app.on_worker_start, and "
            "workers share the import again"
            if automatic
            else "and workers are forked from it all the same, since preload is true"
        )
        text = "importing %s has left what forked workers would hang on or share (%s), %s"
        told = {"event": "not_preloaded" if automatic else "preloaded"}
        _logger.warning(text, repr(self._spec.module), what, then, extra=told)

    def outcome(self) -> str | None:
        """Learn that a forkserver has come up; return why not, if that failed."""
        fault = None
        while self._brought:
            fault = self._brought.popleft()
            self._warming = False
            self.warm = fault is None
            self.generation += 1
        return fault

    def start(
        self, name: str, target: Callable[..., None], args: tuple[object, ...]
    ) -> BaseProcess:
        """Start a process; only when `warm`.

        Raises:
            OSError, EOFError: It cannot be started; there may be no forkserver any more.
        """
        process = self._process(target, args, name)
        with self._as_ours():
            process.start()
            forget(process)
        return process

    @contextlib.contextmanager
    def _as_ours(self) -> Iterator[None]:
        """Start a process as a worker must be."""
        with _without_main(), _whatever_is_lost(), self._ordered(), preload.holding_signals():
            yield

    def _ordered(self) -> contextlib.AbstractContextManager[None]:
        """Tell a forkserver what to do; a spawned worker would take the order for its own."""
        if self.method == "forkserver":
            return preload.ordered(self._spec)
        return contextlib.nullcontext()

    def _process(
        self, target: Callable[..., object], args: tuple[object, ...], name: str | None = None
    ) -> BaseProcess:
        # Not a daemon: a handler may start processes of its own.
        return self._new(target=target, args=args, name=name)

    def cold(self, generation: int) -> None:
        """Note that a forkserver has died; only the present one matters."""
        if generation == self.generation:
            self.warm = self.method == "spawn"
