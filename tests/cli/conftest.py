"""A directory of its own for each test of a command, and ways to run one."""

from __future__ import annotations

import codecs
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kqworker.kafka.devbroker import DevBroker, start_dev_broker
from kqworker.settings.settings import SETTINGS

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


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


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
        done = subprocess.run(
            [sys.executable, "-P", "-c", "from kqworker.cli import main; main()", *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment},
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


class Started:
    """A command that runs; its standard output, and its standard error on a terminal or not."""

    def __init__(self, *args: str, terminal: bool = False, within: Sequence[str] = ()) -> None:
        master, slave = pty.openpty() if terminal else os.pipe()
        command = [sys.executable, "-P", "-c", "from kqworker.cli import main; main()", *args]
        # Under nohup it would be ignored, by all that is started from here, too.
        ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            self.process = subprocess.Popen(
                [*within, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=slave,
                # A job of its own, as a terminal's shell starts it.
                process_group=0,
            )
        finally:
            signal.signal(signal.SIGHUP, ours)
        os.close(slave)
        self._err = master
        # A reading may end in the middle of a character.
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self.err = ""

    def wait_for(self, text: str, seconds: float = 30.0) -> str:
        """Read standard error until the text is there; return all of it."""
        deadline = time.monotonic() + seconds
        while text not in self.err:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} is not in {self.err}"
            if select.select([self._err], [], [], left)[0]:
                assert self._read(), f"it ended without {text!r}: {self.err}"
        return self.err

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        while self._read():
            pass
        return self.process.wait(20)

    def hang_up(self) -> None:
        """Close the terminal: all of the job hears of it, and no write succeeds any more."""
        os.close(self._err)
        self._err = -1
        os.killpg(self.process.pid, signal.SIGHUP)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        if self._err >= 0:
            os.close(self._err)

    def _read(self) -> bool:
        try:
            data = os.read(self._err, 65536)
        except OSError:  # a terminal that nobody has open any more
            data = b""
        self.err += self._text.decode(data)
        return bool(data)


@contextmanager
def started(*args: str, terminal: bool = False, within: Sequence[str] = ()) -> Iterator[Started]:
    """Run a command, perhaps within another one such as `nohup`."""
    process = Started(*args, terminal=terminal, within=within)
    try:
        yield process
    finally:
        process.close()
