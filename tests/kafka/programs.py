"""A program of the user's as a real process, such as one that starts a queue of kqworker.kq.

Decides what it finds: a directory of the test's own, and no settings. `kqworker run` is
supervisors.py's.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.kafka.supervisors import forkservers
from tests.processes import ROOT, Process, without_settings


class Program(Process):
    """One run of a program.

    Args:
        arguments: Of the interpreter.
        folder: Its current directory.
        environment: More variables.
    """

    def __init__(
        self, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        # Somebody's built-in broker must not be found, and the tests' own modules must be.
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        told = {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT), **(environment or {})}
        super().__init__(
            [sys.executable, "-u", *arguments],
            folder=folder,
            environment=without_settings(**told),
            stdin=subprocess.PIPE,
        )

    def starting(self, prefix: str) -> list[str]:
        """The rest of the lines that begin so."""
        return [line.removeprefix(prefix).strip() for line in self.lines if line.startswith(prefix)]

    def workers(self) -> list[psutil.Process]:
        """The worker processes that run now."""
        return [worker for server in forkservers(self) for worker in server.children()]
