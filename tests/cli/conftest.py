"""A directory of its own for each test of a command, and ways to run one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kqworker.kafka.devbroker import DevBroker, start_dev_broker
from kqworker.settings.settings import SETTINGS
from tests import processes
from tests.processes import Ended, Process

KQWORKER = [sys.executable, "-P", "-c", "from kqworker.cli import main; main()"]
APP = """\
from dataclasses import dataclass
from kqworker import App, Retry

app = App("orders")

@dataclass
class Order:
    id: int

@app.handler(topic="test", time_limit=30)
def on_test(order: Order) -> None: ...

@app.handler(topic="images", ordering="key", retry=Retry(attempts=5),
             dead_letter="images.dlq", output="thumbs")
def thumbnail(image: bytes) -> bytes: ...
"""


Run = Callable[..., Ended]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and nothing set in the environment."""
    monkeypatch.chdir(tmp_path)
    for variable in [*(s.variable for s in SETTINGS.values()), "NO_COLOR"]:
        monkeypatch.delenv(variable, raising=False)
    # Somebody's built-in broker must not be found.
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    return tmp_path


@pytest.fixture
def app(here: Path) -> Path:
    """A current directory with an app in app.py."""
    (here / "app.py").write_text(APP)
    return here


@pytest.fixture
def broker(here: Path) -> Iterator[DevBroker]:
    """The built-in broker, for the commands of this test."""
    with start_dev_broker() as broker:
        broker.announce()
        yield broker


@pytest.fixture
def kqworker(here: Path) -> Run:
    """Run the command in a process of its own, from the current directory."""

    def run(*args: str, stdin: str = "", **environment: str) -> Ended:
        own = {**os.environ, **environment}
        return processes.run([*KQWORKER, *args], stdin=stdin, environment=own)

    return run


def started(*args: str, terminal: bool = False, within: Sequence[str] = ()) -> Process:
    """Run a command, perhaps within another one such as `nohup`, as `Process` has it."""
    return Process([*within, *KQWORKER, *args], apart=True, terminal=terminal)
