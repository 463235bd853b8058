"""The fixture that watches every test sees what it must, and nothing else."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import socket
import subprocess
import sys
import threading

import pytest

from tests.leaks import Snapshot

WAITS_FOR_INPUT = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]


def test_a_child_that_still_runs_is_named() -> None:
    before = Snapshot.take()
    with subprocess.Popen(WAITS_FOR_INPUT, stdin=subprocess.PIPE) as child:
        left = before.left_behind(grace=0.0)

    assert [line for line in left if line.startswith(f"process {child.pid} ")]
    assert before.left_behind() == []


def test_a_child_that_nobody_waited_for_is_named() -> None:
    before = Snapshot.take()
    child = subprocess.Popen(WAITS_FOR_INPUT, stdin=subprocess.DEVNULL)

    left = before.left_behind(grace=0.1)
    child.wait()

    assert len(left) == 1 and left[0].startswith(f"process {child.pid} ")


def test_a_thread_that_still_runs_is_named_unless_it_is_a_daemon() -> None:
    before = Snapshot.take()
    end = threading.Event()
    threads = [
        threading.Thread(target=end.wait, name=name, daemon=name == "demon")
        for name in ("demon", "plain")
    ]
    for thread in threads:
        thread.start()

    left = before.left_behind(grace=0.0)
    end.set()
    for thread in threads:
        thread.join()

    assert left == ["thread plain"]


def test_a_thread_that_is_about_to_end_gets_a_moment() -> None:
    before = Snapshot.take()
    thread = threading.Timer(0.1, lambda: None)
    thread.start()

    assert before.left_behind() == []


def test_an_open_socket_is_named_with_its_kind() -> None:
    before = Snapshot.take()
    ours, theirs = socket.socketpair()

    left = before.left_behind(grace=0.0)
    ours.close()
    theirs.close()

    assert len(left) == 2 and all("socket:" in line for line in left)


def test_a_descriptor_in_a_cycle_of_garbage_is_no_leak() -> None:
    before = Snapshot.take()
    with socket.socket() as unclosed:
        cycle: list[object] = [unclosed.dup()]
    with pytest.warns(ResourceWarning):
        cycle.append(cycle)
        del cycle
        left = before.left_behind()

    assert left == []


def test_the_helpers_of_multiprocessing_are_nobodys_leak() -> None:
    before = Snapshot.take()
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=int)
    process.start()
    process.join()
    process.close()

    left = before.left_behind()
    # Another test may want one that preloads something.
    multiprocessing.forkserver._forkserver._stop()

    assert left == []
