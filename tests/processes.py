"""How tests run command lines: as real processes, followed, signalled, and always reaped.

Decides how a command is started, and what counts as its processes: all that have the mark which
it was given in its environment, whoever their parent has become. A thread reads what they write,
so that they never wait for their reader. Nothing of them outlives the `with`, nor the process
that runs the tests. How that is waited for, tests/waiting.py says. Tested by
tests/test_processes.py.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import psutil

from tests.waiting import PATIENCE, PAUSE, Reader, Written, becomes, ended, give

ROOT = Path(__file__).parents[1]
LAUNCHER = Path(__file__).with_name("launch.py")
MARK = "RUN_UNDER_TEST"


def launched(*command: str) -> list[str]:
    """Return what runs a command that ends when this process does."""
    return [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command]


def without_settings(**more: str) -> dict[str, str]:
    """Return our environment without the settings of whoever runs the tests, and with more."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("KQWORKER_")}
    return own | more


class Process:
    """One command that runs, and all that it and its children have written.

    Linux ends it with the thread that has started it.

    Args:
        command: A program, which is looked for on the PATH, and its arguments.
        folder: Its current directory; ours by default.
        environment: All of its variables; ours by default.
        apart: Whether standard error is kept apart from standard output.
        terminal: Whether standard error is a terminal; if it is not kept apart, all three are.
        stdin: As Popen has it; `subprocess.PIPE` is for `feed`.
        stdout: Where standard output goes, if it is not to be read here.

    Attributes:
        pid: The process's, and its process group's.
        began: When it was started, in seconds of `time.monotonic()`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        apart: bool = False,
        terminal: bool = False,
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
    ) -> None:
        self.command = list(command)
        self.began = time.monotonic()
        self._mark = uuid.uuid4().hex
        self._taken = 0
        err, stderr = pty.openpty() if terminal else os.pipe()
        out, own = os.pipe() if apart and stdout is None else (err, stderr)
        self._err = Written(err, terminal)
        self._out = self._err if out == err else Written(out)
        try:
            self.process = subprocess.Popen(
                launched(*command),
                cwd=folder,
                env={**(os.environ if environment is None else environment), MARK: self._mark},
                stdin=stderr if terminal and not apart else stdin,
                stdout=own if stdout is None else stdout,
                stderr=stderr,
                # A process group as a terminal's job has it, but not this terminal's.
                start_new_session=True,
            )
        finally:
            for fd in {stderr, own}:
                os.close(fd)
        self.pid = self.process.pid
        self._reader = Reader(self.process, self._out, self._err)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def out(self) -> str:
        """All that has been written to its standard output by now, or to its one output."""
        return self._reader.text(self._out)

    @property
    def err(self) -> str:
        """All that has been written to its standard error by now, or to its one output."""
        return self._reader.text(self._err)

    @property
    def lines(self) -> list[str]:
        """The lines of its standard output that are written to their ends."""
        return self.out.split("\n")[:-1]

    def __str__(self) -> str:
        err = "" if self._err is self._out else f"\n--- its standard error\n{self.err[-6000:]}"
        return f"--- {' '.join(self.command)}\n{self.out[-6000:]}{err}"

    # -- what is waited for: a failure says what has been written

    def line(self, timeout: float = PATIENCE) -> str:
        """Return the next line of its standard output, without its end."""
        self.says(lambda: len(self.lines) > self._taken, "another line", timeout)
        self._taken += 1
        return self.lines[self._taken - 1]

    def wait_for(self, text: str, timeout: float = PATIENCE) -> str:
        """Return its standard error, or its one output, once a text is there."""
        self.says(lambda: text in self.err, repr(text), timeout)
        return self.err

    def says(self, true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Return when what it has written makes something true; as `until` has it."""
        self._await(true, what, timeout, PATIENCE)

    def until(self, true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Return when something is true; fail when it ends before, or after so many seconds.

        Args:
            true: Looks, whenever anything has been written, and again and again.
            what: Is waited for, in the words of the failure.
            timeout: Seconds.
        """
        self._await(true, what, timeout, PAUSE)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return its exit code, once it has ended and what it wrote has been read."""
        self.says(lambda: self._reader.over, "its end", timeout)
        return self.process.wait()

    def _await(self, true: Callable[[], object], what: str, timeout: float, pause: float) -> None:
        if not self._reader.until(true, timeout, pause):
            over = self._reader.over
            why = (
                f"ended by {self.process.wait()} before"
                if over
                else f"after {timeout:g} s not yet:"
            )
            raise AssertionError(f"{why} {what}\n{self}")

    # -- what it is told

    def feed(self, text: str, end: bool = False, timeout: float = PATIENCE) -> None:
        """Write to its standard input until it has ended or has all, and perhaps close it."""
        assert self.process.stdin is not None
        given = give(text.encode(), self.process.stdin.fileno(), timeout)
        assert given, f"after {timeout:g} s not yet: it reads\n{self}"
        if end:
            self.process.stdin.close()

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the process group, as a terminal sends it."""
        os.killpg(self.pid, signal.SIGINT)

    def hang_up(self) -> None:
        """Close its terminal: all of the job hears of it, and no write succeeds any more."""
        self._reader.drop(self._err)
        os.killpg(self.pid, signal.SIGHUP)

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Send a signal to the process alone; return its exit code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to the process alone; return when it has gone."""
        self.process.kill()
        self.wait()

    # -- its processes, and their end

    def tree(self) -> list[psutil.Process]:
        """Every process with its mark, orphans included."""
        found = []
        for process in psutil.process_iter():
            with may_be_gone():
                if process.environ().get(MARK) == self._mark:
                    found.append(process)
        return found

    def leaves_nobody(self, within: float = 1.0) -> None:
        """Fail if any of its processes is there so many seconds after its end."""
        if left := self.tree():
            ended(left, within)
            left = self.tree()
        assert not left, f"still there: {left}\n{self}"

    def leave_nobody(self) -> None:
        """SIGKILL to everything that is left of it; return when that has gone."""

        def gone() -> bool:
            left = self.tree()
            for process in left:
                with may_be_gone():
                    process.kill()
            ended(left, 1.0)
            return not left

        assert becomes(gone, PATIENCE), f"still there: {self.tree()}\n{self}"

    def close(self) -> None:
        """End everything that is left of it, and read it no more; may be called again."""
        try:
            self.process.kill()
            self.wait()
            self.leave_nobody()
        finally:
            self._reader.close()
            if self.process.stdin is not None:
                self.process.stdin.close()


@contextmanager
def may_be_gone() -> Iterator[None]:
    """A process may end while it is looked at."""
    try:
        yield
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code.
        out: What it wrote to standard output.
        err: What it wrote to standard error, its workers included.
        seconds: How long it took.
    """

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        """All that it wrote."""
        return self.out + self.err

    @property
    def error(self) -> str:
        """Its error, a line or more; fails if there is none."""
        before, found, after = self.err.rpartition("error: ")
        assert found, self
        assert "Traceback" not in before, self
        return after


def run(
    command: Sequence[str],
    *,
    stdin: str = "",
    timeout: float = PATIENCE,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command to its end; fail if it takes too many seconds, or leaves anybody behind."""
    with Process(
        command, folder=folder, environment=environment, apart=True, stdin=subprocess.PIPE
    ) as process:
        process.feed(stdin, end=True, timeout=timeout)
        code = process.wait(max(0.0, process.began + timeout - time.monotonic()))
        took = time.monotonic() - process.began
        process.leaves_nobody()
        return Ended(code, process.out, process.err, took)
