"""A SIGKILL of the supervisor ends everything that it has started; on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.processes import ROOT, Process
from tests.runtime.bench import wait_for_end

SUPERVISOR = """
import sys, time
from multiprocessing import forkserver
from tests.runtime.bench import Bench, VERBS
{first}
bench = Bench(method={method!r})
workers = [bench.start(), bench.start()]
for worker in workers:
    task = bench.send(worker, [{verb!r}])
    bench.until_on(worker, task, 0)
pids = [bench.pid(worker) for worker in workers]
if {method!r} == "forkserver":
    pids.append(forkserver._forkserver._forkserver_pid)
print(*pids, flush=True)
time.sleep(600)
"""


@contextmanager
def supervisor(method: str, verb: str, first: str = "") -> Iterator[tuple[int, list[int]]]:
    """A supervisor with two workers on that verb: its pid, and those of all it has started."""
    script = SUPERVISOR.format(method=method, verb=verb, first=first)
    with Process([sys.executable, "-c", script], folder=ROOT, apart=True) as process:
        yield process.pid, [int(pid) for pid in process.line().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does it on Linux only")
@pytest.mark.parametrize(("method", "count"), [("forkserver", 3), ("spawn", 2)])
def test_workers_that_hold_the_gil_in_c_end_within_a_second(method: str, count: int) -> None:
    with supervisor(method, "hang") as (pid, pids):
        assert len(pids) == count
        os.kill(pid, signal.SIGKILL)
        before = time.monotonic()
        for each in pids:
            wait_for_end(each, 1.0)
        assert time.monotonic() - before < 1.0


def test_under_a_foreign_forkserver_workers_watch_for_themselves() -> None:
    first = "forkserver.set_forkserver_preload([]); forkserver.ensure_running()"
    with supervisor("forkserver", "sleep 600", first) as (pid, pids):
        os.kill(pid, signal.SIGKILL)
        for each in pids[:2]:
            wait_for_end(each, 1.0)


def test_a_supervisor_that_leaves_without_closing_ends_its_workers() -> None:
    # Without our own exit function multiprocessing would wait for them for ever.
    script = SUPERVISOR.format(method="forkserver", verb="hang", first="")
    script = script.replace("time.sleep(600)", "sys.exit(3)")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 3, done.stderr
    for pid in done.stdout.split():
        wait_for_end(int(pid), 1.0)


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_only() -> None:
    with supervisor("forkserver", "sleep 600") as (pid, pids):
        for each in pids[:2]:
            assert os.getsid(each) == each != os.getsid(pid)


def test_a_supervisor_leaves_although_its_frozen_forkserver_reports_no_end() -> None:
    script = SUPERVISOR.format(method="forkserver", verb="hang", first="import os, signal")
    script = script.replace("time.sleep(600)", "os.kill(pids[-1], signal.SIGSTOP); sys.exit(3)")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 3, done.stderr
    for pid in done.stdout.split():
        wait_for_end(int(pid), 1.0)
