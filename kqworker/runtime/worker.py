"""A worker process, from its first line to its last.

Decides the order: leave the terminal, tie to the supervisor, import the app, run
the start hooks, say so, run tasks, run the stop hooks. Only the supervisor ends a worker:
by a frame, by closing the channel, or by SIGKILL. `invoke` runs messages.
Tested by tests/runtime/test_boot.py, test_worker.py, test_orphans.py.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import inspect
import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import replace
from pathlib import Path

from kqworker.app.app import App, in_run
from kqworker.app.context import collecting
from kqworker.errors import ConfigError
from kqworker.loading.import_string import port_in_use
from kqworker.runtime import broadcasts, preload
from kqworker.runtime.channel import SupervisorGone, WorkerChannel
from kqworker.runtime.contexts import for_messages
from kqworker.runtime.coroutines import Coroutines
from kqworker.runtime.failures import TRACEBACK_SIZE, cut, describe
from kqworker.runtime.inherited import reseed
from kqworker.runtime.invoke import AnyHandler, Invoker
from kqworker.runtime.orphans import die_with_parent, supervisor_lives, watch_supervisor
from kqworker.runtime.printing import finish_streams, take_streams
from kqworker.runtime.slot import WorkerSlot
from kqworker.runtime.spec import WorkerSpec, arranged, changes, load
from kqworker.types import Failure
from kqworker.watch import logs
from kqworker.wire import Stop, encode_boot_failed, encode_ready

_logger = logs.logger("kqworker.worker")


def main(spec: WorkerSpec, channel_fd: int, slot_fd: int) -> None:
    """Be a worker; return when there is nothing more to do.

    Args:
        spec: The app, and how to log.
        channel_fd: A connected socket; closed here.
        slot_fd: The slot's memory; closed here.
    """
    _cut_loose()
    unnamed = _show_name(multiprocessing.current_process().name)
    _tie()
    channel = WorkerChannel(socket.socket(fileno=channel_fd))
    slot = WorkerSlot(slot_fd)
    take_streams(status_line=spec.log_format == "text")
    os.register_at_fork(after_in_child=lambda: _not_the_worker(channel, slot, unnamed))
    coroutines = Coroutines()
    booted = _boot(spec, channel, coroutines)
    if booted is not None:
        app, handlers, hooks = booted
        messages, fresh = for_messages(hooks)
        with contextlib.suppress(SupervisorGone):
            invoker = Invoker(handlers, slot, channel, coroutines, fresh)
            messages.run(_serve, invoker, channel, slot, coroutines)
        finish_streams(_logger)
        _run_stop_hooks(app.stop_hooks, coroutines, hooks)
    coroutines.close()
    # Before Python 3.13 multiprocessing does not run them: they are the app's own clean-up.
    atexit._run_exitfuncs()
    finish_streams(_logger)


def _serve(
    invoker: Invoker, channel: WorkerChannel, slot: WorkerSlot, coroutines: Coroutines
) -> None:
    slot.spent()
    channel.send(encode_ready(os.getpid()))
    while True:
        frame = channel.receive(coroutines.until_readable)
        if frame is None or isinstance(frame, Stop):
            return
        invoker.run(frame)


def _cut_loose() -> None:
    """Leave the terminal's reach: the supervisor acts on Ctrl-C and on stops that are broadcast.

    In a session of its own, what the worker starts can be found and ended with it.
    """
    os.setsid()
    broadcasts.take_no_notice()
    if not faulthandler.is_enabled():
        # A crash in C then says on stderr where it was.
        with contextlib.suppress(Exception):  # stderr may be closed, or no file
            faulthandler.enable()


def _show_name(name: str) -> str:
    """Have `ps -o comm` and `top` show a name, if Linux's /proc is there; return the old one."""
    try:
        with Path("/proc/self/comm").open("r+", encoding="utf-8", errors="replace") as comm:
            former = comm.read().strip()
            comm.write(name)
    except OSError:
        return name
    return former


def _tie() -> None:
    """End with the supervisor."""
    tied = die_with_parent()
    supervisor = multiprocessing.parent_process()
    if preload.server is not None:
        if os.getppid() != preload.server:
            os._exit(1)
    elif not tied or supervisor is None or os.getppid() != supervisor.pid:
        # It is tied to nothing, or to a forkserver that is not tied itself.
        watch_supervisor()
    if not supervisor_lives():
        os._exit(1)


def _not_the_worker(channel: WorkerChannel, slot: WorkerSlot, name: str) -> None:
    """Close what only the worker may use, in a child that a handler forks."""
    _show_name(name)
    channel.close()
    slot.close()
    collecting(False)


def _boot(
    spec: WorkerSpec, channel: WorkerChannel, coroutines: Coroutines
) -> tuple[App, Sequence[AnyHandler], Context] | None:
    """Return the app, its handlers and its hooks' context; None after it reported a failure."""
    try:
        refusal = preload.refused(spec)
        if refusal is not None:
            raise ConfigError(refusal)
        app = load(spec)
        in_run(app, spec.settings)
        reseed()
        handlers = arranged(app, spec.declared)
        logs.configure(spec.log_level, spec.log_format)
        changed = changes(app, spec.declared)
        if changed is not None:
            _logger.warning("%s", changed, extra={"event": "handlers_changed"})
        collecting(True)
        hooks = copy_context()
        for hook in app.start_hooks:
            _run_hook(hook, coroutines, hooks)
    except BaseException as error:  # the user's module may raise anything, SystemExit too
        with contextlib.suppress(SupervisorGone):
            channel.send(encode_boot_failed(_boot_failure(error)))
        return None
    return app, handlers, hooks


def _boot_failure(error: BaseException) -> Failure:
    if isinstance(error, ConfigError):
        # Its text is written for people, with the user's part of the traceback.
        return Failure("ConfigError", cut(str(error), TRACEBACK_SIZE))
    told = describe(error)
    return replace(told, text=told.text + port_in_use(error))


def _run_hook(hook: Callable[[], object], coroutines: Coroutines, context: Context) -> None:
    result = context.run(hook)
    if inspect.iscoroutine(result):
        coroutines.run(result, context)


def _run_stop_hooks(
    hooks: Sequence[Callable[[], object]], coroutines: Coroutines, context: Context
) -> None:
    for hook in hooks:
        try:
            _run_hook(hook, coroutines, context)
        except BaseException:  # one hook's failure must not keep the others from running
            _logger.exception("a stop hook failed")
