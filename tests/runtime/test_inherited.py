"""What is found of an import that a fork does not go with, in this process and in stand-ins."""

from __future__ import annotations

import _thread
import logging
import logging.handlers
import mmap
import multiprocessing
import os
import queue
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.runtime.inherited import Before, _shown, reseed


def test_nothing_new_is_nothing_found() -> None:
    assert Before().found() == []


@pytest.fixture
def going() -> Iterator[threading.Event]:
    """Set at the end; threads wait for it."""
    event = threading.Event()
    yield event
    event.set()


def test_a_thread_is_named_with_the_module_of_what_it_runs(going: threading.Event) -> None:
    before = Before()
    thread = threading.Thread(target=going.wait, name="pump", daemon=True)
    thread.start()

    assert before.found() == ["thread 'pump' of threading"]
    assert Before().found() == []
    going.set()
    thread.join()
    assert before.found() == []


def test_so_is_the_thread_of_a_listener_to_a_queue() -> None:
    before = Before()
    lines: queue.Queue[logging.LogRecord] = queue.Queue()
    listener = logging.handlers.QueueListener(lines)
    listener.start()
    (found,) = before.found()
    listener.stop()

    assert found.startswith("thread 'Thread-") and found.endswith(" of logging.handlers")


def test_a_thread_that_python_has_no_object_for_is_found() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        begun.set()
        go_on.wait()
        done.set()

    before = Before()
    _thread.start_new_thread(run, ())
    begun.wait()
    found = before.found()
    go_on.set()
    done.wait()

    assert found == ["a thread of threading"]


def stand_in(here: Path, tasks: dict[int, str], fds: dict[int, str]) -> Path:
    """A directory as /proc/self, of a process whose own name is python."""
    for number, name in {os.getpid(): "python", **tasks}.items():
        (here / f"task/{number}").mkdir(parents=True, exist_ok=True)
        (here / f"task/{number}/comm").write_text(f"{name}\n")
    (here / "fd").mkdir(exist_ok=True)
    for fd, to in fds.items():
        (here / f"fd/{fd}").symlink_to(to)
    return here


def test_native_threads_are_told_by_their_names(tmp_path: Path) -> None:
    before = Before(stand_in(tmp_path, {2: "old-pool-0"}, {}))
    pools = {10: "polars-0", 11: "polars-1", 12: "grpc_global_tim", 13: "tokio-runtime-w"}
    # numpy's, librdkafka's, one that is made anew in a child, and one that no call needs.
    others = {20: "python", 21: "rdk:main", 22: "jemalloc_bg_thd", 23: "polars-ooc-clea"}
    stand_in(tmp_path, pools | others, {})

    assert sorted(before.found()) == [
        "native thread 'grpc_global_tim'",
        "native thread 'polars'",
        "native thread 'tokio-runtime-w'",
    ]


def test_a_device_is_told(tmp_path: Path) -> None:
    before = Before(stand_in(tmp_path, {}, {7: "/dev/nvidia0"}))
    names = ["nvidiactl", "nvidia1", "dri/renderD128", "dxg", "accel/accel0", "pts/ptmx", "ttyUSB0"]
    devices = {number: f"/dev/{name}" for number, name in enumerate(names, 101)}
    harmless = {number: f"/dev/{name}" for number, name in enumerate(["null", "tty", "pts/0"], 120)}
    stand_in(tmp_path, {}, devices | {110: "/dev/nvidia1"} | harmless)

    assert before.found() == [f"the device /dev/{name}" for name in names]


def test_a_timer_is_told() -> None:
    before = Before()
    signal.setitimer(signal.ITIMER_PROF, 600)
    try:
        assert before.found() == ["a timer (signal.ITIMER_PROF)"]
        assert Before().found() == []
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_connection_is_told_with_its_peer(family: socket.AddressFamily, tmp_path: Path) -> None:
    address: object = str(tmp_path / "s")
    if family != socket.AF_UNIX:
        address = ("127.0.0.1" if family == socket.AF_INET else "::1", 0)
    with socket.socket(family) as listener:
        listener.bind(address)  # type: ignore[arg-type] # each family has a form of its own
        listener.listen()
        before = Before()
        with socket.socket(family) as client:
            assert before.found() == []  # it is connected to nobody
            client.connect(listener.getsockname())
            peer = listener.getsockname()
            if family == socket.AF_INET:
                peer = f"127.0.0.1:{peer[1]}"
            elif family == socket.AF_INET6:
                peer = f"[::1]:{peer[1]}"

            assert before.found() == [f"a connection to {peer}"]


def test_datagrams_and_listeners_are_no_connections() -> None:
    before = Before()
    with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as statsd:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        statsd.connect(("127.0.0.1", 8125))

        assert before.found() == []


def test_the_peer_of_a_virtual_machine_can_be_shown() -> None:
    assert _shown((2, 1024)) == "2:1024"


def test_a_pipe_from_a_subprocess_is_told_with_its_name() -> None:
    before = Before()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asked:
        found = before.found()
        asked.communicate()

    assert found == ["a pipe from 'cat'"]
    assert before.found() == []


def test_a_pipe_from_a_process_that_is_no_child_is_told() -> None:
    before = Before()
    ends = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    with subprocess.Popen([sys.executable, "-c", ends], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        writer = int(parent.stdout.readline())
        parent.wait()
        found = before.found()
        os.kill(writer, signal.SIGKILL)

    assert found == ["a pipe from another process"]


def test_pipes_that_nobody_else_writes_to_are_not_told() -> None:
    before = Before()
    read, write = os.pipe()
    assert before.found() == []  # both ends are here
    os.close(write)
    assert before.found() == []  # it has ended
    os.close(read)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as fed:
        assert before.found() == []  # what is written in short pieces does not mix
        fed.communicate()
    child = multiprocessing.get_context("spawn").Process(target=int)
    child.start()
    # What starts it is not what is looked at: a tracker of resources may come with it.
    assert not [text for text in before.found() if "pipe" in text]
    child.join()
    child.close()


def test_an_event_loop_is_told() -> None:
    before = Before()
    with select.epoll() as loop:
        assert before.found() == [f"the event loop of descriptor {loop.fileno()} (epoll)"]


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_a_file_that_is_open_for_reading_is_told(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "words"
    path.write_bytes(b"words")
    before = Before()
    with path.open(mode) as file:
        file.read()  # whoever has found out what is where comes back to it
        assert before.found() == [f"the open file {path}"]

    assert before.found() == []


def test_what_is_only_written_or_is_mapped_and_what_is_no_file_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"model")
    before = Before()
    here = os.open(tmp_path, os.O_RDONLY)
    named = os.open(path, os.O_PATH)
    with path.open("ab"), Path(os.devnull).open("rb"), path.open("rb") as file:
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
            assert before.found() == []
        assert before.found() == [f"the open file {path}"]
    os.close(named)
    os.close(here)


# -- OpenMP

BEFORE = """
from kqworker.runtime.inherited import Before
before = Before()
"""


@pytest.mark.parametrize(("first", "found"), [("", False), ("region()", True)])
def test_a_pool_of_openmp_is_told_once_it_has_been_used(
    openmp: str, first: str, found: bool
) -> None:
    script = f"{openmp}{BEFORE}\n{first}\nprint(before.found())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert ("a pool of OpenMP (libgomp" in done.stdout) is found
    assert found or done.stdout == "[]\n"


# -- random numbers


def test_the_global_generators_are_seeded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = types.ModuleType("numpy.random")
    seeded: list[object] = []
    monkeypatch.setattr(numpy, "seed", lambda: seeded.append(None), raising=False)
    monkeypatch.setitem(sys.modules, "numpy.random", numpy)
    random.seed(1)
    first = random.random()
    random.seed(1)

    reseed()

    assert random.random() != first
    assert seeded == [None]


def test_where_numpy_is_not_loaded_it_is_not_loaded_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "numpy.random", raising=False)

    reseed()

    assert "numpy.random" not in sys.modules
