"""The app that supervisors run under test: every message says what its handler is to do.

Messages are `verb argument padding`, such as `spin 0.001`. What the app listens to and its
policies come by the environment (supervisors.py sets it). Nothing here knows of Kafka.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from kqworker import App, Context, Message, Reject, Retry
from tests.kafka.journal import APP, Journal

_told: dict[str, Any] = json.loads(os.environ[APP])
journal = Journal(Path(_told.pop("journal")))
_quiet = _told.pop("quiet", None)
_retry = Retry(**_told.pop("retry", {}))
app = App("under-test")


class Unpicklable(Exception):
    """Cannot be pickled, and its text cannot be had either."""

    def __reduce__(self) -> Any:
        raise TypeError("not me")

    def __str__(self) -> str:
        raise ValueError("nor this")


@app.handler(retry=_retry, **_told)
def work(message: Message[bytes], context: Context) -> None:
    """Do what the message says."""
    verb, argument, *_ = (*message.value.decode().split(" ", 2), "", "")
    with journal.attempt(context):
        do(verb, argument, context)


def beside(message: Message[bytes], context: Context) -> None:
    """Do what a message of another topic says, where the test asks for a second handler."""
    verb, argument, *_ = (*message.value.decode().split(" ", 2), "", "")
    with journal.attempt(context):
        do(verb, argument, context)


if _quiet is not None:
    app.handler(topic=_quiet)(beside)


def do(verb: str, argument: str, context: Context) -> None:
    """One verb of the messages."""
    match verb:
        case "ok":
            pass
        case "spin":
            spin(float(argument))
        case "sleep":
            time.sleep(float(argument))
        case "until":  # a file is there, beside the journals of this supervisor's workers
            while not (journal.folder / argument).exists():
                time.sleep(0.005)
        case "fail":  # on its first so many attempts
            spin(0.00005)
            if context.attempt <= int(argument):
                raise RuntimeError(f"attempt {context.attempt} was to fail")
        case "reject":
            raise Reject(argument)
        case "hang":  # in C, with the GIL held, and deaf to every signal but SIGKILL
            max(itertools.repeat(0))
        case "exit":
            os._exit(int(argument))
        case "leave":
            sys.exit(argument)
        case "die":
            os.kill(os.getpid(), getattr(signal, argument))
        case "fell":  # the whole supervisor, as the system does it that has no memory left
            supervisor = multiprocessing.parent_process()
            assert supervisor is not None and supervisor.pid is not None
            os.kill(supervisor.pid, signal.SIGKILL)
            time.sleep(600.0)
        case "segfault":
            ctypes.string_at(0)
        case "leak":  # until the system refuses
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            before = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (used + 64 * 2**20, before[1]))
            try:
                leaked = [bytearray(2**20) for _ in range(1024)]
                raise AssertionError(f"{len(leaked)} MiB were not too much")
            finally:
                resource.setrlimit(resource.RLIMIT_AS, before)
        case "unpicklable":
            raise Unpicklable
        case "print":
            sys.stdout.write("x" * int(argument))
            sys.stderr.write("x" * int(argument))
        case "fork":  # a child that stays
            if os.fork() == 0:
                time.sleep(600.0)
        case _:
            raise ValueError(f"no verb {verb!r}")


def spin(seconds: float) -> None:
    """Use so much CPU."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
