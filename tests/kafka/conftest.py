"""Fixtures for tests that run `kqworker run` as a real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.supervisors import Supervise


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Starts supervisors, all of one group, and ends what is left of them after the test."""
    supervise = Supervise(tmp_path)
    yield supervise
    supervise.close()
