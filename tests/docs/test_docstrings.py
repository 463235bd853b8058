"""What a module's docstring says of its tests is true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "kqworker").rglob("*.py"))


def named(docstring: str) -> list[Path]:
    """The test files and directories that it names; a bare name is beside the one before."""
    found: list[Path] = []
    for name in re.findall(r"tests/[\w/]+(?:\.py)?|test_\w+\.py", docstring):
        beside = found[-1].parent if found else ROOT
        found.append(ROOT / name if name.startswith("tests/") else beside / name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_tests_that_a_module_names_exist(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "a module without a docstring"
    assert [p for p in named(docstring) if not p.exists()] == []
