"""Fixtures for tests that run `kqworker` as a real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.command import Command
from tests.kafka.supervisors import Supervise


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Starts supervisors, all of one group, and ends what is left of them after the test."""
    supervise = Supervise(tmp_path)
    yield supervise
    supervise.close()


@pytest.fixture
def kqworker(tmp_path: Path) -> Command:
    """Runs commands in a directory of the test's own."""
    return Command(tmp_path)
