"""What a forkserver does before it forks workers; it imports this module, by name.

It ties the forkserver to its supervisor, and imports the app so that all workers share
what that loads. The forkserver swallows import errors, ignores the app's directory and
gets no arguments: the order comes in the environment, and what became of it stays here,
for the workers to look at. Imported anywhere else this does nothing.
Tested by tests/runtime/test_forkserver.py.
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
from pathlib import Path

from kqworker.runtime.orphans import die_with_parent
from kqworker.runtime.spec import WorkerSpec

VARIABLE = "KQWORKER_FORKSERVER"


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
    """Have a forkserver that is started meanwhile do what the spec asks for."""
    directory = str(Path(spec.app_dir or ".").resolve())
    os.environ[VARIABLE] = json.dumps(asdict(Order(os.getpid(), spec.module, directory)))
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)


# In a worker: the forkserver's pid, where it took part; and why its workers must not run.
server: int | None = None
refusal: str | None = None


def refused(spec: WorkerSpec) -> str | None:
    """Return why no worker may be forked for this spec, or None."""
    return refusal if _order is not None and spec.module == _order.module else None


def _carry_out(order: Order) -> None:
    global server, refusal
    # A stop that is broadcast, by a service manager or a terminal that closes, is the
    # supervisor's to act on: without the forkserver all workers would end in the middle of
    # their messages.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    tied = die_with_parent()
    if os.getppid() != order.supervisor:
        os._exit(1)
    if tied:
        server = os.getpid()
    # What each worker needs anyway.
    importlib.import_module("kqworker.runtime.worker")
    if order.module:
        sys.path.insert(0, order.app_dir)
        try:
            importlib.import_module(order.module)
        except BaseException:  # whatever it is: each worker meets it again, and reports it
            pass
        held = kafka_threads()
        if held:
            refusal = (
                f"importing {order.module!r} opened a Kafka client ({held[0]} runs): it would not "
                "work in the worker processes; open it in a function under @app.on_worker_start"
            )
        # Or each worker would write it once more.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    # Collections in the workers would touch, and so copy, what they share.
    gc.collect()
    gc.freeze()


def kafka_threads() -> list[str]:
    """Return the names of librdkafka's threads in this process; empty elsewhere than Linux."""
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
