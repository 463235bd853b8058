"""Durations are those of Go: the vectors are what its time.ParseDuration says.

tests/interop/test_conf.py asks Go again.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.kq.conf.durations import nanoseconds, parse_duration

VECTORS = json.loads((Path(__file__).parent / "durations.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: repr(vector["text"])[:30])
def test_a_duration_is_what_go_says(vector: dict[str, object]) -> None:
    text, expected = str(vector["text"]), vector["nanoseconds"]
    if expected is None:
        with pytest.raises(ValueError):
            nanoseconds(text)
    else:
        assert nanoseconds(text) == expected


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_nanoseconds_are_kept(count: int) -> None:
    assert nanoseconds(f"{count}ns") == count


def test_a_duration_is_given_in_seconds() -> None:
    assert parse_duration("1m5.5s") == 65.5
