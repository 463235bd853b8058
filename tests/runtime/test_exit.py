"""A program that ends while its workers run in a daemon thread: at once, and without a word."""

from __future__ import annotations

import subprocess
import sys

from tests.runtime.bench import ROOT

# What the loop does, down to a new worker for each that dies.
PROGRAM = """
import select, sys, threading, time
from kqworker.core.commands import StartWorker
from kqworker.core.events import WorkerDied, WorkerReady
from kqworker.runtime.process import KILL_SECONDS, ProcessWorkers
from tests.runtime.bench import VERBS

ready = threading.Event()

def loop():
    workers = ProcessWorkers(VERBS)
    number = 2
    workers.execute(StartWorker(1, 0))
    workers.execute(StartWorker(2, 1))
    while True:
        select.select([workers.fileno()], [], [])
        for event in workers.events():
            if isinstance(event, WorkerReady):
                ready.set()
            elif isinstance(event, WorkerDied):
                number += 1
                workers.execute(StartWorker(number, number - 1))

def leave():
    print(time.monotonic() - began < KILL_SECONDS)

import atexit

if __name__ == "__main__":
    atexit.register(leave)
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    ready.wait(30)
    began = time.monotonic()
"""


def test_a_program_that_ends_before_its_daemon_thread_ends_at_once() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert (ended.stdout, ended.stderr, ended.returncode) == ("True\n", "", 0)
