"""Two runs of one process share a forkserver, and keep out of each other's way."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from kqworker.runtime.printing import print_nowhere
from kqworker.runtime.spec import WorkerSpec
from kqworker.runtime.start import Starter, in_worker
from kqworker.runtime.start import _end_forkserver as end_forkserver
from tests.runtime.servers import fresh_server


@pytest.fixture(autouse=True)
def own_server() -> Iterator[None]:
    with fresh_server():
        yield


def warm(count: int) -> list[Starter]:
    """Return starters that came up at the same time."""
    woken = [threading.Event() for _ in range(count)]
    starters = [Starter(WorkerSpec(), "forkserver", event.set) for event in woken]
    warming = [threading.Thread(target=starter.warm_up) for starter in starters]
    for thread in warming:
        thread.start()
    for thread, event, starter in zip(warming, woken, starters, strict=True):
        thread.join()
        assert event.wait(30)
        assert starter.outcome() is None
        assert starter.warm
    return starters


def waiting(fd: int) -> int:
    """Return how many bytes can be read."""
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def test_a_start_does_not_read_how_another_runs_worker_ended() -> None:
    one, two = warm(2)
    ended = one.start("kqworker-1", os._exit, (7,))
    assert wait([ended.sentinel], 30)

    other = two.start("kqworker-1", int, ())

    assert waiting(ended.sentinel) > 0
    assert ended.exitcode == 7
    for process in (ended, other):
        process.join()
        process.close()


class CtrlC:
    """Arrives while a new process unpickles what it is given: before any line of ours."""

    def __reduce__(self) -> tuple[object, ...]:
        return signal.raise_signal, (signal.SIGINT,)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_ctrl_c_does_not_end_a_process_that_is_starting(
    method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if method == "forkserver":
        (starter,) = warm(1)
    else:
        starter = Starter(WorkerSpec(), method, lambda: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    process = starter.start("kqworker-1", isinstance, (CtrlC(), object))

    process.join()
    assert process.exitcode == 0
    process.close()
    assert capfd.readouterr().err == ""
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_a_full_disk_has_not_taken_keeps_no_process_from_starting(
    method: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"stdout": "stderr", "stderr": "stdout"}[name]
    taken = tmp_path / "taken"
    with Path("/dev/full").open("w") as full, taken.open("w") as written:
        monkeypatch.setattr(sys, name, full)
        monkeypatch.setattr(sys, other, written)
        for stream in (full, written):
            print("a line", file=stream)
        try:
            if method == "forkserver":
                (starter,) = warm(1)
            else:
                starter = Starter(WorkerSpec(), method, lambda: None)
            process = starter.start("kqworker-1", os._exit, (7,))
            process.join()

            assert process.exitcode == 7
            process.close()
            # What can be written is there before what a worker writes.
            assert taken.read_text() == "a line\n"
        finally:
            print_nowhere(full.fileno())


def test_only_a_worker_is_one() -> None:
    assert not in_worker()


def test_an_app_that_ignores_how_its_children_end_keeps_no_worker_from_starting() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        warm(1)
        end_forkserver()  # as is done with one that has imported what no worker may share
        (starter,) = warm(1)
        ended = starter.start("kqworker-1", os._exit, (7,))
        assert wait([ended.sentinel], 30)

        assert ended.exitcode == 7
        ended.join()
        ended.close()
    finally:
        signal.signal(signal.SIGCHLD, before)
