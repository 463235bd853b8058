"""The README's first app works as shown, and its two commands are the Makefile's."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.console import Session

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_app_does_what_is_shown(tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        session.follow(README)


def test_the_first_app_has_ten_lines_at_most() -> None:
    (app,) = re.findall(r"<!-- write app.py -->\n```python\n(.*?)```", README, re.DOTALL)

    assert len(app.splitlines()) <= 10


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)", README + contributing))

    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
