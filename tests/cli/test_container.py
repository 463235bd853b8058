"""`kqworker` as the first process of a container, in a namespace of processes of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from kqworker.kafka.devbroker import DevBroker, start_dev_broker
from tests.cli.conftest import Run, started
from tests.processes import Process

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]

APP = """\
import subprocess, time
from kqworker import App, Retry
app = App("container")

@app.handler(topic="test", time_limit=0.2, retry=Retry(attempts=1))
def leave_behind(text: str) -> None:
    subprocess.Popen(["sleep", "60"])
    time.sleep(60)
"""


def _contained() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not _contained(), reason="needs the right to make namespaces, as root has it"
)


@pytest.fixture
def broker(here: Path) -> Iterator[DevBroker]:
    with start_dev_broker() as broker:
        broker.announce()
        yield broker


@contextmanager
def contained(*args: str) -> Iterator[tuple[Process, psutil.Process]]:
    """Runs a command, and gives it with the process that it is out here."""
    with started(*args, within=UNSHARE) as run:
        run.wait_for("kqworker")
        (first,) = psutil.Process(run.pid).children()
        yield run, first


def test_what_workers_leave_behind_does_not_pile_up(broker: DevBroker, kqworker: Run) -> None:
    Path("app.py").write_text(APP)
    kqworker("push", "test", "a")

    with contained("run", "app:app", "-w", "1", "-b", broker.address) as (run, first):
        run.wait_for("event=gave_up")
        # Killed with its worker, and there until somebody asks how it ended.
        behind = [child for child in first.children() if _sleeps(child)]
        assert psutil.wait_procs(behind, 20)[1] == []
        first.terminate()
        assert run.wait(20) == 0


def _sleeps(process: psutil.Process) -> bool:
    try:
        return process.name() == "sleep"
    except psutil.NoSuchProcess:
        return False  # it was asked just now


def test_a_term_while_it_waits_for_a_broker_ends_it(here: Path) -> None:
    Path("app.py").write_text(APP)

    # Nobody listens on port 1 of loopback.
    with contained("run", "app:app", "-b", "127.0.0.1:1") as (run, first):
        run.wait_for("no broker can be reached")
        begun = time.monotonic()
        first.terminate()
        assert run.wait(20) == 4
        assert time.monotonic() - begun < 5.0
