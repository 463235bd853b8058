"""`broker` serves until it is told to end, and leaves nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kqworker.kafka import devbroker
from tests.cli import conftest
from tests.cli.conftest import Run
from tests.processes import Process


@pytest.fixture
def started(here: Path) -> Iterator[Process]:
    with conftest.started("broker") as process:
        yield process


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_its_address_and_ends_with_0(started: Process, ending: signal.Signals) -> None:
    address = started.line()
    assert devbroker.running() == address
    (child,) = psutil.Process(started.pid).children()

    assert started.stop(ending, 10) == 0

    assert started.err.startswith(devbroker.LIMITS)
    assert "Traceback" not in started.err
    assert devbroker.running() is None
    child.wait(5)


def test_a_second_one_is_refused(started: Process, kqworker: Run) -> None:
    address = started.line()

    ended = kqworker("broker")

    assert ended.code == 2
    assert ended.err == f"error: a built-in broker already runs at {address}\n"


def test_it_tells_when_the_broker_has_ended_by_itself(started: Process) -> None:
    started.line()
    (child,) = psutil.Process(started.pid).children()

    child.kill()

    assert started.wait(10) == 3
    assert started.err.endswith("error: the built-in broker has ended\n")
