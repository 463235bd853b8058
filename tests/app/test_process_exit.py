"""What a process owes its connections at its end and at a fork."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.util
import os
import sys
import threading

import pytest

from kqworker.app import process_exit

TIMEOUT = 20.0

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


class Owner:
    def __init__(self, interrupted: bool = False) -> None:
        self.calls: list[tuple[str, float]] = []
        self.interrupted = interrupted
        self.renewed = False

    def begin_end(self, timeout: float) -> None:
        self.calls.append(("begin", timeout))

    def end(self, timeout: float) -> None:
        self.calls.append(("end", timeout))
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt

    def after_fork(self) -> None:
        self.renewed = True


@pytest.fixture(autouse=True)
def nothing_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_exit, "_owing", {})


def test_all_begin_to_end_before_one_is_waited_for() -> None:
    owners = [Owner(), Owner()]
    for owner in owners:
        process_exit.at_exit(owner)
    off = Owner()
    process_exit.at_exit(off)
    process_exit.ended(off)
    process_exit._end()
    process_exit._end()

    assert [[what for what, _ in owner.calls] for owner in owners] == [["begin", "end"]] * 2
    assert owners[0].calls[0][1] == process_exit.EXIT_TIMEOUT >= owners[1].calls[1][1]
    assert off.calls == []


def test_ctrl_c_leaves_no_time_to_those_that_follow() -> None:
    owners = [Owner(interrupted=True), Owner()]
    for owner in owners:
        process_exit.at_exit(owner)
    process_exit._end()

    assert [what for what, _ in owners[0].calls] == ["begin", "end", "end"]
    assert owners[0].calls[-1] == owners[1].calls[-1] == ("end", 0.0)


def finalizers() -> None:
    before = len(multiprocessing.util._finalizer_registry)  # type: ignore[attr-defined]
    for _ in range(5):
        owner = Owner()
        process_exit.at_exit(owner)
        process_exit.ended(owner)
    sys.exit(len(multiprocessing.util._finalizer_registry) - before)  # type: ignore[attr-defined]


def test_multiprocessing_is_told_once_in_each_process() -> None:
    child = multiprocessing.get_context("fork").Process(target=finalizers)
    child.start()
    child.join()

    assert child.exitcode == 1
    child.close()


def test_a_child_renews_what_still_lives_and_owes_nothing() -> None:
    kept, dropped = Owner(), Owner()
    for owner in (kept, dropped):
        process_exit.renew(owner)
    process_exit.at_exit(kept)
    del dropped, owner
    gc.collect()
    child = os.fork()
    if child == 0:
        os._exit(0 if kept.renewed and not process_exit._owing else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not kept.renewed and kept in process_exit._owing


def test_a_fork_waits_for_a_thread_that_connects_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_exit, "FORK_TIMEOUT", 0.2)
    connects, going_on = threading.Event(), threading.Event()

    def connect() -> None:
        with process_exit.connecting():
            connects.set()
            going_on.wait(TIMEOUT)

    thread = threading.Thread(target=connect)
    thread.start()
    assert connects.wait(TIMEOUT)
    child = os.fork()
    if child == 0:
        with process_exit.connecting():
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    going_on.set()
    thread.join()

    child = os.fork()
    if child == 0:
        with process_exit.connecting():
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with process_exit.connecting():
        pass
