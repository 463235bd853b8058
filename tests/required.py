"""What a test needs of the machine: skipped where it is missing, and with `CI` set failed.

There a skipped test is a test nobody runs. Tested by tests/kafka/test_fixtures.py and
tests/runtime/test_openmp.py.
"""

from __future__ import annotations

import ctypes.util
import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test that runs, or fail it where no test may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (with CI set these tests are required)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def openmp() -> str:
    """Source that defines `region`, which runs a parallel region of GNU's OpenMP."""
    library = ctypes.util.find_library("gomp")
    if library is None:
        missing("GNU's OpenMP is missing: Debian's package is libgomp1")
    return f"""\
import ctypes
gomp = ctypes.CDLL({library!r})
free = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
def region():
    gomp.GOMP_parallel(free, None, 2, 0)
"""
