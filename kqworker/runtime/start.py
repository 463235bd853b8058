"""How worker processes are started: by a forkserver where there is one, else by spawn.

Never by fork: librdkafka's threads do not survive it. All starting is done on the thread
that calls, which must be the main one, because a process is killed when the thread that
started it ends. Only the wait for a new forkserver, which may import a large app, has a
thread of its own. Knows nothing of what workers do.
Tested by tests/runtime/test_boot.py, test_main_module.py, test_forkserver.py.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import operator
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, reduction
from multiprocessing.process import BaseProcess
from typing import Any

from kqworker.runtime import preload
from kqworker.runtime.spec import WorkerSpec

PRELOADED = "kqworker.runtime.preload"

# One at a time: what is swapped belongs to the whole process.
_swapping = threading.RLock()


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

    That is the console script, with all that the command line imports, or a user's script
    without a guard, which would start a run of its own.
    """
    with _swapping:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


class Starter:
    """Starts processes, once they can be started without waiting.

    Args:
        spec: What a forkserver should do beforehand.
        method: "forkserver" or "spawn"; None for the best that the platform has.
        wake: Called from another thread when `warm` has changed.
    """

    def __init__(self, spec: WorkerSpec, method: str | None, wake: Callable[[], None]) -> None:
        known = multiprocessing.get_all_start_methods()
        self.method = method or ("forkserver" if "forkserver" in known else "spawn")
        if self.method not in ("forkserver", "spawn"):
            raise ValueError(f"workers cannot be started by {self.method!r}")
        self._spec = spec
        self._wake = wake
        context: Any = multiprocessing.get_context(self.method)  # Any: typed as the base of all
        self._new: Callable[..., BaseProcess] = context.Process
        self._warming: threading.Thread | None = None
        self._fault: str | None = None
        self.warm = self.method == "spawn"

    def warm_up(self) -> None:
        """Bring a forkserver up, unless one is up or under way."""
        if self.warm or self._warming is not None:
            return
        with self._ordered(), _without_main():
            forkserver.set_forkserver_preload([PRELOADED])
            # On this thread: the forkserver's life is tied to it.
            forkserver.ensure_running()
        self._warming = threading.Thread(target=self._wait, name="kqworker-warm-up", daemon=True)
        self._warming.start()

    def _wait(self) -> None:
        # A forkserver answers when it has imported what it should: its first process tells.
        try:
            probe = self._process(int, ())
            with self._ordered(), _without_main():
                probe.start()
            probe.join()
            probe.close()
        except (OSError, EOFError):
            # One that was killed a moment ago still looks alive: not at once again.
            time.sleep(0.05)
            self._fault = "the forkserver died while it imported the app"
        else:
            self.warm = True
        self._wake()

    def outcome(self) -> str | None:
        """Return why warming up has failed, once; None if it has not."""
        if self._warming is not None and (self.warm or self._fault is not None):
            self._warming.join()
            self._warming = None
        fault, self._fault = self._fault, None
        return fault

    def start(
        self, name: str, target: Callable[..., None], args: tuple[object, ...]
    ) -> BaseProcess:
        """Start a process; only when `warm`.

        Raises:
            OSError, EOFError: It cannot be started; there may be no forkserver any more.
        """
        process = self._process(target, args, name)
        with self._ordered(), _without_main():
            process.start()
        return process

    def _ordered(self) -> contextlib.AbstractContextManager[None]:
        """Tell a forkserver what to do; a spawned worker would take it for its own order."""
        if self.method == "forkserver":
            return preload.ordered(self._spec)
        return contextlib.nullcontext()

    def _process(
        self, target: Callable[..., object], args: tuple[object, ...], name: str | None = None
    ) -> BaseProcess:
        # Not a daemon: a handler may start processes of its own.
        return self._new(target=target, args=args, name=name)

    def cold(self) -> None:
        """Note that the forkserver has died."""
        self.warm = self.method == "spawn"

    def close(self, timeout: float) -> None:
        """Wait for a forkserver that is still coming up."""
        if self._warming is not None:
            self._warming.join(timeout)
