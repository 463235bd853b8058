"""A worker process, from its first line to its last.

Decides the order: cut loose from the terminal, tie to the supervisor, import the app, run
the start hooks, say so, run tasks, run the stop hooks. A worker is ended by its supervisor
alone: by a frame, by closing the channel, or by SIGKILL. How messages are run is
`invoke`'s. Tested by tests/runtime/test_boot.py, test_worker.py, test_orphans.py.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import inspect
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from kqworker import logs
from kqworker.app import App
from kqworker.context import collecting
from kqworker.errors import ConfigError
from kqworker.runtime import preload
from kqworker.runtime.channel import SupervisorGone, WorkerChannel
from kqworker.runtime.failures import TRACEBACK_SIZE, cut, describe
from kqworker.runtime.invoke import AnyHandler, Invoker
from kqworker.runtime.orphans import die_with_parent, supervisor_lives, watch_supervisor
from kqworker.runtime.printing import finish_streams, take_streams
from kqworker.runtime.slot import WorkerSlot
from kqworker.runtime.spec import WorkerSpec, arranged, changes, load
from kqworker.types import Failure
from kqworker.wire import Stop, encode_boot_failed, encode_ready

if TYPE_CHECKING:
    import asyncio

_logger = logs.logger("kqworker.worker")


def main(spec: WorkerSpec, channel_fd: int, slot_fd: int) -> None:
    """Be a worker; return when there is nothing more to do.

    Args:
        spec: The app, and how to log.
        channel_fd: A connected socket; closed here.
        slot_fd: The slot's memory; closed here.
    """
    _cut_loose()
    _tie()
    channel = WorkerChannel(socket.socket(fileno=channel_fd))
    slot = WorkerSlot(slot_fd)
    take_streams(status_line=spec.log_format == "text")
    os.register_at_fork(after_in_child=lambda: _not_the_worker(channel, slot))
    coroutines = Coroutines()
    booted = _boot(spec, channel, coroutines)
    if booted is not None:
        app, handlers = booted
        with contextlib.suppress(SupervisorGone):
            _serve(handlers, channel, slot, coroutines)
        finish_streams(_logger)
        _run_stop_hooks(app.stop_hooks, coroutines)
    coroutines.close()
    # multiprocessing leaves them out, before Python 3.13: they are the app's own clean-up.
    atexit._run_exitfuncs()
    finish_streams(_logger)


def _serve(
    handlers: Sequence[AnyHandler],
    channel: WorkerChannel,
    slot: WorkerSlot,
    coroutines: Coroutines,
) -> None:
    invoker = Invoker(handlers, slot, channel, coroutines.run)
    slot.spent()
    channel.send(encode_ready(os.getpid()))
    while True:
        frame = channel.receive()
        if frame is None or isinstance(frame, Stop):
            return
        invoker.run(frame)


def _cut_loose() -> None:
    """Leave the terminal's reach: Ctrl-C and stops that are broadcast are the supervisor's.

    In a session of its own, what the worker starts can be found and ended with it.
    """
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not SIG_IGN: programs that a handler starts would inherit that.
        signal.signal(number, _take_no_notice)
    if not faulthandler.is_enabled():
        # A crash in C says on stderr where it was.
        with contextlib.suppress(Exception):  # stderr may be closed, or no file
            faulthandler.enable()


def _take_no_notice(_number: int, _frame: FrameType | None) -> None:
    pass


def _tie() -> None:
    """End with the supervisor."""
    tied = die_with_parent()
    supervisor = multiprocessing.parent_process()
    if preload.server is not None:
        if os.getppid() != preload.server:
            os._exit(1)
    elif not tied or supervisor is None or os.getppid() != supervisor.pid:
        # Tied to nothing, or to a forkserver that is not tied itself.
        watch_supervisor()
    if not supervisor_lives():
        os._exit(1)


def _not_the_worker(channel: WorkerChannel, slot: WorkerSlot) -> None:
    """Take from a child that a handler forks what is the worker's alone."""
    channel.close()
    slot.close()
    collecting(False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is _take_no_notice:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is _take_no_notice:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _boot(
    spec: WorkerSpec, channel: WorkerChannel, coroutines: Coroutines
) -> tuple[App, Sequence[AnyHandler]] | None:
    """Return the app and its handlers, ready for messages; None if that failed, and was told."""
    try:
        refusal = preload.refused(spec)
        if refusal is not None:
            raise ConfigError(refusal)
        app = load(spec)
        handlers = arranged(app, spec.declared)
        logs.configure(spec.log_level, spec.log_format)
        changed = changes(app, spec.declared)
        if changed is not None:
            _logger.warning("%s", changed, extra={"event": "handlers_changed"})
        collecting(True)
        for hook in app.start_hooks:
            _run_hook(hook, coroutines)
    except BaseException as error:  # the user's module may raise anything, SystemExit too
        with contextlib.suppress(SupervisorGone):
            channel.send(encode_boot_failed(_boot_failure(error)))
        return None
    return app, handlers


def _boot_failure(error: BaseException) -> Failure:
    if isinstance(error, ConfigError):
        # Written for people, with the part of the traceback that is theirs.
        return Failure("ConfigError", cut(str(error), TRACEBACK_SIZE))
    return describe(error)


def _run_hook(hook: Callable[[], object], coroutines: Coroutines) -> None:
    result = hook()
    if inspect.iscoroutine(result):
        coroutines.run(result)


def _run_stop_hooks(hooks: Sequence[Callable[[], object]], coroutines: Coroutines) -> None:
    for hook in hooks:
        try:
            _run_hook(hook, coroutines)
        except BaseException:  # one hook's failure must not keep the others from running
            _logger.exception("a stop hook failed")


class Coroutines:
    """Runs coroutines on one event loop, made at the first of them."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:  # Any: nothing is sent in
        """Run a coroutine to its end."""
        if self._runner is None:
            import asyncio

            self._runner = asyncio.Runner()
        # Not Runner.run: it sets up a signal handler and a context for each.
        return self._runner.get_loop().run_until_complete(coroutine)

    def close(self) -> None:
        """Cancel what handlers left running, and close the loop."""
        if self._runner is not None:
            self._runner.close()
