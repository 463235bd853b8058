"""The page of the Queue names every option and every key that there is."""

from __future__ import annotations

from pathlib import Path

from kqworker.kq.queue import queue_options
from kqworker.kq.queue.extension_settings import ASSIGNORS, KNOWN, RETRY, STANDING
from kqworker.kq.security import TLS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "kq-queue.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_key_below_kqworker_is_named() -> None:
    section = TEXT.split("\n## Kqworker:\n")[1]

    for name in (*KNOWN, *RETRY, *TLS, *STANDING, *ASSIGNORS):
        assert f"`{name}`" in section, name


def test_every_option_is_named() -> None:
    options = [name for name in vars(queue_options) if name.startswith("with_")]

    assert len(options) == 5
    for name in options:
        assert f"| `{name}(" in TEXT, name
