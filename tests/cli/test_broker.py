"""`broker` serves until it is told to end, and leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kqworker.kafka import devbroker
from tests.cli.conftest import Run


@pytest.fixture
def started(here: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from kqworker.cli import main; main()", "broker"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_its_address_and_ends_with_0(
    started: subprocess.Popen[str], ending: signal.Signals
) -> None:
    assert started.stdout is not None
    address = started.stdout.readline().strip()
    assert devbroker.running() == address
    (child,) = psutil.Process(started.pid).children()

    started.send_signal(ending)

    _, err = started.communicate(timeout=10)
    assert started.returncode == 0
    assert err.startswith(devbroker.LIMITS)
    assert "Traceback" not in err
    assert devbroker.running() is None
    child.wait(5)


def test_a_second_one_is_refused(started: subprocess.Popen[str], kqworker: Run) -> None:
    assert started.stdout is not None
    address = started.stdout.readline().strip()

    ended = kqworker("broker")

    assert ended.code == 2
    assert ended.err == f"error: a built-in broker already runs at {address}\n"


def test_it_tells_when_the_broker_has_ended_by_itself(started: subprocess.Popen[str]) -> None:
    assert started.stdout is not None
    started.stdout.readline()
    (child,) = psutil.Process(started.pid).children()

    child.kill()

    _, err = started.communicate(timeout=10)
    assert started.returncode == 3
    assert err.endswith("error: the built-in broker has ended\n")
