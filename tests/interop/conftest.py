"""The fixture that gives a test the original: go-queue and go-zero, built by Go.

Where there is no Go the tests are skipped and say why; with `CI` set they fail instead,
because there a skipped test is a test nobody runs.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.programs import Programs
from tests.required import missing

GO = Path(__file__).parent / "go"
BUILD_SECONDS = 900.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks `interop`. A build from nothing takes minutes, and counts for the first test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of tests/interop/go, which runs the real go-queue."""
    if shutil.which("go") is None:
        missing("Go is missing: the tests against go-queue are not run")
    program = tmp_path_factory.mktemp("original") / "original"
    # Two that compile from nothing at once do all of it twice; who comes second finds it done.
    # Not by a lock on go.mod: Go waits for one itself.
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run(
            ["go", "build", "-o", str(program), "."],
            cwd=GO,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    assert built.returncode == 0, f"go build: {built.stdout}{built.stderr}"
    return program


@pytest.fixture
def programs(tmp_path: Path, original: Path) -> Iterator[Programs]:
    """Starts the original and ours, and ends what is left of them after the test."""
    programs = Programs(tmp_path, original)
    yield programs
    programs.close()
