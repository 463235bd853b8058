"""The page of what can be seen is made from the catalogue, and that names every log line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from kqworker.core.signals import INCIDENTS, OTHERS
from tools import signals

PACKAGE = Path(__file__).parents[2] / "kqworker"


def events_of_the_package() -> Iterator[str]:
    """Yield each name that the package gives as the field `event` of a log line."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "event":
                        yield from (
                            n.value
                            for n in ast.walk(value)
                            if isinstance(n, ast.Constant) and isinstance(n.value, str)
                        )


def test_the_page_is_made_from_the_catalogue() -> None:
    written = signals.PAGE.read_text(encoding="utf-8")

    assert written == signals.page(), "run: .venv/bin/python tools/signals.py"


def test_every_event_that_is_logged_is_in_the_catalogue() -> None:
    logged = set(events_of_the_package())
    named = {incident.name for incident in (*INCIDENTS.values(), *OTHERS)}

    assert {"stood_still", "preloaded", "not_preloaded", "full"} <= logged
    assert not logged - named
