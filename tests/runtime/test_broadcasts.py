"""What a terminal sends to all processes of a run: nothing to us, and the end to an app's forks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.runtime.spec import WorkerSpec
from tests.runtime.bench import Bench
from tests.runtime.servers import fresh_server, server_pid

APP = """
import multiprocessing, os, pathlib, time
from kqworker import App
app = App("ending")
process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
process.start()
process.terminate()
process.join()
(pathlib.Path({here!r}) / str(os.getpid())).touch()

@app.handler(topic="t")
def on_t(value: str) -> None: ...
"""


@pytest.fixture(autouse=True)
def own_server() -> Iterator[None]:
    with fresh_server():
        yield


def test_an_import_may_end_by_a_signal_what_it_has_forked(tmp_path: Path) -> None:
    (tmp_path / "ending.py").write_text(APP.format(here=str(tmp_path)))
    with Bench(spec=WorkerSpec("ending:app", app_dir=str(tmp_path))) as bench:
        bench.start()

        assert (tmp_path / str(server_pid())).exists()


PROGRAM = """
import os, signal
from kqworker.runtime.broadcasts import end_forks

def theirs(*_): ...

signal.signal(signal.SIGTERM, signal.default_int_handler)
signal.signal(signal.SIGHUP, theirs)
end_forks()
before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
child = os.fork()
if child == 0:
    assert signal.getsignal(signal.SIGHUP) is theirs
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    signal.pause()
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
os.kill(child, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
"""


def test_a_signal_that_comes_to_a_fork_before_its_first_line_ends_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)

    assert done.stderr == ""
