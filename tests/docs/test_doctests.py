"""What a docstring shows is what happens."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWING = sorted(
    path for path in (ROOT / "kqworker").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", SHOWING, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_docstring_shows_is_what_happens(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    result = doctest.testmod(importlib.import_module(name))

    assert result.attempted > 0 and result.failed == 0


def test_there_are_such_docstrings() -> None:
    assert len(SHOWING) > 20
