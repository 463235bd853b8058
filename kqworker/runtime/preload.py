"""What a forkserver does before it forks workers; it imports this module, by name.

It ties the forkserver to its supervisor, and imports the app so that all workers share
what that loads. The forkserver swallows import errors, ignores the app's directory and
gets no arguments. So the order comes in the environment, and the result stays here for the
workers, and for a first process that reports it to the supervisor. Imported
anywhere else, this does nothing. Tested by tests/runtime/test_forkserver.py.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing import resource_tracker
from pathlib import Path

from kqworker.runtime import broadcasts
from kqworker.runtime.inherited import Before
from kqworker.runtime.orphans import die_with_parent
from kqworker.runtime.printing import flush_or_drop
from kqworker.runtime.spec import WorkerSpec

VARIABLE = "KQWORKER_FORKSERVER"

# So many things that an import has left are reported; any pipe takes them at once.
TOLD = 20
TOLD_CHARACTERS = 200
TOLD_SIZE = 32 << 10


@dataclass(frozen=True, slots=True)
class Order:
    """What a supervisor asks of its forkserver.

    Attributes:
        supervisor: Its pid.
        module: The module to import; empty for none.
        app_dir: The directory to import it from.
    """

    supervisor: int
    module: str
    app_dir: str


@contextlib.contextmanager
def ordered(spec: WorkerSpec) -> Iterator[None]:
    """Let a forkserver that is started inside do what the spec asks for."""
    directory = str(Path(spec.app_dir or ".").resolve())
    os.environ[VARIABLE] = json.dumps(asdict(Order(os.getpid(), spec.module, directory)))
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)


@contextlib.contextmanager
def holding_signals() -> Iterator[None]:
    """Start processes inside with the broadcast signals blocked.

    Ctrl-C would end them with a traceback before they can ignore it. They unblock them.
    """
    # The tracker must run already: its own start would unblock them.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, broadcasts.BROADCAST)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In a worker: the forkserver's pid, if it took part; why its workers must not run; and
# what the import has left that they would wait for or share.
server: int | None = None
refusal: str | None = None
_found: list[str] = []


def refused(spec: WorkerSpec) -> str | None:
    """Return why no worker may be forked for this spec, or None."""
    return refusal if _order is not None and spec.module == _order.module else None


def tell(fd: int) -> None:
    """Write what the import has left that a fork breaks; runs in a process of its own."""
    module = _order.module if _order is not None else ""
    found = [text[:TOLD_CHARACTERS] for text in _found[:TOLD]]
    with contextlib.suppress(BrokenPipeError):  # the supervisor has ended meanwhile
        os.write(fd, json.dumps([module, found]).encode())


def told(fd: int) -> tuple[str, list[str]]:
    """Return the module that was imported, and what `tell` found; fd does not block."""
    try:
        module, found = json.loads(os.read(fd, TOLD_SIZE))
    except (OSError, ValueError):  # it has died
        return "", []
    return module, found


def _carry_out(order: Order) -> None:
    global server, refusal, _found
    # The supervisor acts on a stop: without the forkserver all workers would end in the
    # middle of their messages.
    broadcasts.take_no_notice()
    tied = die_with_parent()
    if os.getppid() != order.supervisor:
        os._exit(1)
    if tied:
        server = os.getpid()
    # Each worker needs this anyway.
    importlib.import_module("kqworker.runtime.worker")
    if order.module:
        sys.path.insert(0, order.app_dir)
        before = Before()
        try:
            importlib.import_module(order.module)
        except BaseException:  # each worker gets the same error again, and reports it
            pass
        refusal = refusal_after(order.module)
        if refusal is None:
            _found = before.found()
        # Otherwise each worker would write it once more, or fail to.
        flush_or_drop()
    # The workers are forks of this process, and have no handlers of their own yet.
    broadcasts.spare_forks()
    # Collections in the workers would touch, and so copy, what they share.
    gc.collect()
    gc.freeze()


def refusal_after(module: str) -> str | None:
    """Return why no worker may be forked from this process, which has imported the module."""
    held = kafka_threads()
    if not held:
        return None
    return (
        f"importing {module!r} opened a Kafka client ({held[0]} runs): it would not work in the "
        "worker processes; open it in a function under @app.on_worker_start"
    )


def kafka_threads() -> list[str]:
    """Return the names of librdkafka's threads in this process; empty except on Linux."""
    names = []
    for task in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            name = task.read_text().strip()
            if name.startswith("rdk:"):
                names.append(name)
    return names


_order: Order | None = None
if VARIABLE in os.environ:
    _order = Order(**json.loads(os.environ.pop(VARIABLE)))
    _carry_out(_order)
