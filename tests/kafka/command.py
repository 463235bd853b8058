"""One command, `kqworker …`, as a real process that is waited for.

Decides where it runs (a directory of the test's own) and what it finds in its environment:
no settings but those that the test gives. `kqworker run` that is followed and signalled is
supervisors.py's.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kafka.supervisors import PROGRAM, ROOT


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


class Command:
    """Runs `kqworker`; the fixture `kqworker`.

    Args:
        folder: Its current directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, *arguments: str, stdin: str = "", timeout: float = 60.0, **environment: str
    ) -> Ended:
        """Run it to its end; as `run` has it."""
        return run(
            (str(PROGRAM),),
            *arguments,
            folder=self.folder,
            stdin=stdin,
            timeout=timeout,
            **environment,
        )


def run(
    program: Sequence[str],
    *arguments: str,
    folder: Path,
    stdin: str = "",
    timeout: float = 60.0,
    **environment: str,
) -> Ended:
    """Run a program to its end.

    Args:
        program: With its first arguments.
        arguments: The others.
        folder: Its current directory.
        stdin: What it reads.
        timeout: Seconds; then it is killed, and the test fails.
        environment: More variables.
    """
    own = {name: text for name, text in os.environ.items() if not name.startswith("KQWORKER_")}
    # Somebody's built-in broker must not be found, and the tests' own modules must be.
    own |= {"XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(ROOT), **environment}
    began = time.monotonic()
    done = subprocess.run(
        [*program, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=folder,
        env=own,
    )
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
