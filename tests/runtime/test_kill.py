"""`KillWorker` ends the whole tree, for the message that it names only; on real processes."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kqworker.core.commands import OnMessage
from kqworker.core.events import Cause, WorkerDied
from tests.runtime.bench import Bench, fate, segment, wait_for_end, wait_for_file


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_hang_in_c_with_the_gil_held_is_killed_for_its_message_alone(method: str) -> None:
    with Bench(method=method) as bench:
        worker = bench.start()
        task = bench.send(worker, ["ok", "hang", "ok"])
        bench.until_on(worker, task, 1)

        before = time.monotonic()
        bench.kill(worker, OnMessage(task.id, 1))
        died = bench.died(worker)

        assert time.monotonic() - before < 2.0
        assert (died.cause, died.task, died.index) == (Cause.KILLED, task.id, 1)
        found = fate(task, bench.said)
        assert (found.accepted, found.charged, found.unstarted) == ([0], 1, [2])


def _refused(*_: object) -> int:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="there is nothing to take away")
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("there", [True, False])
def test_a_worker_is_killed_with_its_tree_where_there_are_no_pidfds(
    method: str, there: bool, tmp_path: Path
) -> None:
    # A container's filter refuses them; an older kernel's Python does not know them.
    with pytest.MonkeyPatch.context() as patch, Bench(method=method) as bench:
        if there:
            patch.setattr(os, "pidfd_open", _refused)
        else:
            patch.delattr(os, "pidfd_open")
        worker = bench.start()
        task = bench.send(worker, [f"start {tmp_path / 'pid'}", "hang"])
        bench.until_on(worker, task, 1)
        bench.kill(worker, OnMessage(task.id, 1))

        died = bench.died(worker)
        assert (died.cause, died.task, died.index) == (Cause.KILLED, task.id, 1)
        patch.undo()
        wait_for_end(int(wait_for_file(tmp_path / "pid")))


def test_a_worker_that_has_moved_on_lives(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    task = bench.send(worker, ["ok", f"until {tmp_path / 'go'}", "ok"])
    bench.until_on(worker, task, 1)

    bench.kill(worker, OnMessage(task.id, 0))
    bench.kill(worker, OnMessage(task.id + 1, 1))
    (tmp_path / "go").touch()

    assert bench.done(task).accepted == [0, 1, 2]
    bench.kill(worker, OnMessage(task.id, 2))
    assert bench.done(bench.send(worker, ["ok"])).accepted == [0]
    assert not bench.all(WorkerDied)


def test_a_worker_that_moves_on_between_look_and_deed_lives(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = bench.start()
    task = bench.send(worker, segment([f"until {tmp_path / 'go'}", "ok"], trace=tmp_path / "t"))
    bench.until_on(worker, task, 0)

    from kqworker.runtime.reap import Handle

    stop = Handle.stop

    def late_stop(handle: Handle) -> bool:
        (tmp_path / "go").touch()
        bench.until(lambda: "1 end" in (tmp_path / "t").read_text())
        return stop(handle)

    monkeypatch.setattr(Handle, "stop", late_stop)
    bench.kill(worker, OnMessage(task.id, 0))

    assert bench.done(task).accepted == [0, 1]
    monkeypatch.undo()
    assert bench.done(bench.send(worker, ["ok"])).accepted == [0]


def test_without_a_message_it_is_killed_whatever_it_does(bench: Bench) -> None:
    idle, booting = bench.start(), bench.start_only()
    bench.kill(idle)
    bench.kill(booting)

    for worker in (idle, booting):
        died = bench.died(worker)
        assert (died.cause, died.task) == (Cause.KILLED, None)


def test_a_kill_takes_all_descendants_with_it(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    verbs = ["start", "process", "fork", "daemon"]
    task = bench.send(worker, [f"{verb} {tmp_path / verb}" for verb in verbs] + ["hang"])
    bench.until_on(worker, task, 4)
    pids = [int(wait_for_file(tmp_path / verb)) for verb in verbs]

    bench.kill(worker, OnMessage(task.id, 4))

    assert bench.died(worker).cause is Cause.KILLED
    for pid in pids:
        wait_for_end(pid)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("end", ["exit 1", "signal 9"])
def test_what_a_worker_leaves_behind_neither_hides_its_death_nor_outlives_it(
    tmp_path: Path, method: str, end: str
) -> None:
    with Bench(method=method) as bench:
        worker = bench.start()
        verbs = ["start", "process", "fork"]
        task = bench.send(worker, [f"{verb} {tmp_path / verb}" for verb in verbs])
        bench.done(task)
        pids = [int(wait_for_file(tmp_path / verb)) for verb in verbs]

        last = bench.send(worker, [end])
        died = bench.died(worker)

        assert (died.task, died.index) == (last.id, 0)
        for pid in pids:
            wait_for_end(pid)


def test_a_clean_stop_leaves_nothing_behind_either(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    bench.done(bench.send(worker, [f"fork {tmp_path / 'fork'}"]))
    pid = int(wait_for_file(tmp_path / "fork"))

    assert bench.stop(worker).cause is Cause.STOPPED

    wait_for_end(pid)


def _denied(*_: object) -> None:
    raise psutil.AccessDenied


@pytest.mark.parametrize("pidfds", [True, False])
def test_a_worker_that_has_changed_its_user_is_told_of_once_and_ends_nothing(
    pidfds: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch, Bench(method="spawn") as bench:
        if not pidfds:
            patch.setattr(os, "pidfd_open", _refused, raising=False)
        worker, other = bench.start(), bench.start()
        pid = bench.pid(worker)
        task = bench.send(worker, [f"until {tmp_path / 'go'}"])
        bench.until_on(worker, task, 0)
        patch.setattr(signal, "pidfd_send_signal", _refused, raising=False)
        patch.setattr(psutil.Process, "send_signal", _denied)
        patch.setattr(os, "killpg", _refused)

        bench.kill(worker, OnMessage(task.id, 0))
        bench.kill(worker)
        assert bench.done(bench.send(other, ["ok"])).accepted == [0]
        (tmp_path / "go").touch()
        assert bench.done(task).accepted == [0]
        patch.undo()

    (told,) = [r for r in caplog.records if getattr(r, "event", None) == "signal_refused"]
    assert told.levelname == "ERROR"
    assert f"worker process {pid} may not be sent SIGSTOP: it has changed its user" in (
        told.getMessage()
    )
