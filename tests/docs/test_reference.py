"""The reference says what the tables of settings and commands say."""

from __future__ import annotations

from pathlib import Path

import pytest

from kqworker.exits import Exit
from tools import write_reference

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("settings.md", write_reference.settings_page),
        ("commands.md", write_reference.commands_page),
        ("kq-config.md", write_reference.kq_page),
    ],
)
def test_the_reference_is_made_from_the_tables(name: str, page: object) -> None:
    assert callable(page)
    written = (REFERENCE / name).read_text(encoding="utf-8")

    assert written == page(), "run: .venv/bin/python tools/write_reference.py"


def test_every_exit_code_has_its_meaning() -> None:
    assert set(write_reference.MEANINGS) == set(Exit)
