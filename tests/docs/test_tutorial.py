"""The tutorial, followed to the letter on the built-in broker."""

from __future__ import annotations

from pathlib import Path

from tests.docs.console import Session

TUTORIAL = Path(__file__).parents[2] / "docs" / "guide" / "tutorial.md"


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        session.follow(TUTORIAL.read_text(encoding="utf-8"))
