"""Tests of OpenMP are skipped where it is missing, but never where tests are required."""

from __future__ import annotations

import ctypes.util

import pytest


@pytest.fixture
def without_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)


@pytest.mark.usefixtures("without_openmp")
def test_without_openmp_a_test_is_skipped_and_says_why(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="OpenMP is missing: Debian's package is lib"):
        request.getfixturevalue("openmp")


@pytest.mark.usefixtures("without_openmp")
def test_without_openmp_a_test_fails_where_it_is_required(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match=r"OpenMP is missing.*required"):
        request.getfixturevalue("openmp")
