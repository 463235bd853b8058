"""An app whose messages say what is to be done with them: `verb` or `verb argument`.

Every message is traced, where its `trace` header names a file: a line when its handler
begins, and one when it has ended, each by one write.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kqworker import App, Context, Message, Reject, RetryLater
from kqworker.runtime import channel

app = App("verbs")
STARTED = [sys.executable, "-c", "import time; time.sleep(600)"]


class Hostile(Exception):  # an error that does all it can to hurt
    def __init__(self, lock: object) -> None:
        super().__init__(lock)

    def __str__(self) -> str:
        raise SystemExit("no text for you")

    def __reduce__(self) -> str:
        raise TypeError("no pickle for you")


def trace(message: Message[str], what: str) -> None:
    path = dict(message.headers).get("trace")
    if path is not None:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{message.offset} {what}\n".encode())
        os.close(fd)


def report(path: str, pid: int) -> None:
    """Write a pid into a file, at once and whole."""
    Path(f"{path}.new").write_text(str(pid))
    Path(f"{path}.new").rename(path)


def fork(path: str, daemon: bool = False, come_back: bool = False) -> object:
    """Fork a child that stays, or one that comes back out of the handler."""
    pid = os.fork()
    if pid:
        return None
    if daemon:
        os.setsid()
    report(path, os.getpid())
    if come_back:
        return "I am the worker, believe me"
    time.sleep(600)
    os._exit(0)


def raise_back(path: str) -> None:
    if fork(path, come_back=True) is not None:
        sys.exit(4)


def cut_next(size: str) -> None:
    """Die by SIGKILL in the middle of the next frame, after so many bytes of it."""

    def send(self: channel.WorkerChannel, frame: bytes | bytearray) -> None:
        whole(self, frame[: int(size)])
        os.kill(os.getpid(), signal.SIGKILL)

    whole = channel.WorkerChannel.send
    channel.WorkerChannel.send = send  # type: ignore[method-assign]


def out_of_memory(_: str) -> None:
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + (64 << 20), hard))
    try:
        bytearray(1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def hang_with_the_gil(_: str) -> None:
    """Sleep in C, with the GIL held and signals without effect."""
    ctypes.PyDLL(None).sleep(600)


def fail(text: str) -> None:
    raise ValueError(text)


def reject(text: str) -> None:
    raise Reject(text)


def later(seconds: str) -> None:
    raise RetryLater(float(seconds))


def hostile(_: str) -> None:
    raise Hostile(lambda: None)


def returned(size: str) -> bytes:
    return b"x" * int(size)


def start(path: str) -> None:
    report(path, subprocess.Popen(STARTED).pid)


def report_and_sleep(path: str) -> None:
    report(path, os.getpid())
    time.sleep(600)


def start_process(path: str) -> None:
    multiprocessing.get_context("fork").Process(target=report_and_sleep, args=(path,)).start()


def close_everything(_: str) -> None:
    os.closerange(3, 256)
    time.sleep(600)


def garble(_: str) -> None:
    """Write what is no frame into every socket there is."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        try:
            if str(Path(f"/proc/self/fd/{name}").readlink()).startswith("socket:"):
                os.write(int(name), b"\xff" * 64)
        except OSError:
            continue
    time.sleep(600)


def until(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.002)


VERBS: dict[str, Callable[[str], object]] = {
    "ok": lambda _: None,
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "until": until,
    "fail": fail,
    "reject": reject,
    "later": later,
    "hostile": hostile,
    "return": returned,
    "unsendable": lambda _: "\udc80",
    "exit": lambda code: os._exit(int(code)),
    "sysexit": lambda code: sys.exit(int(code)),
    "interrupt": lambda _: signal.raise_signal(signal.SIGINT),
    "terminate": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "signal": lambda number: os.kill(os.getpid(), int(number)),
    "segfault": lambda _: ctypes.string_at(0),
    "memory": out_of_memory,
    "hang": hang_with_the_gil,
    "print": lambda size: print("p" * int(size)),
    "cut": cut_next,
    "start": start,
    "process": start_process,
    "fork": fork,
    "daemon": lambda path: fork(path, daemon=True),
    "come-back": lambda path: fork(path, come_back=True),
    "raise-back": raise_back,
    "close": close_everything,
    "garble": garble,
    "push": lambda topic: app.push(topic, "pushed") and None,
    "stdin": lambda _: sys.stdin.read() or None,
    "main": lambda _: str(sys.modules["__main__"].__dict__.get("MARK", "no mark")),
    "nothing": lambda _: None,
}


@app.handler(topic="verbs", output="out", time_limit=30.0)
def do(message: Message[str], context: Context) -> object:
    verb, _, argument = message.value.partition(" ")
    trace(message, "begin")
    result = VERBS[verb](argument)
    trace(message, "end")
    return result


@app.handler(topic="async", output="out")
async def do_async(message: Message[str]) -> object:
    await asyncio.sleep(0)
    verb, _, argument = message.value.partition(" ")
    return VERBS[verb](argument)


@app.handler(topic="fast")
def nothing(value: bytes) -> None:
    pass


started: list[int] = []


@app.on_worker_start
def note_start() -> None:
    started.append(os.getpid())


@app.on_worker_start
async def note_start_async() -> None:
    await asyncio.sleep(0)
    started.append(os.getpid())


@app.on_worker_stop
def note_stop() -> None:
    path = os.environ.get("KQWORKER_TEST_STOPS")
    if path:
        with Path(path).open("a") as file:
            file.write(f"{started == [os.getpid()] * 2}\n")
