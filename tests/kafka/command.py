"""One command, `kqworker …`, as a real process that is waited for.

Decides where it runs (a directory of the test's own) and what it finds in its environment:
no settings but those that the test gives. `kqworker run` that is followed and signalled is
supervisors.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests import processes
from tests.kafka.supervisors import PROGRAM
from tests.processes import ROOT, Ended, without_settings


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
    # Somebody's built-in broker must not be found, and the tests' own modules must be.
    told = {"XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(ROOT), **environment}
    return processes.run(
        [*program, *arguments],
        stdin=stdin,
        timeout=timeout,
        folder=folder,
        environment=without_settings(**told),
    )
