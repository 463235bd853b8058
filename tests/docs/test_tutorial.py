"""The tutorial, followed to the letter on the built-in broker."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.docs.console import Session

TUTORIAL = Path(__file__).parents[2] / "docs" / "guide" / "tutorial.md"
SHOWN = "Expected `int`, got `str` - at `$.id`"


class Order(msgspec.Struct):
    id: int


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    page = TUTORIAL.read_text(encoding="utf-8")
    # What msgspec says changes with its releases.
    with pytest.raises(msgspec.ValidationError) as today:
        msgspec.json.decode(b'{"id": "two"}', type=Order)
    assert SHOWN in page

    with Session(tmp_path) as session:
        session.follow(page.replace(SHOWN, str(today.value)))
