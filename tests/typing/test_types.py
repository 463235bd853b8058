"""Handlers keep their types for whoever calls them; mypy is the judge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is in the extra [check], which is not installed")

SAMPLE = Path(__file__).parent / "handlers.py"


def mypy(file: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Check one file as a user with a strict configuration of their own would."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir"]
    # What is imported is checked by `make check`; here only its types matter.
    command += [str(cache), "--follow-imports=silent", str(file)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=root)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_handlers_keep_their_types(cache: Path) -> None:
    run = mypy(SAMPLE, cache)

    assert run.returncode == 0, run.stdout + run.stderr


def test_a_wrong_call_is_an_error(cache: Path, tmp_path: Path) -> None:
    """The sample proves something only if mypy sees the types at all."""
    wrong = tmp_path / "wrong.py"
    kept = SAMPLE.read_text().replace("  # type: ignore", "  # ignored before:")
    wrong.write_text(kept)

    run = mypy(wrong, cache)

    assert run.returncode == 1
    assert 'Argument 1 to "__call__" of "Handler" has incompatible type "str"' in run.stdout
    assert run.stdout.count("error:") >= SAMPLE.read_text().count("# type: ignore")
