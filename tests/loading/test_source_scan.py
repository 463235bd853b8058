"""What is found in a file, without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kqworker.loading.source_scan import definitions


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("def handle(key, value): ...\n1 / 0", "handler", ["handle"]),
        ("async def handle(context, key, /, value): ...", "handler", ["handle"]),
        ("def _inner(key, value): ...\ndef main(): ...", "handler", []),
        ("def outer(a):\n    def inner(key, value): ...", "handler", []),
        ("class C:\n    def consume(self, k, v): ...\nc = d = C()", "handler", ["c", "d"]),
        ("class C:\n    async def consume(self, k, v): ...\nc: C = C()", "handler", ["c"]),
        ("class C: ...\nc = C()\nd = f()()\ne: int", "handler", []),
        ("app = App('a')\nother = kqworker.App('b')", "app", ["app", "other"]),
        ("def app(key, value): ...", "app", []),
        ("def (", "handler", []),
        ("\0", "handler", []),
    ],
)
def test_what_could_be_meant_is_found(
    text: str, kind: str, found: list[str], tmp_path: Path
) -> None:
    (tmp_path / "jobs.py").write_text(text)

    assert definitions(tmp_path / "jobs.py", kind) == found


def test_in_a_file_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert definitions(tmp_path / "none.py", "app") == []
