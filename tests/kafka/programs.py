"""A program of the user's as a real process, such as one that starts a queue of kqworker.kq.

Decides where it runs (a directory of the test's own) and follows what it writes. `kqworker
run` is supervisors.py's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from tests.kafka.supervisors import LAUNCHER, ROOT
from tests.waiting import PATIENCE, until


class Program:
    """One run of a program; ends with the process that runs the tests.

    Args:
        arguments: Of the interpreter.
        folder: Its current directory, and for its output.
        environment: More variables.
    """

    def __init__(
        self, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        own = {name: text for name, text in os.environ.items() if not name.startswith("KQWORKER_")}
        # Somebody's built-in broker must not be found, and the tests' own modules must be.
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        own |= {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT), **(environment or {})}
        self._output = folder / f"output-{uuid.uuid4().hex[:8]}.txt"
        command = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, sys.executable, "-u", *arguments],
                cwd=folder,
                env=own,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it and its workers have written so far."""
        return self._output.read_text(errors="replace")

    @property
    def lines(self) -> list[str]:
        """The whole lines of it."""
        return [line for line in self.output.splitlines(keepends=True) if line.endswith("\n")]

    def starting(self, prefix: str) -> list[str]:
        """The rest of the lines that begin so."""
        return [line.removeprefix(prefix).strip() for line in self.lines if line.startswith(prefix)]

    def until(self, true: Callable[[], object], what: str) -> None:
        """Return when it is true; fail when the program ends before, or it takes too long."""
        until(true, what, run=self)

    def workers(self) -> list[psutil.Process]:
        """The worker processes that run now."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            if any("multiprocessing.forkserver" in word for word in child.cmdline()):
                found += child.children()
        return found

    def wait(self) -> int:
        """Return its exit code, once it has ended."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs\n{self}") from None

    def terminate(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.terminate()
        return self.wait()

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def __str__(self) -> str:
        return self.output[-6000:]
